"""How long a saga may take is worked out from its own clocks; the audit waits for no less."""

from collections.abc import Mapping
from typing import Any

import pytest

from tests.saga.lint import PARK, SERVICE, read
from tests.support.templates import load

OPERATIONS = SERVICE.parent / "operations/serverless.yml"


def longest(saga: Mapping[str, Any]) -> int:
    """Return the seconds of the longest way through `saga` that passes no operator.

    Each task takes all of its attempts, each attempt its whole timeout, each pause its maximum.
    """
    states = saga["States"]

    def from_(name: str) -> int:
        state = states[name]
        nexts = [state.get("Next"), state.get("Default")]
        nexts += [way["Next"] for key in ("Catch", "Choices") for way in state.get(key, [])]
        # Beyond the parking an operator decides about the time; the order is PARKED then.
        rest = max((from_(way) for way in nexts if way and way != PARK), default=0)
        return _seconds(state) + rest

    return from_(saga["StartAt"])


def _seconds(state: Mapping[str, Any]) -> int:
    if state["Type"] != "Task":
        return 0
    (retry,) = state["Retry"]
    pauses = [
        min(retry["IntervalSeconds"] * retry["BackoffRate"] ** n, retry["MaxDelaySeconds"])
        for n in range(retry["MaxAttempts"])
    ]
    attempts: int = 1 + retry["MaxAttempts"]
    return int(attempts * state["TimeoutSeconds"] + sum(pauses))


@pytest.mark.parametrize("stage", ["local", "other"])
def test_the_audit_waits_for_a_saga_as_long_as_it_may_run(stage: str) -> None:
    patience = load(OPERATIONS)["custom"]["patienceOf"]
    assert patience[stage]["sagas"] == longest(read(stage))


def test_the_longest_run_takes_every_step_and_every_undo() -> None:
    tasks = {
        name: state
        for name, state in read("local")["States"].items()
        if state["Type"] == "Task" and name != PARK
    }
    assert longest(read("local")) == sum(_seconds(state) for state in tasks.values())
