"""Saga step Confirm Order, the pivot."""

from typing import Any
from uuid import UUID

from orders import bootstrap, use_cases
from shared.observability import correlated, logger
from shared.warm_up import answers_pings

log = logger()
confirm_order = bootstrap.order_step(use_cases.confirm_order, log)


@answers_pings
def handler(command: Any, _context: Any) -> dict[str, str]:
    """Confirm the order unless a cancellation came first."""
    with correlated(log, command["order_id"]):
        outcome: dict[str, str] = confirm_order(UUID(command["order_id"]))
        log.info("order_confirmation", extra=outcome)
        return outcome
