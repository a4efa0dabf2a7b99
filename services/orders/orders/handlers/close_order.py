"""Saga step Close Order, the end of every undone saga."""

from typing import Any
from uuid import UUID

from orders import bootstrap, use_cases
from shared.observability import correlated, logger

log = logger()
close_order = bootstrap.order_step(use_cases.close_order, log)


def handler(command: Any, _context: Any) -> dict[str, str]:
    """Give the order its last status; the whole saga document is the command."""
    with correlated(log, command["order_id"]):
        outcome: dict[str, str] = close_order(UUID(command["order_id"]), command)
        log.info("order_closed", extra=outcome)
        return outcome
