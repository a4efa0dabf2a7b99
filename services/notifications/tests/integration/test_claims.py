"""Powertools' record of a fact, from a claim to its expiry: who may work, and who must wait."""

import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from types import ModuleType
from typing import Any

import pytest
import yaml
from aws_lambda_powertools.utilities.idempotency.exceptions import (
    IdempotencyAlreadyInProgressError,
)

from notifications import bootstrap
from notifications.adapters.once import KEEP, Once
from notifications.use_cases import mailed_fact
from shared.envelope import Envelope, read
from tests.support.polling import eventually

from .conftest import SERVICE

Handlers = Callable[[str], ModuleType]

# A message lives for 14 days in its queue and its dead letters, and 14 more if put back from them.
LONGEST_LIFE = timedelta(days=28)


class Slow:
    """A boto3 client whose `send_email` waits until it is let go."""

    def __init__(self, client: Any) -> None:
        self._client = client
        self.reached, self.let_go = threading.Event(), threading.Event()

    def send_email(self, **arguments: Any) -> Any:
        self.reached.set()
        assert self.let_go.wait(60)
        return self._client.send_email(**arguments)


def placed(cloud: Any) -> Envelope:
    """Return the fact of the captured batch that an order was placed."""
    return read(cloud.captured("email_five_facts")["Records"][0]["body"])


def worker(cloud: Any, aws: Any = None, *, milliseconds_left: int = 10_000) -> Once:
    """Return sendEmail as another execution environment has it, early or late in its time."""
    send = bootstrap.send_email(aws) if aws else bootstrap.send_email()
    send.invoked(cloud.invocation(milliseconds_left=milliseconds_left))
    return send


def send(worker_: Once, envelope: Envelope) -> str:
    return str(worker_(envelope.id, mailed_fact(envelope))["outcome"])


def record(cloud: Any, status: str) -> dict[str, Any]:
    """Return the only record of a fact, which has this status."""
    (found,) = [each for each in cloud.items(cloud.tables.idempotency) if "status" in each]
    assert found["status"] == status
    return dict(found)


def test_while_a_living_worker_is_at_it_a_duplicate_comes_again_and_finds_it_done(
    cloud: Any, handlers: Handlers
) -> None:
    event = cloud.captured("email_five_facts")
    event["Records"] = event["Records"][:1]
    envelope, ses = placed(cloud), Slow(cloud.client("ses"))
    slow = worker(cloud, lambda name: ses if name == "ses" else cloud.client(name))
    handler = handlers("send_email").handler
    with ThreadPoolExecutor(1) as pool:
        living = pool.submit(send, slow, envelope)
        try:
            assert ses.reached.wait(60)
            failed = handler(event, cloud.invocation())
            assert len(failed["batchItemFailures"]) == 1  # not acknowledged: SQS brings it again
            assert cloud.mails() == []
        finally:
            ses.let_go.set()
        assert living.result(60) == "sent"
    assert handler(event, cloud.invocation()) == {"batchItemFailures": []}
    assert len(cloud.mails()) == 1
    assert len(cloud.items(cloud.tables.deliveries)) == 1


def test_a_dead_workers_claim_ends_with_its_time_and_the_fact_is_then_done_once(
    cloud: Any,
) -> None:
    envelope = placed(cloud)
    dying = worker(cloud, cloud.dying("ses", "send_email", after=False), milliseconds_left=3_000)
    with pytest.raises(cloud.Killed):
        send(dying, envelope)
    ends = int(record(cloud, "INPROGRESS")["in_progress_expiration"]) / 1000
    assert ends <= time.time() + 3

    def redelivered() -> tuple[str, float] | None:
        at = time.time()
        try:
            return send(worker(cloud), envelope), at
        except IdempotencyAlreadyInProgressError:
            assert at < ends + 1  # the claim holds as long as it says, and not longer
            return None

    first = redelivered()
    assert first is None or time.time() > ends  # on a busy machine three seconds may be over
    outcome, _ = first or eventually(redelivered, "the claim has ended") or ("", 0)
    assert outcome == "sent"
    assert send(worker(cloud), envelope) == "duplicate"
    assert len(cloud.mails()) == 1


def test_a_record_is_kept_for_longer_than_any_duplicate_can_live(cloud: Any) -> None:
    tables = yaml.safe_load((SERVICE / "resources" / "tables.yml").read_text())["Resources"]
    ttl = tables["IdempotencyTable"]["Properties"]["TimeToLiveSpecification"]
    assert ttl == {"AttributeName": "expiration", "Enabled": True}
    assert KEEP > LONGEST_LIFE
    before = time.time()
    assert send(worker(cloud), placed(cloud)) == "sent"
    # All that DynamoDB deletes by, on the fact's record and on the order's version.
    for item in cloud.items(cloud.tables.idempotency):
        expires = int(item["expiration"]) - KEEP.total_seconds()
        assert before - 1 <= expires <= time.time() + 1, item


def test_a_claim_expires_from_the_table_too_if_nobody_ever_comes_back_to_it(cloud: Any) -> None:
    dying = worker(cloud, cloud.dying("ses", "send_email", after=False))
    with pytest.raises(cloud.Killed):
        send(dying, placed(cloud))
    assert int(record(cloud, "INPROGRESS")["expiration"]) > time.time()


@pytest.mark.parametrize("deleted", [False, True], ids=["still lying there", "deleted"])
def test_a_record_that_has_expired_lets_its_fact_through_again(
    cloud: Any, *, deleted: bool
) -> None:
    """The promise ends with the record; DynamoDB may delete it days after it has expired."""
    envelope = placed(cloud)
    assert send(worker(cloud), envelope) == "sent"
    key = {"id": {"S": record(cloud, "COMPLETED")["id"]}}
    dynamodb, table = cloud.client("dynamodb"), cloud.tables.idempotency
    if deleted:
        dynamodb.delete_item(TableName=table, Key=key)
    else:
        dynamodb.update_item(
            TableName=table,
            Key=key,
            UpdateExpression="SET expiration = :past",
            ExpressionAttributeValues={":past": {"N": str(int(time.time()) - 1)}},
        )
    assert send(worker(cloud), envelope) == "sent"
    assert send(worker(cloud), envelope) == "duplicate"
    assert len(cloud.mails()) == 2
