"""A batch whose time runs out."""

from typing import Any

import pytest

from shared.batch import RESERVE, handle_each


class Clock:
    """The context of an invocation that has less left each time it is asked."""

    def __init__(self, *left: int) -> None:
        self._left = list(left)

    def get_remaining_time_in_millis(self) -> int:
        return self._left.pop(0)


def batch(*bodies: str) -> dict[str, Any]:
    return {
        "Records": [
            {"messageId": body, "body": body, "eventSource": "aws:sqs", "eventSourceARN": "arn"}
            for body in bodies
        ]
    }


def failed(answer: Any) -> list[str]:
    return [entry["itemIdentifier"] for entry in answer["batchItemFailures"]]


def test_what_there_is_no_time_for_is_handed_back_unbegun_and_the_rest_stays_done() -> None:
    done: list[str] = []
    answer = handle_each(
        batch("a", "b", "c", "d"),
        Clock(RESERVE, RESERVE - 1, RESERVE - 2),
        lambda record: done.append(record.body),
    )
    assert done == ["a", "b"]
    assert failed(answer) == ["c", "d"]


def test_the_first_message_is_begun_however_little_is_left() -> None:
    done: list[str] = []
    answer = handle_each(batch("a", "b"), Clock(1), lambda record: done.append(record.body))
    assert done == ["a"]
    assert failed(answer) == ["b"]


@pytest.mark.parametrize("poison", ["a", "b"])
def test_a_message_that_fails_fails_alone(poison: str) -> None:
    def handle(record: Any) -> None:
        if record.body == poison:
            raise ValueError(poison)

    assert failed(handle_each(batch("a", "b"), Clock(9999), handle)) == [poison]
