"""A queue's batch, one message after the other, for as long as there is time."""

from collections.abc import Callable
from typing import Any

from aws_lambda_powertools.utilities.batch import (
    BatchProcessor,
    EventType,
    process_partial_response,
)
from aws_lambda_powertools.utilities.data_classes.sqs_event import SQSRecord

from shared.errors import OutOfTime
from shared.observability import logger

RESERVE = 2500
"""Milliseconds: what is begun with less left would be killed with its batch."""

_processor = BatchProcessor(EventType.SQS, raise_on_entire_batch_failure=False)
_log = logger()


def handle_each(event: dict[str, Any], context: Any, handle: Callable[[SQSRecord], None]) -> Any:
    """Call `handle` for each message; return those that failed, so that only they come again.

    A function that is killed hands its whole batch back, with all that was done: slow calls alone
    would let every message of it die. So what there is no time for is handed back unbegun; the
    first is begun in any case, or a batch might never get on.
    """
    begun = put_off = 0

    def handle_in_time(record: SQSRecord) -> None:
        nonlocal begun, put_off
        if begun and (left := context.get_remaining_time_in_millis()) < RESERVE:
            put_off += 1
            raise OutOfTime(f"{left} ms left")
        begun += 1
        handle(record)

    answer = process_partial_response(
        event=event, record_handler=handle_in_time, processor=_processor, context=context
    )
    if put_off:
        _log.warning("batch_put_off", extra={"put_off": put_off, "begun": begun})
    return answer
