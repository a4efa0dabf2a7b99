"""Saga step Withdraw Confirmation, the undo of Confirm Order."""

from typing import Any
from uuid import UUID

from orders import bootstrap, use_cases
from shared.observability import correlated, logger

log = logger()
withdraw_confirmation = bootstrap.order_step(use_cases.withdraw_confirmation, log)


def handler(command: Any, _context: Any) -> dict[str, str]:
    """Bar a late confirmation, or find that it had happened."""
    with correlated(log, command["order_id"]):
        outcome: dict[str, str] = withdraw_confirmation(UUID(command["order_id"]))
        log.info("confirmation_withdrawal", extra=outcome)
        return outcome
