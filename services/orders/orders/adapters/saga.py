"""The place-order saga, in Step Functions."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from orders.adapters.order_book import SAGA
from shared.errors import TransientFault
from shared.outbox import Deliver, Waiting


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
                # The same bytes each time: Step Functions takes a repeated start for the same
                # one only if the input is equal too.
                input=json.dumps(document, sort_keys=True),
            )
        except self._states.exceptions.ExecutionAlreadyExists:
            return  # it ran, and may be over
        except (BotoCoreError, ClientError) as error:
            raise TransientFault(f"StartExecution: {error}") from error

    def history(self, name: str) -> Sequence[Mapping[str, Any]]:
        """Return the execution's events in order; empty if it has not started."""
        arn = self._state_machine_arn.replace(":stateMachine:", ":execution:") + f":{name}"
        try:
            pages = self._states.get_paginator("get_execution_history").paginate(executionArn=arn)
            return [event for page in pages for event in page["events"]]
        except self._states.exceptions.ExecutionDoesNotExist:
            return []


def dispatcher(saga: StepFunctionsSaga, facts: Deliver) -> Deliver:
    """Return a `Deliver` for this service's outbox: saga starts, and facts."""

    def deliver(rows: Sequence[Waiting]) -> Mapping[int, str]:
        errors: dict[int, str] = {}
        for row in rows:
            if row.destination == SAGA:
                try:
                    saga.start(row.subject, row.body)
                except TransientFault as fault:
                    errors[row.seq] = str(fault)
        errors.update(facts([row for row in rows if row.destination != SAGA]))
        return errors

    return deliver
