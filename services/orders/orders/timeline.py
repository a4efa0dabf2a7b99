"""What an order's saga did and when, read from its execution history."""

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from orders.answers import Step
from orders.domain import Order, Status
from shared.contracts.saga import undo_name

Events = Sequence[Mapping[str, Any]]

_SCHEDULED = {"TaskScheduled", "LambdaFunctionScheduled"}
_SUCCEEDED = {"TaskSucceeded", "LambdaFunctionSucceeded"}
_FAILED = {
    "TaskFailed",
    "TaskTimedOut",
    "TaskStartFailed",
    "TaskSubmitFailed",
    "LambdaFunctionFailed",
    "LambdaFunctionTimedOut",
    "LambdaFunctionScheduleFailed",
    "LambdaFunctionStartFailed",
}
_OVER = {
    "ExecutionSucceeded",
    "ExecutionFailed",
    "ExecutionAborted",
    "ExecutionTimedOut",
}
_ENDED = _OVER | {"TaskStateExited"}
_UNDO = {
    "Withdraw Confirmation",
    "Cancel Shipment",
    "Refund Payment",
    "Release Stock",
    "Close Order",
}


def of_order(order: Order, history: Callable[[str], Events]) -> list[Step]:
    """Return the steps of an order's saga, and after them those of the repairs that it needed.

    `history` returns an execution's events by its name, nothing if there is none. A repair can
    only be where the saga does not run, and a confirmed order has nothing to repair: so the
    timelines that are asked for most, again and again, take one call.
    """
    events = history(str(order.id))
    found = steps(events)
    running = bool(events) and events[-1]["type"] not in _OVER
    if running or order.status is Status.CONFIRMED:
        return found
    number = 1
    while repair := history(undo_name(str(order.id), number)):
        found += steps(repair)
        number += 1
    return found


def steps(events: Events) -> list[Step]:
    """Fold history events into steps, oldest first."""
    found: list[Step] = []
    for event in events:
        kind = event["type"]
        if kind == "TaskStateEntered":
            found.append(_entered(event))
        elif not found:
            continue
        elif kind in _SCHEDULED:
            found[-1]["attempts"].append(
                {"started_at": event["timestamp"], "ended_at": None, "error": None}
            )
        elif kind in _SUCCEEDED:
            _end_attempt(found[-1], event, None)
            found[-1]["outcome"], found[-1]["reason"] = _outcome(event)
        elif kind in _FAILED:
            _end_attempt(found[-1], event, _details(event).get("error") or "States.Timeout")
        elif kind in _ENDED:
            found[-1]["ended_at"] = found[-1]["ended_at"] or event["timestamp"]
    return found


def _entered(event: Mapping[str, Any]) -> Step:
    name = event["stateEnteredEventDetails"]["name"]
    return {
        "step": name,
        "kind": "operator" if name == "Park Order" else "undo" if name in _UNDO else "forward",
        "started_at": event["timestamp"],
        "ended_at": None,
        "outcome": None,
        "reason": None,
        "attempts": [],
    }


def _end_attempt(step: Step, event: Mapping[str, Any], error: str | None) -> None:
    attempts = step["attempts"]
    if not attempts or attempts[-1]["ended_at"]:
        # It failed before it was scheduled: its parameters could not be made.
        attempts.append({"started_at": event["timestamp"], "ended_at": None, "error": None})
    attempts[-1]["ended_at"], attempts[-1]["error"] = event["timestamp"], error


def _details(event: Mapping[str, Any]) -> Mapping[str, Any]:
    return next((value for key, value in event.items() if key.endswith("EventDetails")), {})


def _outcome(event: Mapping[str, Any]) -> tuple[str | None, str | None]:
    """Return the outcome that a step answered, and its reason."""
    try:
        output = json.loads(_details(event).get("output") or "null")
    except ValueError:
        return None, None
    if isinstance(output, dict) and "Payload" in output:
        output = output["Payload"]  # how the lambda:invoke integration wraps an answer
    if not isinstance(output, dict):
        return None, None
    return _text(output.get("outcome")), _text(output.get("reason"))


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) else None
