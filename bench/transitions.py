"""Which states an order's saga enters, read from the state machine's file: each costs the same."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

SAGA = Path(__file__).parents[1] / "services/orders/saga/place_order.asl.yml"

ANSWERS: Mapping[str, Mapping[str, str]] = {
    "confirmed": {
        "$.reserve.outcome": "reserved",
        "$.charge.outcome": "charged",
        "$.ship.outcome": "shipped",
        "$.confirm.outcome": "confirmed",
    },
    "refused": {"$.reserve.outcome": "refused"},
    "compensated": {"$.reserve.outcome": "reserved", "$.charge.outcome": "refused"},
}
"""What the steps answer, for each of the outcomes that are priced."""


def definition() -> dict[str, Any]:
    """Return the state machine; the framework's `${…}` stay as they are."""
    return dict(yaml.safe_load(SAGA.read_text()))


def states_entered(machine: Mapping[str, Any], answers: Mapping[str, str]) -> list[str]:
    """Return the states that a saga enters whose steps answer so, none of them twice."""
    name, entered = machine["StartAt"], []
    while True:
        entered.append(name)
        state = machine["States"][name]
        if state["Type"] in ("Succeed", "Fail"):
            return entered
        name = _chosen(state, answers) if state["Type"] == "Choice" else state["Next"]
        if name in entered:
            raise ValueError(f"{name} is entered twice: a retry is no path")


def _chosen(state: Mapping[str, Any], answers: Mapping[str, str]) -> str:
    for rule in state["Choices"]:
        if "StringEquals" in rule and answers.get(rule["Variable"]) == rule["StringEquals"]:
            return str(rule["Next"])
    return str(state["Default"])
