"""Looking and redriving on a real SQS: nothing is hidden for long, nothing is lost."""

import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import pytest

from tests.support.cloud import ACCOUNT, REGION, unique
from tests.support.polling import eventually
from tools.dead_letters import Aws, DeadLetters, Refused, chosen, look, redrive_all, redrive_one
from tools.terminal import console


class Dying:
    """A boto3 client that is out of order at one call."""

    def __init__(self, client: Any, call: str) -> None:
        self._client, self._call = client, call

    def __getattr__(self, name: str) -> Any:
        if name == self._call:
            raise ConnectionError(name)
        return getattr(self._client, name)


@dataclass(frozen=True)
class Stage:
    """The queues of one test."""

    aws: Aws

    def queue(self, name: str, dead_letters: str = "") -> str:
        """Make a queue, whose messages are dead letters when received once; return its URL."""
        arn = f"arn:aws:sqs:{REGION}:{ACCOUNT}:{self.aws.prefix}{dead_letters}"
        policy = {"deadLetterTargetArn": arn, "maxReceiveCount": "1"}
        attributes = {"RedrivePolicy": json.dumps(policy)} if dead_letters else {}
        url: str = self.aws.sqs.create_queue(
            QueueName=self.aws.prefix + name, Attributes=attributes
        )["QueueUrl"]
        return url

    def bury(self, url: str, count: int) -> list[str]:
        """Put messages straight into a queue of dead letters; return their bodies."""
        bodies = [unique("letter") for _ in range(count)]
        for body in bodies:
            self.aws.sqs.send_message(QueueUrl=url, MessageBody=body)
        return bodies

    def visible(self, url: str) -> list[str]:
        """Return the bodies that a consumer could have right now, and take them."""
        found: list[str] = []
        while batch := self.aws.sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10).get(
            "Messages"
        ):
            found += [each["Body"] for each in batch]
        return sorted(found)

    def found(self) -> DeadLetters:
        """Return the stage's only queue of dead letters."""
        (found,) = self.aws.dead_letters()
        return found


@pytest.fixture(scope="session")
def aws(endpoint: str) -> Iterator[Aws]:
    settings = {
        "AWS_ENDPOINT_URL": endpoint,
        "AWS_DEFAULT_REGION": REGION,
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
    }
    with pytest.MonkeyPatch.context() as environment:
        for name, value in settings.items():
            environment.setenv(name, value)
        yield Aws.of("none")


@pytest.fixture
def stage(aws: Aws) -> Stage:
    return Stage(replace(aws, stage=unique("s")[:20]))


def test_a_look_sees_every_letter_once_and_hides_none_afterwards(stage: Stage) -> None:
    url = stage.queue("a-dlq")
    stage.queue("a", "a-dlq")
    bodies = stage.bury(url, 25)
    for _ in range(2):
        assert sorted(each.body for each in look(stage.aws, stage.found(), 100)) == sorted(bodies)
    assert stage.visible(url) == sorted(bodies)


def test_a_look_at_a_few_shows_a_few_and_hides_none_afterwards(stage: Stage) -> None:
    url = stage.queue("a-dlq")
    stage.queue("a", "a-dlq")
    bodies = stage.bury(url, 25)
    assert len(look(stage.aws, stage.found(), 3)) == 3
    assert stage.visible(url) == sorted(bodies)


def test_dead_letters_that_have_dead_letters_are_counted_and_not_received(stage: Stage) -> None:
    stage.queue("last")
    url = stage.queue("a-dlq", "last")
    stage.queue("a", "a-dlq")
    bodies = stage.bury(url, 2)
    chained, last = stage.aws.dead_letters()
    assert chained.queue.count == 2
    assert look(stage.aws, chained, 100) == []
    # Received once they would be gone: maxReceiveCount is 1.
    assert stage.visible(url) == sorted(bodies)
    assert last.queue.name.endswith("last")


def test_a_stage_without_queues_is_said(stage: Stage) -> None:
    with pytest.raises(Refused, match="deployed"):
        stage.aws.dead_letters()


def test_one_letter_goes_back_and_the_others_are_visible_at_once(stage: Stage) -> None:
    url = stage.queue("a-dlq")
    source = stage.queue("a", "a-dlq")
    stage.bury(url, 12)
    wanted, *others = look(stage.aws, stage.found(), 100)
    for dry_run in (True, False):
        redrive_one(stage.aws, stage.found(), wanted.id, dry_run=dry_run)
    assert stage.visible(url) == sorted(each.body for each in others)
    assert stage.visible(source) == [wanted.body]


def test_a_letter_that_cannot_be_sent_stays_a_letter_and_visible(stage: Stage) -> None:
    url = stage.queue("a-dlq")
    source = stage.queue("a", "a-dlq")
    bodies = stage.bury(url, 2)
    found = stage.found()
    id_ = look(stage.aws, found, 100)[0].id
    with pytest.raises(ConnectionError):
        redrive_one(_without(stage.aws, "send_message"), found, id_, dry_run=False)
    assert stage.visible(url) == sorted(bodies)
    assert stage.visible(source) == []


def test_a_letter_that_cannot_be_deleted_is_there_twice_and_never_lost(stage: Stage) -> None:
    url = stage.queue("a-dlq")
    source = stage.queue("a", "a-dlq")
    (body,) = stage.bury(url, 1)
    found = stage.found()
    id_ = look(stage.aws, found, 100)[0].id
    with pytest.raises(ConnectionError):
        redrive_one(_without(stage.aws, "delete_message"), found, id_, dry_run=False)
    assert (stage.visible(url), stage.visible(source)) == ([body], [body])


def test_all_letters_go_back_at_once(stage: Stage) -> None:
    url = stage.queue("a-dlq")
    source = stage.queue("a", "a-dlq")
    bodies = stage.bury(url, 12)
    said = redrive_all(stage.aws, stage.found(), console())
    assert said == f"12 messages went back to {stage.aws.prefix}a"
    assert stage.visible(source) == sorted(bodies)
    assert redrive_all(stage.aws, stage.found(), console()).startswith("0 messages")


def test_a_redrive_that_runs_already_is_followed_to_its_end(stage: Stage) -> None:
    url = stage.queue("a-dlq")
    source = stage.queue("a", "a-dlq")
    bodies = stage.bury(url, 4)
    found = stage.found()
    stage.aws.sqs.start_message_move_task(
        SourceArn=found.queue.arn,
        DestinationArn=found.sources[0].arn,
        MaxNumberOfMessagesPerSecond=2,
    )
    assert redrive_all(stage.aws, found, console()).startswith("4 messages went back")
    assert stage.visible(source) == sorted(bodies)


def test_a_redrive_that_fails_says_why(stage: Stage) -> None:
    # Two queues share it, and SQS does not know from which of them these letters came.
    url = stage.queue("dlq")
    for name in ("a", "b"):
        stage.queue(name, "dlq")
    bodies = stage.bury(url, 2)
    with pytest.raises(Refused, match=re.compile(r"ended FAILED after 0 messages \(\w+\)")):
        redrive_all(stage.aws, stage.found(), console())
    # SQS hides what it failed to move for a moment.
    eventually(_all_there(stage, url, bodies), "both letters are there")


def test_letters_of_a_shared_queue_go_back_where_they_came_from(stage: Stage) -> None:
    stage.queue("dlq")
    sources = [stage.queue(name, "dlq") for name in ("a", "b")]
    bodies = [stage.bury(source, 1)[0] for source in sources]
    for source in sources:
        # The first receipt is all that a message has; the second look makes it a dead letter.
        stage.aws.sqs.receive_message(QueueUrl=source, VisibilityTimeout=0)
        stage.visible(source)
    letters = {each.body: each.id for each in look(stage.aws, stage.found(), 100)}
    assert letters.keys() == set(bodies)
    said = redrive_one(stage.aws, stage.found(), letters[bodies[0]], dry_run=False)
    assert f"{stage.aws.prefix}a" in said
    assert redrive_all(stage.aws, stage.found(), console()).startswith("1 messages")
    assert [stage.visible(source) for source in sources] == [[body] for body in bodies]


def _without(aws: Aws, call: str) -> Aws:
    return replace(aws, sqs=Dying(aws.sqs, call))


def _all_there(stage: Stage, url: str, bodies: list[str]) -> Callable[[], bool]:
    seen: set[str] = set()

    def probe() -> bool:
        seen.update(stage.visible(url))
        return seen == set(bodies)

    return probe


def failed_call(payload: Any) -> str:
    """Return what Lambda keeps of a call that failed each time."""
    arn = f"arn:aws:lambda:{REGION}:{ACCOUNT}:function:shop-local-count:$LATEST"
    return json.dumps(
        {
            "version": "1.0",
            "requestContext": {
                "requestId": "1b3c5d7e-0000-4000-8000-000000000000",
                "functionArn": arn,
                "condition": "RetriesExhausted",
                "approximateInvokeCount": 3,
            },
            "requestPayload": payload,
            "responsePayload": {"errorType": "TransientFault", "errorMessage": "no database"},
        }
    )


class Listening:
    """Lambda, which notes whom it was to call with what."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, str, Any]] = []

    def invoke(self, *, FunctionName: str, InvocationType: str, Payload: str) -> None:  # noqa: N803
        """Note it."""
        self.calls.append((FunctionName, InvocationType, json.loads(Payload)))


def test_a_failed_call_says_its_error_and_is_made_again(stage: Stage) -> None:
    url, lambda_ = stage.queue("calls-dlq"), Listening()
    aws = replace(stage.aws, lambda_=lambda_)
    for n in range(2):
        aws.sqs.send_message(QueueUrl=url, MessageBody=failed_call({"n": n}))
    found = chosen("calls-dlq", aws.dead_letters(), aws.prefix)
    letters = look(stage.aws, found, 100)
    assert [each.type for each in letters] == ["call of shop-local-count"] * 2
    assert letters[0].last_error == "TransientFault: no database"

    assert "would go back" in redrive_one(aws, found, letters[0].id, dry_run=True)
    assert lambda_.calls == []
    redrive_one(aws, found, letters[0].id, dry_run=False)
    assert len(lambda_.calls) == 1
    assert redrive_all(aws, found, console()) == "1 calls were made again"

    assert sorted(call[2]["n"] for call in lambda_.calls) == [0, 1]
    assert {call[:2] for call in lambda_.calls} == {("shop-local-count", "Event")}
    assert stage.visible(url) == []


def test_a_call_that_cannot_be_made_stays_a_letter_and_visible(stage: Stage) -> None:
    url = stage.queue("calls-dlq")
    stage.aws.sqs.send_message(QueueUrl=url, MessageBody=failed_call({}))
    aws = replace(stage.aws, lambda_=Dying(stage.aws.lambda_, "invoke"))
    with pytest.raises(ConnectionError):
        redrive_all(aws, stage.found(), console())
    assert stage.visible(url) == [failed_call({})]


def test_what_is_no_call_is_not_made_one(stage: Stage) -> None:
    (body,) = stage.bury(url := stage.queue("calls-dlq"), 1)
    with pytest.raises(Refused, match="is no failed call"):
        redrive_all(stage.aws, stage.found(), console())
    assert stage.visible(url) == [body]
