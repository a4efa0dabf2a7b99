"""The timeline of captured executions, and of events that only AWS itself sends."""

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from orders.domain import Order, Status
from orders.timeline import of_order, steps

HISTORIES = Path(__file__).parents[1] / "histories"

ORDER_ID = UUID("0199a3b2-7c41-7d52-8e5f-000000000000")

Events = list[dict[str, Any]]


def history(name: str) -> Events:
    events: Events = json.loads((HISTORIES / f"{name}.json").read_text())
    return events


def told(name: str) -> list[tuple[str, str | None]]:
    return [(step["step"], step["outcome"]) for step in steps(history(name))]


def test_a_confirmed_order_took_four_steps() -> None:
    assert told("confirmed") == [
        ("Reserve Stock", "reserved"),
        ("Charge Payment", "charged"),
        ("Create Shipment", "shipped"),
        ("Confirm Order", "confirmed"),
    ]


def test_a_declined_card_is_told_with_its_reason_and_its_undo() -> None:
    assert told("declined") == [
        ("Reserve Stock", "reserved"),
        ("Charge Payment", "refused"),
        ("Release Stock", "released"),
        ("Close Order", "closed"),
    ]
    found = steps(history("declined"))
    assert found[1]["reason"] == "DECLINED"
    assert [step["kind"] for step in found] == ["forward", "forward", "undo", "undo"]


def test_a_refused_reservation_has_nothing_to_undo() -> None:
    assert told("out_of_stock") == [("Reserve Stock", "refused"), ("Close Order", "closed")]


def test_every_attempt_is_told_with_its_error() -> None:
    charge = steps(history("gateway_error"))[1]
    assert [attempt["error"] for attempt in charge["attempts"]] == ["TransientFault"] * 3
    assert charge["outcome"] is None  # nobody knows it
    assert told("gateway_error")[2:] == [
        ("Refund Payment", "refunded"),
        ("Release Stock", "released"),
        ("Close Order", "closed"),
    ]


def test_a_parked_order_tells_of_the_operator_and_goes_on_from_the_undo_that_failed() -> None:
    assert told("parked_and_resumed") == [
        ("Reserve Stock", "reserved"),
        ("Charge Payment", None),
        ("Refund Payment", None),
        ("Park Order", "resumed"),
        ("Refund Payment", "refunded"),
        ("Release Stock", "released"),
        ("Close Order", "closed"),
    ]
    found = steps(history("parked_and_resumed"))
    assert found[3]["kind"] == "operator"
    assert len(found[2]["attempts"]) == 5


@pytest.mark.parametrize("name", sorted(path.stem for path in HISTORIES.iterdir()))
def test_times_run_forward_and_everything_that_ended_says_when(name: str) -> None:
    found = steps(history(name))
    times: list[Any] = [
        time
        for step in found
        for time in [
            step["started_at"],
            *(each[end] for each in step["attempts"] for end in ("started_at", "ended_at")),
            step["ended_at"],
        ]
    ]
    assert times == sorted(times)


@pytest.mark.parametrize("name", sorted(path.stem for path in HISTORIES.iterdir()))
def test_the_timeline_of_a_running_saga_is_the_beginning_of_the_whole(name: str) -> None:
    events = history(name)
    whole = [step["step"] for step in steps(events)]
    for length in range(len(events)):
        begun = steps(events[:length])
        assert [step["step"] for step in begun] == whole[: len(begun)]
        assert all(step["ended_at"] for step in begun[:-1])


@pytest.mark.parametrize(
    ("status", "events", "asked"),
    [
        (Status.PLACED, "running", ["id"]),
        (Status.PARKED, "running", ["id"]),
        (Status.CONFIRMED, "over", ["id"]),
        (Status.PLACED, "over", ["id", "id-undo-1", "id-undo-2"]),
        (Status.REJECTED, "over", ["id", "id-undo-1", "id-undo-2"]),
        (Status.PLACED, "none", ["id", "id-undo-1", "id-undo-2"]),
    ],
)
def test_repairs_are_looked_for_only_where_there_can_be_any(
    status: Status, events: str, asked: list[str]
) -> None:
    whole = history("declined")
    saga = {"running": whole[:-1], "over": whole, "none": []}[events]
    seen: list[str] = []

    def executions(name: str) -> Events:
        seen.append(name.replace(str(ORDER_ID), "id"))
        return {"id": saga, "id-undo-1": [entered("Withdraw Confirmation")]}.get(seen[-1], [])

    now = datetime.now(UTC)
    order = Order(ORDER_ID, "ada", "ada@example.com", "EUR", (), 0, status, 1, now)
    found = of_order(order, executions)
    assert seen == asked
    assert (found[-1:] == steps([entered("Withdraw Confirmation")])) is (len(asked) > 1)


def test_a_saga_that_has_not_started_has_no_steps() -> None:
    assert steps([]) == []


def entered(name: str, at: int = 0) -> dict[str, Any]:
    return {"type": "TaskStateEntered", "timestamp": at, "stateEnteredEventDetails": {"name": name}}


def event(kind: str, at: int, **details: Any) -> dict[str, Any]:
    name = kind[0].lower() + kind[1:] + "EventDetails"
    return {"type": kind, "timestamp": at, name: details}


def test_an_answer_that_lambda_invoke_wrapped_is_unwrapped() -> None:
    wrapped = json.dumps({"ExecutedVersion": "$LATEST", "Payload": {"outcome": "refunded"}})
    (step,) = steps(
        [
            entered("Refund Payment"),
            event("TaskScheduled", 1),
            event("TaskSucceeded", 2, output=wrapped),
        ]
    )
    assert step["outcome"] == "refunded"


@pytest.mark.parametrize(
    "output", [None, "", "[1]", "null", "7", "not json", '{"Payload": "x"}', '{"outcome": 7}']
)
def test_an_answer_without_an_outcome_is_a_step_without_one(output: str | None) -> None:
    (step,) = steps(
        [
            entered("Reserve Stock"),
            event("TaskScheduled", 1),
            event("TaskSucceeded", 2, output=output),
        ]
    )
    assert step["outcome"] is None
    attempts: list[Any] = step["attempts"]
    assert attempts == [{"started_at": 1, "ended_at": 2, "error": None}]


@pytest.mark.parametrize(
    "kind",
    [
        "TaskFailed",
        "TaskTimedOut",
        "TaskStartFailed",
        "TaskSubmitFailed",
        "LambdaFunctionFailed",
        "LambdaFunctionTimedOut",
        "LambdaFunctionScheduleFailed",
        "LambdaFunctionStartFailed",
    ],
)
def test_every_way_to_fail_ends_the_attempt_with_its_error(kind: str) -> None:
    (step,) = steps(
        [entered("Reserve Stock"), event("TaskScheduled", 1), event(kind, 2, error="Oh", cause="…")]
    )
    assert step["attempts"] == [{"started_at": 1, "ended_at": 2, "error": "Oh"}]


def test_an_attempt_that_failed_before_it_was_scheduled_is_told_too() -> None:
    broken = event("TaskFailed", 3, error="States.Runtime")
    (step,) = steps([entered("Park Order"), event("TaskFailed", 2, error="States.Runtime"), broken])
    assert [attempt["ended_at"] for attempt in step["attempts"]] == [2, 3]


@pytest.mark.parametrize("kind", ["ExecutionFailed", "ExecutionAborted", "ExecutionTimedOut"])
def test_a_step_ends_with_its_execution(kind: str) -> None:
    (step,) = steps([entered("Reserve Stock"), event("TaskScheduled", 1), event(kind, 9)])
    assert step["ended_at"] == 9


def test_a_kind_of_event_that_nobody_knows_changes_nothing() -> None:
    known = [entered("Reserve Stock"), event("TaskScheduled", 1)]
    strange = [event("MapRunRedriven", 0), event("Novelty", 1)]
    assert steps([strange[0], *known, strange[1]]) == steps(known)
