"""Called directly: a delivery goes on the shelf, and its products into the catalogue."""

from typing import Any

from aws_lambda_powertools.utilities.typing import LambdaContext

from inventory import bootstrap
from shared.observability import count, logger, metrics

log = logger()
numbers = metrics()
receive_stock = bootstrap.receive_stock(log)


@log.inject_lambda_context
@numbers.log_metrics
def handler(event: Any, context: LambdaContext) -> dict[str, Any]:  # noqa: ARG001
    """Raise DeliveryError, naming each faulty field, for a payload that cannot be received."""
    received = receive_stock(event)
    log.info("stock_received", extra=received)
    if not received["duplicate"]:
        count(numbers, "UnitsReceived", received["units"])
    return received
