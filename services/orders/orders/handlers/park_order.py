"""Saga step Park Order: an undo failed for good, an operator must act."""

from typing import Any
from uuid import UUID

from orders import bootstrap, use_cases
from shared.observability import correlated, count, logger, metrics

log = logger()
meter = metrics()
park_order = bootstrap.order_step(use_cases.park_order, log)


@meter.log_metrics
def handler(command: Any, _context: Any) -> None:
    """Park the order; the saga waits until its task token comes back."""
    with correlated(log, command["order_id"]):
        park_order(
            UUID(command["order_id"]),
            step=command["step"],
            fault=command["fault"],
            task_token=command["task_token"],
        )
        log.error("order_parked", step=command["step"], fault=command["fault"])
        count(meter, "OrderParked")
