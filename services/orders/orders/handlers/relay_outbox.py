"""Every minute: publishes what a crash, or an outage of the topic, left in the outbox."""

from typing import Any

from aws_lambda_powertools.utilities.typing import LambdaContext

from orders import bootstrap
from shared.observability import count, logger, metrics

log = logger()
numbers = metrics()
relay_outbox = bootstrap.relay_outbox()


@log.inject_lambda_context
@numbers.log_metrics
def handler(event: Any, context: LambdaContext) -> dict[str, int]:  # noqa: ARG001
    """Return how many facts were published."""
    relayed = relay_outbox()
    if relayed:
        log.info("outbox_relayed", extra={"facts": relayed})
        count(numbers, "OutboxRelayed", relayed)
    return {"relayed": relayed}
