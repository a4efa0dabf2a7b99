"""Saga step Refund Payment, the undo of Charge Payment."""

from typing import Any
from uuid import UUID

from orders import bootstrap
from shared.observability import correlated, logger

log = logger()
refund_payment = bootstrap.refund_payment(log)


def handler(command: Any, _context: Any) -> dict[str, str]:
    """Give back what was captured, if anything was, and bar a late charge."""
    with correlated(log, command["order_id"]):
        outcome: dict[str, str] = refund_payment(UUID(command["order_id"]))
        log.info("payment_refunded", extra=outcome)
        return outcome
