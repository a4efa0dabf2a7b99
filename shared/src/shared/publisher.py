"""Publishes facts to the events topic in batches, looking at every per-entry answer."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import botocore.exceptions
import msgspec
from botocore.exceptions import BotoCoreError, ClientError, HTTPClientError

from shared.outbox import HELD_BACK, MAX_BYTES, OVERHEAD_BYTES, Waiting

# What SNS takes in one PublishBatch, with MAX_BYTES over all of them.
MAX_ENTRIES = 10

# Nobody answered, after all the client's attempts.
_SILENCE = (botocore.exceptions.ConnectionError, HTTPClientError)


class FactPublisher:
    """Delivers outbox rows to one SNS topic; `type` rides along for the filter policies."""

    def __init__(self, sns: Any, topic_arn: str) -> None:
        self._sns = sns
        self._topic_arn = topic_arn

    def __call__(self, rows: Sequence[Waiting]) -> Mapping[int, str]:
        """Publish `rows` in order; return the error text, by `seq`, of each not accepted.

        Once a subject's row has failed, its rows in later batches are held back: facts about
        one subject should leave in the order in which they happened. (Within one batch they
        may still overtake each other; the version in each fact is what consumers rely on.)

        Once nobody has answered, nobody is asked again: each call would cost its whole timeout,
        and the caller has a time limit of its own.
        """
        errors: dict[int, str] = {}
        blocked: set[str] = set()
        silence = ""
        for batch in _batches(rows, errors, blocked):
            entries = [_entry(row, text) for row, text in batch if row.subject not in blocked]
            failed: dict[str, str] = {}
            try:
                if entries and not silence:
                    failed = self._publish(entries)
            except _SILENCE as error:
                silence = f"{type(error).__name__}: {error}"
            if silence:
                failed = {entry["Id"]: silence for entry in entries}
            for row, _ in batch:
                if str(row.seq) in failed:
                    errors[row.seq] = failed[str(row.seq)]
                elif row.subject in blocked:
                    errors[row.seq] = HELD_BACK
            blocked.update(row.subject for row, _ in batch if row.seq in errors)
        return errors

    def _publish(self, entries: list[dict[str, Any]]) -> dict[str, str]:
        try:
            answer = self._sns.publish_batch(
                TopicArn=self._topic_arn, PublishBatchRequestEntries=entries
            )
        except _SILENCE:
            raise
        except (BotoCoreError, ClientError) as error:
            # Refused as a whole: nothing is marked, the relay sends it again.
            return {entry["Id"]: f"{type(error).__name__}: {error}" for entry in entries}
        return {
            failure["Id"]: f"{failure['Code']}: {failure.get('Message', '')}"
            for failure in answer.get("Failed", [])
        }


def _batches(
    rows: Sequence[Waiting], errors: dict[int, str], blocked: set[str]
) -> Iterator[list[tuple[Waiting, bytes]]]:
    batch: list[tuple[Waiting, bytes]] = []
    size = 0
    for row in rows:
        text = msgspec.json.encode(row.body)
        weight = len(text) + OVERHEAD_BYTES
        if weight > MAX_BYTES:
            # `fact_row` lets none in; the database may write one longer than it was given.
            errors[row.seq] = f"TooLarge: {len(text)} bytes, SNS takes {MAX_BYTES} at most"
            blocked.add(row.subject)
            continue
        if batch and (len(batch) == MAX_ENTRIES or size + weight > MAX_BYTES):
            yield batch
            batch, size = [], 0
        batch.append((row, text))
        size += weight
    if batch:
        yield batch


def _entry(row: Waiting, text: bytes) -> dict[str, Any]:
    return {
        "Id": str(row.seq),
        "Message": text.decode(),
        "MessageAttributes": {"type": {"DataType": "String", "StringValue": row.type}},
    }
