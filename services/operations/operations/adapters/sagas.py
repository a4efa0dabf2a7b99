"""Which sagas run."""

from collections.abc import Iterator
from typing import Any
from uuid import UUID

_ORDER_ID = slice(36)


class Sagas:
    """The executions of the place-order state machine."""

    def __init__(self, stepfunctions: Any, state_machine: str) -> None:
        self._stepfunctions = stepfunctions
        self._state_machine = state_machine

    def running(self) -> Iterator[tuple[UUID]]:
        """Return the order of each saga that runs, forward or only to undo."""
        pages = self._stepfunctions.get_paginator("list_executions").paginate(
            stateMachineArn=self._state_machine, statusFilter="RUNNING"
        )
        for page in pages:
            for execution in page["executions"]:
                # Named for its order, and perhaps for what it does: `<order id>-undo-…`.
                try:
                    yield (UUID(execution["name"][_ORDER_ID]),)
                except ValueError:
                    continue  # Started by hand under another name: no order's saga.
