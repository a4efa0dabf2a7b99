"""The states that the bill counts are those of the state machine's file, and of the profile."""

import json
from pathlib import Path
from typing import Any

import pytest

from bench.order_profile import PROFILE, entered
from bench.transitions import ANSWERS, definition, states_entered

HISTORIES = Path(__file__).parents[2] / "services/orders/tests/histories"
CAPTURED = {"confirmed": "confirmed", "refused": "out_of_stock", "compensated": "declined"}


@pytest.mark.parametrize(
    ("outcome", "states"), [("confirmed", 10), ("refused", 5), ("compensated", 8)]
)
def test_each_outcome_enters_so_many_states(outcome: str, states: int) -> None:
    assert len(states_entered(definition(), ANSWERS[outcome])) == states


@pytest.mark.parametrize("outcome", ANSWERS)
def test_a_real_execution_entered_the_states_that_the_file_says(outcome: str) -> None:
    history = json.loads((HISTORIES / f"{CAPTURED[outcome]}.json").read_text())
    events = history if isinstance(history, list) else history["events"]
    # Captured before the state machine's first Choice, which every saga passes.
    path = states_entered(definition(), ANSWERS[outcome])
    assert entered(events) in (path, path[1:])


@pytest.mark.parametrize("outcome", ANSWERS)
def test_the_profile_was_measured_with_this_state_machine(outcome: str) -> None:
    """A state more or less changes the bill: then measure again."""
    profile = json.loads(PROFILE.read_text())
    path = states_entered(definition(), ANSWERS[outcome])
    assert profile["outcomes"][outcome]["state_transitions"] == len(path)


def test_a_retry_is_billed_like_a_state() -> None:
    events: list[dict[str, Any]] = [
        {"type": "TaskStateEntered", "stateEnteredEventDetails": {"name": "Charge Payment"}},
        {"type": "LambdaFunctionScheduled"},
        {"type": "LambdaFunctionFailed"},
        {"type": "LambdaFunctionScheduled"},
        {"type": "LambdaFunctionSucceeded"},
        {"type": "TaskStateExited"},
    ]
    assert entered(events) == ["Charge Payment", "a retry"]


def test_a_path_that_comes_back_is_no_path() -> None:
    machine = {"StartAt": "A", "States": {"A": {"Type": "Pass", "Next": "A"}}}
    with pytest.raises(ValueError, match="A is entered twice"):
        states_entered(machine, {})
