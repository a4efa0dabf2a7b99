"""The saga's executions, in Step Functions: asked for by name, and started."""

from collections.abc import Mapping
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from operations.repairs import Execution
from shared.contracts.saga import encoded
from shared.errors import TransientFault


class StepFunctionsExecutions:
    """Executions of one state machine."""

    def __init__(self, states: Any, state_machine: str) -> None:
        self._states = states
        self._state_machine = state_machine

    def find(self, name: str) -> Execution | None:
        """Return the execution of this name, if there is one; raises TransientFault."""
        arn = self._state_machine.replace(":stateMachine:", ":execution:") + f":{name}"
        try:
            found = self._states.describe_execution(executionArn=arn)
        except self._states.exceptions.ExecutionDoesNotExist:
            return None
        except (BotoCoreError, ClientError) as error:
            raise TransientFault(f"DescribeExecution: {error}") from error
        return Execution(found["status"], found.get("stopDate"))

    def start(self, name: str, document: Mapping[str, Any]) -> None:
        """Start the execution `name`, once; raises TransientFault if it may not have started."""
        try:
            self._states.start_execution(
                stateMachineArn=self._state_machine, name=name, input=encoded(document)
            )
        except self._states.exceptions.ExecutionAlreadyExists:
            return  # Another run was faster, and its repair may be over.
        except (BotoCoreError, ClientError) as error:
            raise TransientFault(f"StartExecution: {error}") from error
