"""Attempts of a Step Functions task that end when they have ended.

LocalStack makes one task token for a state, where AWS makes one for each attempt: a retry finds the
token of the attempt before it, and fails at once as that did. And it leaves a call alone that has
timed out, but writes what comes of it into the history of an execution that is long past it.

It also looks for a token in every execution there is, in turn: each reply costs more the more of
them are on their way, and fails with an internal error if one has just been started and has no
tokens yet. And it takes a second reply, or one to an execution that was stopped. Here a token leads
to the attempt that waits for it, once.
"""

import functools
from collections.abc import Callable
from typing import Any

from localstack.aws.api.stepfunctions import (
    InvalidToken,
    SendTaskFailureOutput,
    SendTaskHeartbeatOutput,
    SendTaskSuccessOutput,
)
from localstack.runtime.hooks import on_infra_start
from localstack.services.stepfunctions.asl.component.state.state_execution.state_task.service import (  # noqa: E501
    resource,
    state_task_service,
)
from localstack.services.stepfunctions.asl.component.state.state_execution.state_task.state_task_lambda import (  # noqa: E501
    StateTaskLambda,
)
from localstack.services.stepfunctions.asl.eval.callback.callback import (
    CallbackOutcomeFailure,
    CallbackOutcomeSuccess,
)
from localstack.services.stepfunctions.provider import StepFunctionsProvider

AWAITS_REPLY = resource.ResourceCondition.WaitForTaskToken
INVALID = "Invalid token"  # as LocalStack says it

# The attempt that waits for the reply to each token, as LocalStack's frame of it.
_waiting: dict[str, Any] = {}


@on_infra_start()  # type: ignore[untyped-decorator]
def honest_attempts() -> None:
    """Called by LocalStack once, before it starts its services."""
    for kind in (state_task_service.StateTaskService, StateTaskLambda):
        _correct(kind)
    for operation, pass_on in REPLIES.items():
        _deliver(operation, pass_on)


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
        _waiting[token] = frame
        try:
            original(task, frame)
        finally:
            # A reply that comes after this is refused, as AWS does.
            _waiting.pop(token, None)
            frame.callback_pool_manager._pool.pop(token)  # noqa: SLF001

    kind._eval_execution = attempt  # noqa: SLF001


def _succeed(frame: Any, token: str, output: str) -> Any:
    _end(frame, CallbackOutcomeSuccess(token, output))
    return SendTaskSuccessOutput()


def _fail(frame: Any, token: str, error: str | None = None, cause: str | None = None) -> Any:
    _end(frame, CallbackOutcomeFailure(token, error, cause))
    return SendTaskFailureOutput()


def _beat(frame: Any, token: str) -> Any:
    frame.callback_pool_manager.heartbeat(token)
    return SendTaskHeartbeatOutput()


def _end(frame: Any, outcome: Any) -> None:
    # Of two replies at the same moment one takes it from the other.
    if _waiting.pop(outcome.callback_id, None) is None:
        raise InvalidToken(INVALID)
    frame.callback_pool_manager.notify(outcome.callback_id, outcome)


REPLIES: dict[str, Callable[..., Any]] = {
    "send_task_success": _succeed,
    "send_task_failure": _fail,
    "send_task_heartbeat": _beat,
}


def _deliver(operation: str, pass_on: Callable[..., Any]) -> None:
    original = getattr(StepFunctionsProvider, operation)

    @functools.wraps(original)
    def reply(provider: Any, context: Any, task_token: str, **content: Any) -> Any:
        frame = _waiting.get(task_token)
        if frame is None and provider.get_store(context).activities:
            return original(provider, context, task_token, **content)
        if frame is None or not frame.is_running():
            raise InvalidToken(INVALID)
        return pass_on(frame, task_token, **content)

    setattr(StepFunctionsProvider, operation, reply)


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
