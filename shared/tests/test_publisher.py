"""Each row's fate is known by itself: no per-entry failure is overlooked, no limit overrun."""

from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from botocore.exceptions import ClientError, EndpointConnectionError, ReadTimeoutError

from shared.outbox import MAX_BYTES, Waiting
from shared.publisher import MAX_ENTRIES, FactPublisher

TOPIC = "arn:aws:sns:us-east-1:000000000000:test-orderflow-events"

Entry = dict[str, Any]


class Topic:
    """SNS as far as publishing goes; `refuse` says which entries fail, `down` which calls."""

    def __init__(
        self,
        refuse: Callable[[Entry], bool] = lambda _: False,
        down: Callable[[int], Exception | None] = lambda _: None,
    ) -> None:
        self.calls: list[list[Entry]] = []
        self._refuse, self._down = refuse, down

    def publish_batch(self, *, TopicArn: str, PublishBatchRequestEntries: list[Entry]) -> Any:  # noqa: N803 - boto3's names
        assert TopicArn == TOPIC
        self.calls.append(PublishBatchRequestEntries)
        if error := self._down(len(self.calls)):
            raise error
        refused = [entry for entry in PublishBatchRequestEntries if self._refuse(entry)]
        return {
            "Successful": [{"Id": e["Id"]} for e in PublishBatchRequestEntries if e not in refused],
            "Failed": [
                {
                    "Id": e["Id"],
                    "Code": "InternalError",
                    "Message": "try again",
                    "SenderFault": False,
                }
                for e in refused
            ],
        }


def row(seq: int, subject: str = "o1", **body: Any) -> Waiting:
    return Waiting(seq, "events", "order.placed.v1", subject, {"seq": seq, **body})


def sent(topic: Topic) -> list[int]:
    return [int(entry["Id"]) for call in topic.calls for entry in call]


def test_every_row_is_published_once_in_order_with_its_type_as_an_attribute() -> None:
    topic = Topic()
    assert FactPublisher(topic, TOPIC)([row(1), row(2, "o2")]) == {}
    ((first, second),) = topic.calls
    assert msgspec.json.decode(first["Message"]) == {"seq": 1}
    assert second["MessageAttributes"] == {
        "type": {"DataType": "String", "StringValue": "order.placed.v1"}
    }


def test_nothing_to_publish_calls_nobody() -> None:
    topic = Topic()
    assert FactPublisher(topic, TOPIC)([]) == {}
    assert topic.calls == []


def test_an_entry_that_failed_is_told_apart_from_those_that_did_not() -> None:
    topic = Topic(refuse=lambda entry: entry["Id"] == "2")
    rows = [row(1, "o1"), row(2, "o2"), row(3, "o3")]
    assert FactPublisher(topic, TOPIC)(rows) == {2: "InternalError: try again"}


def test_a_call_holds_as_many_entries_as_sns_takes() -> None:
    topic = Topic()
    assert FactPublisher(topic, TOPIC)([row(n, f"o{n}") for n in range(25)]) == {}
    assert [len(call) for call in topic.calls] == [MAX_ENTRIES, MAX_ENTRIES, 5]
    assert sent(topic) == list(range(25))


def test_a_call_holds_as_many_bytes_as_sns_takes() -> None:
    topic = Topic()
    rows = [row(n, f"o{n}", text="x" * 100_000) for n in range(5)]
    assert FactPublisher(topic, TOPIC)(rows) == {}
    sizes = [sum(len(entry["Message"]) for entry in call) for call in topic.calls]
    assert [len(call) for call in topic.calls] == [2, 2, 1]
    assert max(sizes) <= MAX_BYTES


def test_bytes_are_counted_and_not_characters() -> None:
    topic = Topic()
    rows = [row(n, f"o{n}", text="€" * 40_000) for n in range(3)]  # 120 kB each, 40 000 characters
    assert FactPublisher(topic, TOPIC)(rows) == {}
    assert [len(call) for call in topic.calls] == [2, 1]


def test_a_row_that_no_call_can_hold_fails_alone_and_is_never_sent() -> None:
    topic = Topic()
    rows = [row(1, "o1"), row(2, "o2", text="x" * MAX_BYTES), row(3, "o3")]
    errors = FactPublisher(topic, TOPIC)(rows)
    assert errors.keys() == {2}
    assert errors[2].startswith("TooLarge: ")
    assert sent(topic) == [1, 3]


def test_later_rows_of_a_subject_are_held_back_once_an_earlier_one_failed() -> None:
    topic = Topic(refuse=lambda entry: entry["Id"] == "0")
    # Ten fill the first call; the subject's next fact would go with the second.
    rows = [row(n, f"o{n}") for n in range(MAX_ENTRIES)] + [row(10, "o0"), row(11, "o11")]
    errors = FactPublisher(topic, TOPIC)(rows)
    assert errors == {
        0: "InternalError: try again",
        10: "held back: an earlier fact about this subject waits",
    }
    assert sent(topic)[MAX_ENTRIES:] == [11]


def test_a_row_behind_one_that_is_too_large_is_held_back() -> None:
    topic = Topic()
    errors = FactPublisher(topic, TOPIC)([row(1, "o1", text="x" * MAX_BYTES), row(2, "o1")])
    assert errors[2].startswith("held back")
    assert topic.calls == []


def test_a_call_that_was_refused_as_a_whole_fails_all_its_entries_and_no_others() -> None:
    error = ClientError({"Error": {"Code": "NotFound", "Message": "no topic"}}, "PublishBatch")
    topic = Topic(down=lambda call: error if call == 1 else None)
    rows = [row(n, f"o{n}") for n in range(12)]
    errors = FactPublisher(topic, TOPIC)(rows)
    assert errors.keys() == set(range(MAX_ENTRIES))
    assert all(text.startswith("ClientError") for text in errors.values())
    assert sent(topic)[MAX_ENTRIES:] == [10, 11]


@pytest.mark.parametrize(
    "error",
    [
        EndpointConnectionError(endpoint_url="http://127.0.0.1:1"),
        ReadTimeoutError(endpoint_url="http://127.0.0.1:1"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_once_nobody_has_answered_nobody_is_asked_again(error: Exception) -> None:
    topic = Topic(down=lambda call: error if call == 2 else None)
    rows = [row(n, f"o{n}") for n in range(35)]
    errors = FactPublisher(topic, TOPIC)(rows)
    # What was accepted before stays accepted.
    assert errors.keys() == set(range(MAX_ENTRIES, 35))
    assert all(text.startswith(type(error).__name__) for text in errors.values())
    assert len(topic.calls) == 2


def test_a_bug_escapes() -> None:
    topic = Topic(down=lambda _: ZeroDivisionError())
    with pytest.raises(ZeroDivisionError):
        FactPublisher(topic, TOPIC)([row(1)])
