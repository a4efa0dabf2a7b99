"""How executions of the place-order saga are named and started, by whichever service.

The saga of an order bears its id. A repair, which only undoes, is a later execution under a name of
its own: Step Functions takes the same name again for the same start.
"""

import json
from collections.abc import Mapping
from typing import Any

UNDO_FROM = "undo_from"
"""In the document of a saga that only undoes: where it begins."""

DEAD_TOKEN = "dead_token"  # noqa: S105 - the name of a field
"""In the same: the task token that was kept for an operator, of an execution that is gone."""

FIRST_UNDO = "Withdraw Confirmation"


def undo_name(order_id: str, number: int) -> str:
    """Return the name of an order's undo number `number`, from 1 on."""
    return f"{order_id}-undo-{number}"


def undo_document(order_id: str, dead_token: str | None = None) -> dict[str, Any]:
    """Return what such an execution starts with."""
    document = {"order_id": order_id, UNDO_FROM: FIRST_UNDO}
    return document | {DEAD_TOKEN: dead_token} if dead_token else document


def encoded(document: Mapping[str, Any]) -> str:
    """Return the text to start with: a repeated start must have the same input to the byte."""
    return json.dumps(document, sort_keys=True)
