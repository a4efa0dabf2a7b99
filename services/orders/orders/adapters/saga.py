"""The place-order saga, in Step Functions."""

from collections.abc import Mapping, Sequence
from datetime import UTC
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from orders.adapters.order_book import SAGA
from shared.contracts.saga import encoded
from shared.errors import TransientFault
from shared.outbox import Deliver, Waiting

# The token was handed back before, its task has timed out, or its execution has ended.
_GONE = frozenset({"TaskTimedOut", "TaskDoesNotExist", "InvalidToken"})


class StepFunctionsSaga:
    """Starts executions named by their order, and reads what they did."""

    def __init__(self, states: Any, state_machine_arn: str) -> None:
        self._states = states
        self._state_machine_arn = state_machine_arn

    def start(self, name: str, document: dict[str, Any]) -> None:
        """Start the execution `name`, once; raise TransientFault if it may not have started."""
        try:
            self._states.start_execution(
                stateMachineArn=self._state_machine_arn,
                name=name,
                input=encoded(document),
            )
        except self._states.exceptions.ExecutionAlreadyExists:
            return  # it ran, and may be over
        except (BotoCoreError, ClientError) as error:
            raise TransientFault(f"StartExecution: {error}") from error

    def history(self, name: str) -> Sequence[Mapping[str, Any]]:
        """Return the execution's events in order; empty if it has not started."""
        # boto3 gives times in the machine's zone, and pages of 100 events unless asked for more.
        arn = self._state_machine_arn.replace(":stateMachine:", ":execution:") + f":{name}"
        try:
            pages = self._states.get_paginator("get_execution_history").paginate(
                executionArn=arn, maxResults=1000
            )
            return [_in_utc(event) for page in pages for event in page["events"]]
        except self._states.exceptions.ExecutionDoesNotExist:
            return []
        except (BotoCoreError, ClientError) as error:
            raise TransientFault(f"GetExecutionHistory: {error}") from error


class ParkedSagas:
    """Goes on with sagas that wait for an operator."""

    def __init__(self, states: Any) -> None:
        self._states = states

    def resume(self, task_token: str) -> bool:
        """Hand the token back; False if nothing waits for it any more."""
        try:
            self._states.send_task_success(taskToken=task_token, output='{"outcome": "resumed"}')
        except BotoCoreError as error:
            raise TransientFault(f"SendTaskSuccess: {error}") from error
        except ClientError as error:
            if error.response["Error"]["Code"] in _GONE:
                return False
            raise TransientFault(f"SendTaskSuccess: {error}") from error
        return True


def _in_utc(event: Mapping[str, Any]) -> Mapping[str, Any]:
    return {**event, "timestamp": event["timestamp"].astimezone(UTC)}


def dispatcher(saga: StepFunctionsSaga, facts: Deliver) -> Deliver:
    """Return a `Deliver` for this service's outbox: saga starts, and facts."""

    def deliver(rows: Sequence[Waiting]) -> Mapping[int, str]:
        errors: dict[int, str] = {}
        for row in rows:
            if row.destination == SAGA:
                # One that fails is enough to know: the rest may wait a minute, the facts need not.
                if errors:
                    errors[row.seq] = "held back: an earlier start failed"
                    continue
                try:
                    saga.start(row.subject, row.body)
                except TransientFault as fault:
                    errors[row.seq] = str(fault)
        errors.update(facts([row for row in rows if row.destination != SAGA]))
        return errors

    return deliver
