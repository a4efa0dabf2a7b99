"""The tables' streams: what changes in them, into the figures of its day."""

from functools import partial
from typing import Any

from aws_lambda_powertools.utilities.batch import (
    BatchProcessor,
    EventType,
    process_partial_response,
)
from aws_lambda_powertools.utilities.data_classes.dynamo_db_stream_event import DynamoDBRecord
from aws_lambda_powertools.utilities.typing import LambdaContext

from notifications import bootstrap
from shared.observability import count, logger, metrics

log = logger()
numbers = metrics()
begin = bootstrap.count_day()
processor = BatchProcessor(EventType.DynamoDBStreams, raise_on_entire_batch_failure=False)


def add(record: DynamoDBRecord, *, count_day: Any) -> None:
    """Handle one change; what it raises fails this change alone."""
    try:
        outcome = count_day(record.raw_event)
    except Exception:
        log.exception("change_failed", extra={"event_id": record.event_id})
        count(numbers, "ChangesFailed")
        raise
    count(numbers, f"Changes{outcome.title()}")


@log.inject_lambda_context
@numbers.log_metrics
def handler(event: dict[str, Any], context: LambdaContext) -> Any:
    """Answer with the changes that failed: they come again, and those after the first of them."""
    return process_partial_response(
        event=event,
        record_handler=partial(add, count_day=begin()),
        processor=processor,
        context=context,
    )
