"""Where the relay sends what: saga starts to Step Functions, facts to the topic."""

from collections.abc import Mapping, Sequence
from typing import Any

from orders.adapters.order_book import SAGA
from orders.adapters.saga import StepFunctionsSaga, dispatcher
from shared.errors import TransientFault
from shared.outbox import EVENTS, Waiting


class Starts(StepFunctionsSaga):
    """Counts the starts that were tried; those of `broken` fail."""

    def __init__(self, *broken: str) -> None:
        self.tried: list[str] = []
        self.broken = broken

    def start(self, name: str, document: dict[str, Any]) -> None:
        assert document == {"order_id": name}
        self.tried.append(name)
        if name in self.broken:
            raise TransientFault("StartExecution")


def rows() -> list[Waiting]:
    """Return the start and the fact of orders a, b and c."""
    return [
        Waiting(seq, destination, "type", name, {"order_id": name})
        for seq, (name, destination) in enumerate(
            (name, destination) for name in "abc" for destination in (SAGA, EVENTS)
        )
    ]


def deliver(saga: Starts, refused: Mapping[int, str]) -> tuple[list[str], set[int]]:
    """Deliver all rows; return whose facts were published, and which rows failed."""
    published: list[str] = []

    def publish(facts: Sequence[Waiting]) -> Mapping[int, str]:
        assert all(row.destination == EVENTS for row in facts)
        published.extend(row.subject for row in facts)
        return refused

    return published, set(dispatcher(saga, publish)(rows()))


def test_starts_and_facts_each_go_their_own_way() -> None:
    saga = Starts()
    assert deliver(saga, {}) == (["a", "b", "c"], set())
    assert saga.tried == ["a", "b", "c"]


def test_in_an_outage_one_start_is_tried_and_every_fact_still_leaves() -> None:
    saga = Starts("a", "b", "c")
    assert deliver(saga, {}) == (["a", "b", "c"], {0, 2, 4})
    assert saga.tried == ["a"]  # each try takes seconds, and the facts wait behind them


def test_what_either_side_refused_stays_in_the_outbox() -> None:
    assert deliver(Starts("c"), {1: "no"})[1] == {1, 4}
