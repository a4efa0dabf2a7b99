"""Every night: removes what nothing needs any more, a little at a time."""

from typing import Any

from aws_lambda_powertools.utilities.typing import LambdaContext

from inventory import bootstrap
from shared.observability import count, logger, metrics

log = logger()
numbers = metrics()
clean_up = bootstrap.clean_up()


@log.inject_lambda_context
@numbers.log_metrics
def handler(event: Any, context: LambdaContext) -> dict[str, int]:  # noqa: ARG001
    """Return how many outbox rows were removed."""
    removed = clean_up()
    log.info("cleaned_up", extra=removed)
    count(numbers, "OutboxRowsRemoved", removed["outbox_rows"])
    return removed
