"""Attempts of a Step Functions task that end when they have ended.

LocalStack makes one task token for a state, where AWS makes one for each attempt: a retry finds the
token of the attempt before it, and fails at once as that did. And it leaves a call alone that has
timed out, but writes what comes of it into the history of an execution that is long past it.
"""

import functools
from typing import Any

from localstack.runtime.hooks import on_infra_start
from localstack.services.stepfunctions.asl.component.state.state_execution.state_task.service import (  # noqa: E501
    resource,
    state_task_service,
)
from localstack.services.stepfunctions.asl.component.state.state_execution.state_task.state_task_lambda import (  # noqa: E501
    StateTaskLambda,
)

AWAITS_REPLY = resource.ResourceCondition.WaitForTaskToken


@on_infra_start()  # type: ignore[untyped-decorator]
def honest_attempts() -> None:
    """Called by LocalStack once, before it starts its services."""
    for kind in (state_task_service.StateTaskService, StateTaskLambda):
        _correct(kind)


def _correct(kind: Any) -> None:
    original = kind._eval_execution  # noqa: SLF001 (one attempt of the task)

    @functools.wraps(original)
    def attempt(task: Any, frame: Any) -> None:
        frame.event_manager = _History(frame)
        if getattr(task.resource, "condition", None) != AWAITS_REPLY:
            original(task, frame)
            return
        token = frame.states.context_object.update_task_token()
        frame.callback_pool_manager.add(token)
        try:
            original(task, frame)
        finally:
            # A reply that comes after this is refused, as AWS does.
            frame.callback_pool_manager._pool.pop(token)  # noqa: SLF001

    kind._eval_execution = attempt  # noqa: SLF001


class _History:
    """The execution's history, for as long as the attempt has not been given up."""

    def __init__(self, frame: Any) -> None:
        self._frame = frame
        self._real = frame.event_manager

    def __getattr__(self, name: str) -> Any:
        return getattr(self._real, name)

    def add_event(self, context: Any, *details: Any, **more: Any) -> int:
        """As the real one; it returns the event's number."""
        if self._frame.is_running():
            return int(self._real.add_event(context, *details, **more))
        return int(context.last_published_event_id)
