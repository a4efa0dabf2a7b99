"""Event source mappings that wait for an event instead of asking for one again and again.

LocalStack's SQS poller asks, gets nothing and sleeps: an idle queue costs either latency or CPU.
SQS itself can hold the question until a message comes (long polling), as Lambda's own pollers do.

And LocalStack has one poller for a queue, so it never handles two batches at a time, whatever
`MaximumConcurrency` says. Here it gets so many workers, of which one asks and the others work.
"""

import functools
import logging
import threading
import time
from collections.abc import Callable
from typing import Any

from localstack.runtime.hooks import on_infra_start
from localstack.services.lambda_.event_source_mapping.esm_worker import EsmWorker
from localstack.services.lambda_.event_source_mapping.pollers.poller import (
    EmptyPollResultsException,
)
from localstack.services.lambda_.event_source_mapping.pollers.sqs_poller import SqsPoller
from localstack.services.lambda_.event_source_mapping.pollers.stream_poller import StreamPoller

SQS_WAIT_SECONDS = 3
"""Also how long a mapping that was disabled or deleted may still take one more batch."""

MOST_WORKERS = 4
"""A laptop has fewer cores than AWS."""

ERROR_PAUSE_SECONDS = 2

STREAM_PAUSE_SECONDS = 0.25
"""A stream cannot be waited on: after an empty read it is left alone for so long."""

LOG = logging.getLogger(__name__)


@on_infra_start()  # type: ignore[untyped-decorator]
def long_polling() -> None:
    """Called by LocalStack once, before it starts its services."""
    _let_sqs_hold_the_question()
    _pause_after_an_empty_read()
    _work_at_the_same_time()


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


class _InTurn:
    """A queue's client for several workers: only one of them waits for messages at a time.

    So an idle queue costs no more than with one worker, and a few messages still come as one batch.
    """

    def __init__(self, client: Any) -> None:
        self._client = client
        self._turn = threading.Lock()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._client, name)

    def receive_message(self, **options: Any) -> Any:
        """As the real one, once it is the caller's turn."""
        with self._turn:
            return self._client.receive_message(**options)


def _work_at_the_same_time() -> None:
    original: Callable[[EsmWorker], None] = EsmWorker.start

    @functools.wraps(original)
    def start(worker: Any) -> None:
        workers = _workers(worker)
        if workers > 1 and not isinstance(worker.poller.source_client, _InTurn):
            worker.poller.source_client = _InTurn(worker.poller.source_client)
        original(worker)
        for number in range(1, workers):
            threading.Thread(
                target=_work_along,
                args=(worker, worker._poller_thread),  # noqa: SLF001
                name=f"event-source-mapping-worker-{worker.uuid}-{number}",
                daemon=True,
            ).start()

    setattr(EsmWorker, "start", start)  # noqa: B010 (mypy allows no other)


def _workers(worker: Any) -> int:
    fifo = worker.esm_config.get("EventSourceArn", "").endswith(".fifo")
    if fifo or not isinstance(worker.poller, SqsPoller):
        return 1  # Order matters there.
    scaling = worker.esm_config.get("ScalingConfig") or {}
    return min(int(scaling.get("MaximumConcurrency") or 1), MOST_WORKERS)


def _work_along(worker: Any, first: object) -> None:
    """Poll beside the mapping's first worker, until that ends or is replaced by another."""
    stop = worker._shutdown_event  # noqa: SLF001
    while not stop.is_set() and worker._poller_thread is first:  # noqa: SLF001
        try:
            worker.poller.poll_events()
        except EmptyPollResultsException:
            continue
        except Exception as error:  # noqa: BLE001 (a poller outlives every error, as the first does)
            LOG.warning("a worker of %s could not poll: %s", worker.uuid, error)
            stop.wait(ERROR_PAUSE_SECONDS)
