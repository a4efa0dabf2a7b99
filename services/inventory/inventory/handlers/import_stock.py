"""A price list was put into the bucket: receive and list what it holds."""

from typing import Any

from aws_lambda_powertools.utilities.typing import LambdaContext

from inventory import bootstrap
from shared.observability import count, logger, metrics

log = logger()
numbers = metrics()
import_stock = bootstrap.import_stock(log)


@log.inject_lambda_context
@numbers.log_metrics
def handler(event: Any, context: LambdaContext) -> list[dict[str, Any]]:
    """Import each object that the event tells of; what raises is tried again, then kept."""
    imported = []
    for outcome in import_stock(event, lambda: context.get_remaining_time_in_millis() / 1000):
        log.info("stock_imported", extra=outcome)
        if not outcome["duplicate"]:
            count(numbers, "UnitsReceived", outcome["units"])
            count(numbers, "RowsRejected", outcome["rejected"])
        imported.append(outcome)
    return imported
