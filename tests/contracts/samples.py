"""One message of each published type, made as its publisher makes it."""

import json
import re
from typing import Any

from shared.contracts.inventory import ProductListed, StockLow
from shared.contracts.orders import (
    OrderCancelled,
    OrderConfirmed,
    OrderLine,
    OrderParked,
    OrderPlaced,
    OrderRejected,
)
from shared.envelope import wrap
from tests.saga.lint import read as read_saga

ORDER_ID = "0199a3b2-7c41-7d52-8e5f-3a6b9c0d1e2f"
_LINES = (OrderLine("MUG-BLUE", 2, 1250), OrderLine("TEA-GREEN", 1, 499))
_ORDER = (ORDER_ID, 2, "c-ada", "ada@example.org", "EUR", 2999)

_FACTS: tuple[tuple[Any, str, str], ...] = (
    (OrderPlaced(*_ORDER, _LINES), "orderflow.orders", ORDER_ID),
    (OrderConfirmed(*_ORDER, _LINES), "orderflow.orders", ORDER_ID),
    (OrderRejected(*_ORDER, "DECLINED"), "orderflow.orders", ORDER_ID),
    (OrderCancelled(*_ORDER, "CUSTOMER_REQUEST"), "orderflow.orders", ORDER_ID),
    (
        OrderParked(ORDER_ID, 2, "c-ada", "ada@example.org", "Refund Payment", "States.Timeout: "),
        "orderflow.orders",
        ORDER_ID,
    ),
    (ProductListed("MUG-BLUE", 1, "Blue mug", 1250, "EUR"), "orderflow.inventory", "MUG-BLUE"),
    (StockLow("MUG-BLUE", 3, 4, 5), "orderflow.inventory", "MUG-BLUE"),
)

# What the saga's document and context hold when a command is sent.
_DOCUMENT = {
    "$.order_id": ORDER_ID,
    "$.lines": [{"sku": "MUG-BLUE", "quantity": 2}, {"sku": "TEA-GREEN", "quantity": 1}],
    "$$.State.EnteredTime": "2026-11-24T16:02:25.988Z",
    "$$.Task.Token": "AQCEAAAAKgAAAAMAAAAAAAAAAQ==",
}


def facts() -> dict[str, dict[str, Any]]:
    """Return one fact of each type, by type, as it stands in the outbox and on the topic."""
    return {
        body.TYPE: json.loads(json.dumps(wrap(body, source=source, subject=subject)))
        for body, source, subject in _FACTS
    }


def commands() -> dict[str, dict[str, Any]]:
    """Return one command of each type, by type, as Step Functions fills the saga's templates."""
    states = read_saga("local")["States"].values()
    messages = [
        _filled(state["Parameters"]["Message"])
        for state in states
        if state["Type"] == "Task" and "TopicArn" in state.get("Parameters", {})
    ]
    return {message["type"]: message for message in messages}


def text(message: dict[str, Any]) -> str:
    """Return the message as it stands in a queue."""
    return json.dumps(message)


def _filled(template: Any) -> Any:
    if not isinstance(template, dict):
        return template
    return {
        key.removesuffix(".$"): _value(value) if key.endswith(".$") else _filled(value)
        for key, value in template.items()
    }


def _value(expression: str) -> Any:
    if found := re.fullmatch(r"States\.Format\('([^']*)', ([^)]*)\)", expression):
        return found[1].replace("{}", str(_value(found[2])))
    return _DOCUMENT[expression]
