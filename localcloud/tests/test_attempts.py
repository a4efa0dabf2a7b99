"""Each attempt of a Step Functions task stands for itself."""

import json
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from botocore.exceptions import ClientError
from cloud_under_test import ROLE, Cloud, eventually, unique


def test_a_retry_has_a_token_and_a_timeout_of_its_own(cloud: Cloud) -> None:
    sqs, client = cloud.client("sqs"), cloud.client("stepfunctions")
    queue = sqs.create_queue(QueueName=unique("queue"))["QueueUrl"]
    step = {
        "Type": "Task",
        "Resource": "arn:aws:states:::sqs:sendMessage.waitForTaskToken",
        "Parameters": {"QueueUrl": queue, "MessageBody": {"token.$": "$$.Task.Token"}},
        "TimeoutSeconds": 8,
        "Retry": [{"ErrorEquals": ["States.ALL"], "IntervalSeconds": 1, "MaxAttempts": 2}],
    }

    def token() -> str | None:
        messages = sqs.receive_message(QueueUrl=queue, WaitTimeSeconds=1).get("Messages", [])
        return json.loads(messages[0]["Body"])["token"] if messages else None

    execution = _start(cloud, step)
    silent = eventually(token, "the first attempt")
    failing = eventually(token, "the second attempt")
    client.send_task_failure(taskToken=failing, error="NotYet")
    good = eventually(token, "the third attempt")
    assert len({silent, failing, good}) == 3

    with pytest.raises(ClientError, match="InvalidToken"):
        client.send_task_success(taskToken=silent, output='"too late"')
    client.send_task_success(taskToken=good, output='"in time"')

    eventually(lambda: _ended(cloud, execution), "an end of the execution")
    assert client.describe_execution(executionArn=execution)["output"] == '"in time"'


def test_what_comes_of_a_call_that_has_timed_out_is_no_part_of_the_history(cloud: Cloud) -> None:
    function = cloud.deploy(
        """
        import time
        def handler(event, context):
            time.sleep(3)
        """
    )
    step = {
        "Type": "Task",
        "Resource": function.arn,
        "TimeoutSeconds": 1,
        "Catch": [{"ErrorEquals": ["States.Timeout"], "Next": "Wait"}],
    }

    execution = _start(cloud, step, {"Wait": {"Type": "Wait", "Seconds": 4, "End": True}})

    eventually(lambda: _ended(cloud, execution), "an end of the execution")
    history = cloud.client("stepfunctions").get_execution_history(executionArn=execution)["events"]
    assert [event["type"] for event in history] == [
        "ExecutionStarted",
        "TaskStateEntered",
        "LambdaFunctionScheduled",
        "LambdaFunctionStarted",
        "LambdaFunctionTimedOut",
        "TaskStateExited",
        "WaitStateEntered",
        "WaitStateExited",
        "ExecutionSucceeded",
    ]


def test_a_reply_is_answered_while_other_executions_start(cloud: Cloud) -> None:
    client = cloud.client("stepfunctions")
    steps = {f"Step {number}": {"Type": "Pass", "End": True} for number in range(100)}
    machine = _create(cloud, {"Type": "Wait", "Seconds": 1}, steps)
    enough = threading.Event()

    def start_many() -> None:
        while not enough.is_set():
            client.start_execution(stateMachineArn=machine)

    starters = [threading.Thread(target=start_many) for _ in range(2)]
    for starter in starters:
        starter.start()
    try:
        for _ in range(40):
            with pytest.raises(ClientError, match="InvalidToken"):
                client.send_task_success(taskToken="nobody's", output="{}")
            with pytest.raises(ClientError, match="InvalidToken"):
                client.send_task_failure(taskToken="nobody's", error="Any")
    finally:
        enough.set()
        for starter in starters:
            starter.join()


def test_of_two_replies_at_once_one_is_taken(cloud: Cloud) -> None:
    client = cloud.client("stepfunctions")

    def reply(token: str) -> str:
        try:
            client.send_task_success(taskToken=token, output="{}")
        except ClientError as error:
            return str(error.response["Error"]["Code"])
        return "taken"

    with ThreadPoolExecutor(8) as pool:
        for _ in range(10):
            execution, token = _waiting(cloud)
            answers = sorted(pool.map(reply, [token] * 8))
            assert answers == ["InvalidToken"] * 7 + ["taken"]
            eventually(lambda one=execution: _ended(cloud, one), "an end of the execution")


def test_no_reply_reaches_an_execution_that_was_stopped(cloud: Cloud) -> None:
    execution, token = _waiting(cloud)
    cloud.client("stepfunctions").stop_execution(executionArn=execution)
    with pytest.raises(ClientError, match="InvalidToken"):
        cloud.client("stepfunctions").send_task_success(taskToken=token, output="{}")


def test_a_heartbeat_keeps_an_attempt_alive(cloud: Cloud) -> None:
    client = cloud.client("stepfunctions")
    execution, token = _waiting(cloud, HeartbeatSeconds=5)
    for _ in range(4):
        client.send_task_heartbeat(taskToken=token)
        time.sleep(1.5)  # it is the time that passes which is tested
    client.send_task_success(taskToken=token, output='"alive"')
    eventually(lambda: _ended(cloud, execution), "an end of the execution")
    assert client.describe_execution(executionArn=execution)["output"] == '"alive"'
    with pytest.raises(ClientError, match="InvalidToken"):
        client.send_task_heartbeat(taskToken=token)


def test_an_activity_is_answered_too(own_cloud: Cloud) -> None:
    client = own_cloud.client("stepfunctions")
    activity = client.create_activity(name=unique("activity"))["activityArn"]
    execution = _start(own_cloud, {"Type": "Task", "Resource": activity})
    token = client.get_activity_task(activityArn=activity)["taskToken"]
    client.send_task_success(taskToken=token, output='"done"')
    eventually(lambda: _ended(own_cloud, execution), "an end of the execution")
    assert client.describe_execution(executionArn=execution)["output"] == '"done"'


def _waiting(cloud: Cloud, **more: Any) -> tuple[str, str]:
    """An execution that waits for a reply, and its token; `more` goes into its step."""
    sqs = cloud.client("sqs")
    queue = sqs.create_queue(QueueName=unique("queue"))["QueueUrl"]
    step = {
        "Type": "Task",
        "Resource": "arn:aws:states:::sqs:sendMessage.waitForTaskToken",
        "Parameters": {"QueueUrl": queue, "MessageBody.$": "$$.Task.Token"},
        **more,
    }
    execution = _start(cloud, step)

    def received() -> list[Any]:
        return list(sqs.receive_message(QueueUrl=queue).get("Messages", []))

    return execution, eventually(received, "its token")[0]["Body"]


def _start(cloud: Cloud, step: dict[str, Any], more: dict[str, Any] | None = None) -> str:
    client = cloud.client("stepfunctions")
    return str(client.start_execution(stateMachineArn=_create(cloud, step, more))["executionArn"])


def _create(cloud: Cloud, step: dict[str, Any], more: dict[str, Any] | None = None) -> str:
    states = {"Step": {**step, "End": True}, **(more or {})}
    machine = cloud.client("stepfunctions").create_state_machine(
        name=unique("machine"),
        roleArn=ROLE,
        definition=json.dumps({"StartAt": "Step", "States": states}),
    )
    return str(machine["stateMachineArn"])


def _ended(cloud: Cloud, execution: str) -> bool:
    status = cloud.client("stepfunctions").describe_execution(executionArn=execution)["status"]
    return bool(status != "RUNNING")
