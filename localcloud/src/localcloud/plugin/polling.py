"""Event source mappings that wait for an event instead of asking for one again and again.

LocalStack's SQS poller asks, gets nothing and sleeps: an idle queue costs either latency or CPU.
SQS itself can hold the question until a message comes (long polling), as Lambda's own pollers do.
"""

import functools
import time
from collections.abc import Callable
from typing import Any

from localstack.runtime.hooks import on_infra_start
from localstack.services.lambda_.event_source_mapping.pollers.sqs_poller import SqsPoller
from localstack.services.lambda_.event_source_mapping.pollers.stream_poller import StreamPoller

SQS_WAIT_SECONDS = 3
"""Also how long a mapping that was disabled or deleted may still take one more batch."""

STREAM_PAUSE_SECONDS = 0.25
"""A stream cannot be waited on: after an empty read it is left alone for so long."""


@on_infra_start()  # type: ignore[untyped-decorator]
def long_polling() -> None:
    """Called by LocalStack once, before it starts its services."""
    _let_sqs_hold_the_question()
    _pause_after_an_empty_read()


def _let_sqs_hold_the_question() -> None:
    original: Callable[[SqsPoller], None] = SqsPoller._register_client_hooks  # noqa: SLF001

    def wait_for_a_message(params: dict[str, Any], **_: Any) -> None:
        # Zero means that the mapping has no batching window; a window stays as it is.
        params["WaitTimeSeconds"] = params.get("WaitTimeSeconds") or SQS_WAIT_SECONDS

    @functools.wraps(original)
    def register(poller: SqsPoller) -> None:
        original(poller)
        poller.source_client.meta.events.register(
            "provide-client-params.sqs.ReceiveMessage", wait_for_a_message
        )

    setattr(SqsPoller, "_register_client_hooks", register)  # noqa: B010 (mypy allows no other)


def _pause_after_an_empty_read() -> None:
    original = StreamPoller.get_records

    @functools.wraps(original)
    def get_records(poller: StreamPoller, *args: Any, **kwargs: Any) -> Any:
        answer = original(poller, *args, **kwargs)
        if not answer.get("Records"):
            time.sleep(STREAM_PAUSE_SECONDS)
        return answer

    setattr(StreamPoller, "get_records", get_records)  # noqa: B010 (mypy allows no other)
