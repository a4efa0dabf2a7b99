"""What a failed reply to the saga means."""

from typing import Any

import pytest
from botocore.exceptions import ClientError, EndpointConnectionError

from inventory.adapters.saga import StepFunctionsSaga
from shared.errors import TransientFault


class StepFunctions:
    """Raises `error` at each reply, if there is one."""

    def __init__(self, error: Exception | None = None) -> None:
        self.error = error
        self.sent: list[dict[str, str]] = []

    def send_task_success(self, **arguments: str) -> None:
        self.sent.append(arguments)
        if self.error:
            raise self.error


def refusal(code: str, status: int = 400) -> ClientError:
    answer: Any = {"Error": {"Code": code}, "ResponseMetadata": {"HTTPStatusCode": status}}
    return ClientError(answer, "SendTaskSuccess")


def test_the_outcome_is_the_result_of_the_step_that_holds_the_token() -> None:
    edge = StepFunctions()
    assert StepFunctionsSaga(edge).answer("t1", {"outcome": "reserved"})
    assert edge.sent == [{"taskToken": "t1", "output": '{"outcome": "reserved"}'}]


@pytest.mark.parametrize("code", ["TaskTimedOut", "TaskDoesNotExist", "InvalidToken"])
def test_a_saga_that_waits_no_longer_is_no_error(code: str) -> None:
    assert not StepFunctionsSaga(StepFunctions(refusal(code))).answer("t1", {})


@pytest.mark.parametrize(
    "error",
    [
        refusal("ServiceUnavailable", 503),
        refusal("ThrottlingException"),
        EndpointConnectionError(endpoint_url="http://states"),
    ],
)
def test_no_answer_from_step_functions_is_transient(error: Exception) -> None:
    with pytest.raises(TransientFault):
        StepFunctionsSaga(StepFunctions(error)).answer("t1", {})


def test_a_missing_permission_is_loud() -> None:
    with pytest.raises(ClientError):
        StepFunctionsSaga(StepFunctions(refusal("AccessDeniedException"))).answer("t1", {})
