"""Answers the saga's steps through Step Functions."""

import json
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from shared.errors import TransientFault

# The step has timed out, was answered already, or its execution has ended.
_LATE = frozenset({"TaskTimedOut", "TaskDoesNotExist", "InvalidToken"})
_SERVER_FAULT = 500


class StepFunctionsSaga:
    """Sends each outcome as the result of the step that holds the task token."""

    def __init__(self, stepfunctions: Any) -> None:
        self._stepfunctions = stepfunctions

    def answer(self, task_token: str, outcome: dict[str, str]) -> bool:
        """Return False if the saga no longer waits; raise TransientFault if nobody answered."""
        try:
            self._stepfunctions.send_task_success(taskToken=task_token, output=json.dumps(outcome))
        except BotoCoreError as error:
            raise TransientFault(f"{type(error).__name__}: {error}") from error
        except ClientError as error:
            code = error.response["Error"]["Code"]
            if code in _LATE:
                return False
            status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
            if status >= _SERVER_FAULT or code.startswith("Throttl"):
                raise TransientFault(f"{code}: {error}") from error
            raise  # a wrong permission or a bug: loud
        return True
