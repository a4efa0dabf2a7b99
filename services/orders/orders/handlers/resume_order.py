"""For operators, once the fault is mended: lets a parked order's saga go on."""

from typing import Any
from uuid import UUID

from orders import bootstrap
from shared.observability import correlated, count, logger, metrics

log = logger()
meter = metrics()
resume_order = bootstrap.resume_order()


@meter.log_metrics
def handler(command: Any, _context: Any) -> dict[str, str]:
    """Take `{"order_id": …}`; answer resumed, not_waiting, not_parked or unknown_order."""
    order_id = UUID(command["order_id"])
    with correlated(log, str(order_id)):
        outcome = resume_order(order_id)
        log.info("order_resume", extra=outcome)
    if outcome["outcome"] == "resumed":
        count(meter, "OrderResumed")
    return {"order_id": str(order_id), **outcome}
