"""What an audit is asked for, and what it answers."""

import re
from collections.abc import Iterable
from typing import Any

import pytest

from operations.domain import Finding, Patience, Violation
from operations.use_cases import audit, patience_of

USUAL = Patience(sagas=900, outboxes=300, effects=600, deploys=60)
# As EventBridge sends it.
SCHEDULE = {
    "version": "0",
    "id": "53dc4d37-cffa-4f76-80c9-8b7d4a4d2eaa",
    "detail-type": "Scheduled Event",
    "source": "aws.events",
    "time": "2026-11-24T10:00:00Z",
    "resources": [],
    "detail": {},
}


class Shelf:
    """Books in which one thing is wrong."""

    def __init__(self) -> None:
        self.patience: Patience | None = None

    def compare(self, patience: Patience) -> Iterable[Finding]:
        self.patience = patience
        yield Finding("one", "One.", 1, [Violation("MUG", "2", "1")])
        yield Finding("two", "Two.", 0, [])


@pytest.mark.parametrize("request_", [{}, SCHEDULE])
def test_a_schedule_audits_with_the_stages_own_patience(request_: Any) -> None:
    books = Shelf()
    findings = audit(request_, usual=USUAL, books=books)
    assert [finding.count for finding in findings] == [1, 0]
    assert books.patience == USUAL


def test_whoever_asks_may_say_how_patient_to_be() -> None:
    assert patience_of({"effects": 0, "sagas": 5}, USUAL) == Patience(5, 300, 0, 60)


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"effects": -1}, "effects: -1"),
        ({"sagas": "60"}, "sagas: '60'"),
        ({"outboxes": 1.5}, "outboxes: 1.5"),
        ({"deploys": None}, "deploys: None"),
        ({"effects": True}, "effects: True"),
        ({"effect": 0}, "effect: unknown; one of sagas, outboxes, effects, deploys, facts"),
        ([], "[] is no object"),
        (None, "None is no object"),
    ],
)
def test_what_is_no_patience_is_refused_by_its_name(asked: Any, said: str) -> None:
    with pytest.raises(ValueError, match="^" + re.escape(said)):
        patience_of(asked, USUAL)
