"""sendEmail on a real DynamoDB and SES: once for each fact, whatever is delivered how often."""

import copy
import hashlib
import json
import os
from collections.abc import Callable
from types import ModuleType
from typing import Any

import pytest

from notifications import bootstrap
from notifications.use_cases import mailed_fact
from shared.envelope import read

Handlers = Callable[[str], ModuleType]


def _bodies(event: dict[str, Any]) -> list[dict[str, Any]]:
    return [json.loads(record["body"]) for record in event["Records"]]


def _only(event: dict[str, Any], *types: str) -> dict[str, Any]:
    """Return the event with the messages of these types alone, in this order."""
    by_type = {json.loads(record["body"])["type"]: record for record in event["Records"]}
    return {"Records": [copy.deepcopy(by_type[type_]) for type_ in types]}


def test_a_batch_of_five_facts_is_five_mails(cloud: Any, handlers: Handlers) -> None:
    answer = handlers("send_email").handler(cloud.captured("email_five_facts"), cloud.invocation())
    assert answer == {"batchItemFailures": []}
    subjects = sorted(mail["Subject"].split(": ")[1] for mail in cloud.mails())
    assert subjects == ["cancelled", "confirmed", "not accepted", "received"]
    (parked,) = cloud.mails(os.environ["OPERATOR_EMAIL"])
    assert "RefundPayment" in parked["Body"]["text_part"]


def test_the_rejected_order_is_mailed_its_reason_and_not_a_confirmation(
    cloud: Any, handlers: Handlers
) -> None:
    event = _only(cloud.captured("email_five_facts"), "order.rejected.v1")
    handlers("send_email").handler(event, cloud.invocation())
    (mail,) = cloud.mails()
    assert _bodies(event)[0]["subject"] in mail["Subject"]
    assert "enough in stock" in mail["Body"]["text_part"]
    assert "confirmed" not in mail["Body"]["text_part"]


def test_each_mail_is_recorded_with_its_id_and_without_the_address(
    cloud: Any, handlers: Handlers
) -> None:
    event = _only(cloud.captured("email_five_facts"), "order.placed.v1")
    handlers("send_email").handler(event, cloud.invocation())
    (mail,) = cloud.mails()
    (item,) = cloud.items(cloud.tables.deliveries)
    assert item["order_id"] == _bodies(event)[0]["subject"]
    assert item["message_id"] == mail["Id"]
    assert item["type"] == "order.placed.v1"
    assert item["recipient"] == hashlib.sha256(cloud.customer.encode()).hexdigest()
    kept = cloud.items(cloud.tables.deliveries) + cloud.items(cloud.tables.idempotency)
    assert cloud.customer not in json.dumps(kept)


def test_delivered_twice_is_mailed_once(cloud: Any, handlers: Handlers) -> None:
    event = _only(cloud.captured("email_five_facts"), "order.placed.v1", "order.placed.v1")
    handler = handlers("send_email").handler
    assert handler(event, cloud.invocation()) == {"batchItemFailures": []}
    assert handler(event, cloud.invocation()) == {"batchItemFailures": []}
    # Another execution environment knows it too.
    assert handlers("send_email").handler(event, cloud.invocation()) == {"batchItemFailures": []}
    assert len(cloud.mails()) == 1
    assert len(cloud.items(cloud.tables.deliveries)) == 1


def test_an_older_fact_that_comes_last_is_not_mailed(cloud: Any, handlers: Handlers) -> None:
    event = _only(cloud.captured("email_five_facts"), "order.confirmed.v1", "order.placed.v1")
    answer = handlers("send_email").handler(event, cloud.invocation())
    assert answer == {"batchItemFailures": []}
    assert [mail["Subject"].split(": ")[1] for mail in cloud.mails()] == ["confirmed"]
    assert len(cloud.items(cloud.tables.deliveries)) == 1


@pytest.mark.parametrize(
    "poison",
    [{"specversion": "0.3"}, {"id": None}, {"type": "order.paused.v1"}, {"data": {"order_id": 7}}],
)
def test_a_poison_message_fails_alone_in_its_batch(
    cloud: Any, handlers: Handlers, poison: dict[str, Any]
) -> None:
    event = cloud.captured("email_five_facts")
    event["Records"][1]["body"] = json.dumps(_bodies(event)[1] | poison)
    answer = handlers("send_email").handler(event, cloud.invocation())
    assert answer == {"batchItemFailures": [{"itemIdentifier": event["Records"][1]["messageId"]}]}
    assert len(cloud.mails()) == 3


def test_a_batch_of_nothing_but_poison_is_reported_message_by_message(
    cloud: Any, handlers: Handlers
) -> None:
    event = _only(cloud.captured("email_five_facts"), "order.placed.v1")
    event["Records"][0]["body"] = "not json"
    answer = handlers("send_email").handler(event, cloud.invocation())
    assert len(answer["batchItemFailures"]) == 1


def test_a_mail_that_ses_refuses_comes_again_and_is_then_sent(
    cloud: Any, handlers: Handlers, monkeypatch: pytest.MonkeyPatch
) -> None:
    event = _only(cloud.captured("email_five_facts"), "order.placed.v1")
    with monkeypatch.context() as patch:
        patch.setenv("SENDER_EMAIL", "nobody@unverified.example")
        answer = handlers("send_email").handler(event, cloud.invocation())
        assert len(answer["batchItemFailures"]) == 1
    answer = handlers("send_email").handler(event, cloud.invocation())
    assert answer == {"batchItemFailures": []}
    assert len(cloud.mails()) == 1


def test_killed_before_the_mail_left_it_is_sent_when_the_fact_comes_again(cloud: Any) -> None:
    envelope = read(cloud.captured("email_five_facts")["Records"][0]["body"])
    dying = bootstrap.send_email(cloud.dying("ses", "send_email", after=False))
    dying.invoked(cloud.invocation(milliseconds_left=0))
    with pytest.raises(cloud.Killed):
        dying(envelope.id, mailed_fact(envelope))
    again = bootstrap.send_email()
    again.invoked(cloud.invocation())
    assert again(envelope.id, mailed_fact(envelope))["outcome"] == "sent"
    assert len(cloud.mails()) == 1


def test_killed_after_the_mail_left_it_is_sent_twice_rather_than_perhaps_never(cloud: Any) -> None:
    """SES takes part in no transaction: this window can only be put on one side or the other."""
    envelope = read(cloud.captured("email_five_facts")["Records"][0]["body"])
    dying = bootstrap.send_email(cloud.dying("ses", "send_email", after=True))
    dying.invoked(cloud.invocation(milliseconds_left=0))
    with pytest.raises(cloud.Killed):
        dying(envelope.id, mailed_fact(envelope))
    again = bootstrap.send_email()
    again.invoked(cloud.invocation())
    assert again(envelope.id, mailed_fact(envelope))["outcome"] == "sent"
    assert len(cloud.mails()) == 2
    assert len(cloud.items(cloud.tables.deliveries)) == 1


def test_killed_after_the_mark_it_is_not_sent_again(cloud: Any) -> None:
    envelope = read(cloud.captured("email_five_facts")["Records"][0]["body"])
    dying = bootstrap.send_email(cloud.dying("dynamodb", "transact_write_items", after=True))
    dying.invoked(cloud.invocation(milliseconds_left=0))
    with pytest.raises(cloud.Killed):
        dying(envelope.id, mailed_fact(envelope))
    again = bootstrap.send_email()
    again.invoked(cloud.invocation())
    assert again(envelope.id, mailed_fact(envelope))["outcome"] == "duplicate"
    assert len(cloud.mails()) == 1
    assert len(cloud.items(cloud.tables.deliveries)) == 1


def test_while_another_worker_may_be_at_it_a_duplicate_waits_and_is_not_acknowledged(
    cloud: Any, handlers: Handlers
) -> None:
    event = _only(cloud.captured("email_five_facts"), "order.placed.v1")
    envelope = read(event["Records"][0]["body"])
    dying = bootstrap.send_email(cloud.dying("ses", "send_email", after=False))
    dying.invoked(cloud.invocation(milliseconds_left=60_000))
    with pytest.raises(cloud.Killed):
        dying(envelope.id, mailed_fact(envelope))
    answer = handlers("send_email").handler(event, cloud.invocation())
    assert len(answer["batchItemFailures"]) == 1
    assert cloud.mails() == []


def test_every_line_that_is_logged_carries_the_order_id(
    cloud: Any, handlers: Handlers, capsys: pytest.CaptureFixture[str]
) -> None:
    event = cloud.captured("email_five_facts")
    handlers("send_email").handler(event, cloud.invocation())
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines() if line[:1] == "{"]
    facts = [line for line in lines if "level" in line]
    assert [line["message"] for line in facts] == ["mail_sent"] * 5
    assert [line["order_id"] for line in facts] == [body["subject"] for body in _bodies(event)]
    assert cloud.customer not in json.dumps(lines)
