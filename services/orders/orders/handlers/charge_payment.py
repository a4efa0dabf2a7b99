"""Saga step Charge Payment."""

from typing import Any
from uuid import UUID

from orders import bootstrap
from shared.observability import correlated, logger
from shared.warm_up import answers_pings

log = logger()
charge_payment = bootstrap.charge_payment(log)


@answers_pings
def handler(command: Any, _context: Any) -> dict[str, str]:
    """Charge the order once; answer charged or refused."""
    with correlated(log, command["order_id"]):
        outcome: dict[str, str] = charge_payment(
            UUID(command["order_id"]),
            amount=command["amount"],
            currency=command["currency"],
            token=command["payment_token"],
        )
        log.info("payment_tried", extra=outcome)
        return outcome
