"""Each fault does to calls, messages and AWS calls what it promises, and nothing to others."""

import json
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import psutil
import pytest
from cloud_under_test import Answer, Cloud, Function, eventually, unique

# Every run of the handler leaves a line.
TELLS = """
    import json, os
    def handler(event, context):
        with open({seen!r}, "a") as file:
            print(json.dumps([event, os.getpid()]), file=file)
        return os.getpid()
"""
# Sends its event on, in two attempts at most.
SENDS = """
    import boto3, json, os
    from botocore.config import Config
    twice = Config(retries={{"mode": "standard", "total_max_attempts": 2}})
    sqs = boto3.client("sqs", config=twice)
    def handler(event, context):
        with open({seen!r}, "a") as file:
            print(json.dumps([event, os.getpid()]), file=file)
        try:
            sqs.send_message(QueueUrl={queue!r}, MessageBody=json.dumps(event))
        except Exception as error:
            return [type(error).__name__, str(error)]
        return ["sent", os.getpid()]
"""
# Handles messages, and fails those that ask for it.
CONSUMES = """
    import json, os
    def handler(event, context):
        bodies = [record["body"] for record in event["Records"]]
        with open({seen!r}, "a") as file:
            print(json.dumps([bodies, os.getpid()]), file=file)
"""


@pytest.fixture(autouse=True)
def no_faults_are_left(cloud: Cloud) -> Iterator[None]:
    yield
    cloud.orderflow("DELETE", "/faults")


@pytest.fixture
def callers() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(4) as pool:
        yield pool


class Told:
    """A function, and what it has told of its runs."""

    def __init__(self, cloud: Cloud, folder: Path, source: str, **more: Any) -> None:
        self.file = folder / "seen"
        settings = {"Timeout": more.pop("timeout", 10)}
        source = source.format(seen=str(self.file), **more)
        self.function: Function = cloud.deploy(source, **settings)

    def runs(self) -> list[tuple[Any, int]]:
        """Its event (or the bodies of its messages) and its process, for each run."""
        lines = self.file.read_text().splitlines() if self.file.exists() else []
        return [tuple(json.loads(line)) for line in lines]

    def events(self) -> list[Any]:
        return [event for event, _ in self.runs()]


# A call, as it comes


def test_a_call_that_fails_at_the_request_does_not_reach_the_function(
    cloud: Cloud, tmp_path: Path
) -> None:
    told = Told(cloud, tmp_path, TELLS)

    with cloud.fault(told.function, "request", "error") as fault:
        answer = told.function("first")
        after = told.function("second")

        assert fault.seen("hits") == 1
    assert (answer.error, answer.payload["errorType"]) == ("Unhandled", "Fault")
    assert f"FAULT {fault.id}: error at request" in answer.log
    assert after.error is None
    assert told.events() == ["second"]


def test_a_process_that_is_killed_at_the_request_has_not_run_and_the_next_starts_cold(
    cloud: Cloud, tmp_path: Path
) -> None:
    told = Told(cloud, tmp_path, TELLS)
    before = told.function("before").payload

    with cloud.fault(told.function, "request", "kill"):
        answer = told.function("killed")

    assert answer.payload["errorType"] == "Runtime.ExitError"
    assert answer.payload["errorMessage"].endswith("signal: killed")
    assert not psutil.pid_exists(before)
    assert told.function("after").payload != before
    assert told.events() == ["before", "after"]


def test_of_a_request_that_is_lost_nothing_is_heard_until_the_timeout(
    cloud: Cloud, tmp_path: Path
) -> None:
    told = Told(cloud, tmp_path, TELLS, timeout=1)
    before = told.function("before").payload

    with cloud.fault(told.function, "request", "lose"):
        began = time.monotonic()
        answer = told.function("lost")

    assert time.monotonic() - began >= 1
    assert answer.payload["errorType"] == "Sandbox.Timedout"
    assert answer.payload["errorMessage"].endswith("Task timed out after 1.00 seconds")
    assert not psutil.pid_exists(before)
    assert told.events() == ["before"]


def test_a_request_that_is_delayed_runs_late(cloud: Cloud, tmp_path: Path) -> None:
    told = Told(cloud, tmp_path, TELLS, timeout=1)

    with cloud.fault(told.function, "request", "delay", seconds=1.5):
        began = time.monotonic()
        answer = told.function("late")

    assert time.monotonic() - began >= 1.5
    assert answer.error is None  # The delay does not count as the function's time.
    assert told.events() == ["late"]


def test_a_request_that_is_held_runs_when_it_is_released_and_the_rule_stays(
    cloud: Cloud, tmp_path: Path, callers: ThreadPoolExecutor
) -> None:
    told = Told(cloud, tmp_path, TELLS)

    with cloud.fault(told.function, "request", "hold", times=None) as fault:
        for word in ("first", "second"):
            answer = callers.submit(told.function, word)
            eventually(lambda: fault.seen("holding") == 1, "a call that is held")
            assert word not in told.events()

            fault.release()

            assert answer.result().error is None
            assert fault.seen("holding") == 0
    assert told.events() == ["first", "second"]


def test_a_request_that_comes_twice_runs_twice_and_the_second_answer_counts(
    cloud: Cloud, tmp_path: Path
) -> None:
    told = Told(
        cloud,
        tmp_path,
        """
        import json
        calls = 0
        def handler(event, context):
            global calls
            calls += 1
            return calls
        """,
    )

    with cloud.fault(told.function, "request", "twice"):
        answer = told.function("again")

    assert answer.payload == 2
    assert answer.log.count("REPORT RequestId") == 2


# A call's answer


def test_an_answer_that_fails_comes_after_the_function_ran(cloud: Cloud, tmp_path: Path) -> None:
    told = Told(cloud, tmp_path, TELLS)

    with cloud.fault(told.function, "response", "error"):
        answer = told.function("ran")

    assert answer.payload["errorType"] == "Fault"
    ((_, process),) = told.runs()
    assert told.function("next").payload == process


def test_a_process_that_is_killed_as_it_answers_has_run(cloud: Cloud, tmp_path: Path) -> None:
    told = Told(cloud, tmp_path, TELLS)

    with cloud.fault(told.function, "response", "kill"):
        answer = told.function("ran")

    assert answer.payload["errorType"] == "Runtime.ExitError"
    ((event, process),) = told.runs()
    assert event == "ran"
    assert not psutil.pid_exists(process)


def test_of_an_answer_that_is_lost_nothing_is_heard_until_the_timeout(
    cloud: Cloud, tmp_path: Path
) -> None:
    told = Told(cloud, tmp_path, TELLS, timeout=1)

    with cloud.fault(told.function, "response", "lose"):
        answer = told.function("ran")

    assert answer.payload["errorType"] == "Sandbox.Timedout"
    ((event, process),) = told.runs()
    assert event == "ran"
    assert not psutil.pid_exists(process)


def test_an_answer_that_is_delayed_comes_late(cloud: Cloud, tmp_path: Path) -> None:
    told = Told(cloud, tmp_path, TELLS, timeout=1)

    with cloud.fault(told.function, "response", "delay", seconds=1.5):
        began = time.monotonic()
        answer = told.function("ran")

    assert time.monotonic() - began >= 1.5
    assert answer.payload == told.runs()[0][1]


def test_an_answer_that_is_held_comes_when_its_rule_is_removed(
    cloud: Cloud, tmp_path: Path, callers: ThreadPoolExecutor
) -> None:
    told = Told(cloud, tmp_path, TELLS)

    with cloud.fault(told.function, "response", "hold") as fault:
        answer = callers.submit(told.function, "ran")
        eventually(lambda: fault.seen("holding") == 1, "an answer that is held")
        assert told.events() == ["ran"]
        assert not answer.done()

        fault.remove()

        assert answer.result().payload == told.runs()[0][1]


# An AWS call that the function makes


@pytest.fixture
def queue(cloud: Cloud) -> str:
    return str(cloud.client("sqs").create_queue(QueueName=unique("queue"))["QueueUrl"])


def test_an_aws_call_that_fails_is_not_carried_out_and_neither_is_its_retry(
    cloud: Cloud, tmp_path: Path, queue: str
) -> None:
    told = Told(cloud, tmp_path, SENDS, queue=queue)

    with cloud.fault(told.function, "sqs:SendMessage", "error") as fault:
        failed = told.function("first")
        sent = told.function("second")

        assert fault.seen("hits") == 1  # of two attempts: one call of the function
    assert failed.payload[0] == "ClientError"
    assert "(InternalFailure)" in failed.payload[1]
    assert "reached max retries: 1" in failed.payload[1]
    assert sent.payload[0] == "sent"
    assert _bodies(cloud, queue) == ["second"]


def test_a_process_that_is_killed_as_its_aws_call_arrives_has_changed_nothing(
    cloud: Cloud, tmp_path: Path, queue: str
) -> None:
    told = Told(cloud, tmp_path, SENDS, queue=queue)

    with cloud.fault(told.function, "sqs:SendMessage", "kill"):
        answer = told.function("killed")

    assert answer.payload["errorType"] == "Runtime.ExitError"
    assert told.events() == ["killed"]
    assert _bodies(cloud, queue) == []


def test_an_aws_call_that_is_lost_ends_without_an_answer_and_is_not_carried_out(
    cloud: Cloud, tmp_path: Path, queue: str
) -> None:
    told = Told(cloud, tmp_path, SENDS, queue=queue)

    with cloud.fault(told.function, "sqs:SendMessage", "lose"):
        answer = told.function("lost")

    assert answer.payload[0] == "ConnectionClosedError"
    assert _bodies(cloud, queue) == []


def test_an_aws_call_that_is_delayed_is_carried_out_late(
    cloud: Cloud, tmp_path: Path, queue: str
) -> None:
    told = Told(cloud, tmp_path, SENDS, queue=queue)

    with cloud.fault(told.function, "sqs:SendMessage", "delay", seconds=1.5):
        began = time.monotonic()
        answer = told.function("late")

    assert time.monotonic() - began >= 1.5
    assert answer.payload[0] == "sent"
    assert _bodies(cloud, queue) == ["late"]


def test_an_aws_call_that_is_held_is_carried_out_when_it_is_released(
    cloud: Cloud, tmp_path: Path, queue: str, callers: ThreadPoolExecutor
) -> None:
    told = Told(cloud, tmp_path, SENDS, queue=queue)

    with cloud.fault(told.function, "sqs:SendMessage", "hold") as fault:
        answer = callers.submit(told.function, "held")
        eventually(lambda: fault.seen("holding") == 1, "an AWS call that is held")
        assert _bodies(cloud, queue) == []

        fault.release()

        assert answer.result().payload[0] == "sent"
    assert _bodies(cloud, queue) == ["held"]


def test_the_same_aws_call_of_another_call_or_another_function_is_not_concerned(
    cloud: Cloud, tmp_path: Path, queue: str
) -> None:
    told = Told(cloud, tmp_path, SENDS, queue=queue)
    (tmp_path / "other").mkdir()
    other = Told(cloud, tmp_path / "other", SENDS, queue=queue)

    with cloud.fault(told.function, "sqs:SendMessage", "error", where={"who": "me"}) as fault:
        answers = [told.function({"who": "you"}), other.function({"who": "me"})]

        assert fault.seen("hits") == 0
    assert [answer.payload[0] for answer in answers] == ["sent", "sent"]


# A message of a batch


class Consumer(Told):
    """A function behind a queue whose messages come again after a second."""

    def __init__(self, cloud: Cloud, folder: Path, source: str = CONSUMES) -> None:
        super().__init__(cloud, folder, source)
        self.cloud = cloud
        sqs = cloud.client("sqs")
        self.queue = sqs.create_queue(
            QueueName=unique("queue"), Attributes={"VisibilityTimeout": "1"}
        )["QueueUrl"]
        attributes = sqs.get_queue_attributes(QueueUrl=self.queue, AttributeNames=["QueueArn"])
        self.arn = attributes["Attributes"]["QueueArn"]

    def send(self, *words: str) -> None:
        """Send a batch, and only then let the function have it."""
        self.cloud.client("sqs").send_message_batch(
            QueueUrl=self.queue,
            Entries=[
                {"Id": word, "MessageBody": json.dumps({"word": word, "data": {"number": 1}})}
                for word in words
            ],
        )
        self.function.feed(
            self.arn, FunctionResponseTypes=["ReportBatchItemFailures"], BatchSize=10
        )

    def batches(self) -> list[list[str]]:
        """The words of each run."""
        return [sorted(json.loads(body)["word"] for body in bodies) for bodies in self.events()]

    def is_done(self) -> bool:
        """Whether nothing is in its queue, be it hidden or not."""
        answer = self.cloud.client("sqs").get_queue_attributes(
            QueueUrl=self.queue, AttributeNames=["All"]
        )["Attributes"]
        return not int(answer["ApproximateNumberOfMessages"]) and not int(
            answer["ApproximateNumberOfMessagesNotVisible"]
        )


MINE = {"word": "mine", "data.number": 1}


@pytest.mark.parametrize(
    ("at", "do", "batches"),
    [
        # Not run and therefore come again: alone, because nothing else is left.
        ("request", "error", [["one", "two"], ["mine"]]),
        ("request", "kill", [["one", "two"], ["mine"]]),
        ("request", "lose", [["one", "two"], ["mine"]]),
        ("request", "delay", [["one", "two"], ["mine"]]),
        ("request", "twice", [["one", "two"], ["mine"], ["mine"]]),
        # Run, and come again.
        ("response", "error", [["one", "two"], ["mine"], ["mine"]]),
        ("response", "kill", [["one", "two"], ["mine"], ["mine"]]),
        ("response", "lose", [["one", "two"], ["mine"], ["mine"]]),
        ("response", "delay", [["one", "two"], ["mine"]]),
    ],
)
def test_a_fault_of_one_message_leaves_its_batch_mates_alone(
    cloud: Cloud, tmp_path: Path, at: str, do: str, batches: list[list[str]]
) -> None:
    consumer = Consumer(cloud, tmp_path)

    with cloud.fault(consumer.function, at, do, where=MINE, seconds=2) as fault:
        consumer.send("one", "mine", "two")

        eventually(lambda: len(consumer.batches()) >= len(batches), "every run")
        eventually(consumer.is_done, "an empty queue")
        assert fault.seen("hits") == 1
    assert consumer.batches() == batches
    if do == "kill":
        assert len({process for _, process in consumer.runs()}) == 2


def test_a_message_that_is_held_keeps_nobody_waiting_and_comes_when_it_is_released(
    cloud: Cloud, tmp_path: Path
) -> None:
    consumer = Consumer(cloud, tmp_path)

    with cloud.fault(consumer.function, "request", "hold", where=MINE, times=None) as fault:
        consumer.send("one", "mine", "two")
        eventually(lambda: fault.seen("holding") == 1, "a message that is held")
        eventually(lambda: consumer.batches() == [["one", "two"]], "the others")
        consumer.cloud.client("sqs").send_message(
            QueueUrl=consumer.queue, MessageBody=json.dumps({"word": "later"})
        )
        eventually(lambda: ["later"] in consumer.batches(), "the next message")

        fault.release()

        eventually(lambda: ["mine"] in consumer.batches(), "the message that was held")
        eventually(consumer.is_done, "an empty queue")
        assert (fault.seen("hits"), fault.seen("holding")) == (1, 0)


def test_the_answer_of_a_message_that_is_held_comes_when_the_rule_is_removed(
    cloud: Cloud, tmp_path: Path
) -> None:
    consumer = Consumer(cloud, tmp_path)

    with cloud.fault(consumer.function, "response", "hold", where=MINE) as fault:
        consumer.send("one", "mine", "two")
        eventually(lambda: fault.seen("holding") == 1, "an answer that is held")
        assert consumer.batches() == [["one", "two"], ["mine"]]
        assert not consumer.is_done()

        fault.remove()

        eventually(consumer.is_done, "an empty queue")


def test_a_message_whose_aws_call_fails_fails_alone(
    cloud: Cloud, tmp_path: Path, queue: str
) -> None:
    consumer = Consumer(
        cloud,
        tmp_path,
        f"""
        import boto3, json, os
        sqs = boto3.client("sqs")
        def handler(event, context):
            bodies = [record["body"] for record in event["Records"]]
            with open({{seen!r}}, "a") as file:
                print(json.dumps([bodies, os.getpid()]), file=file)
            for body in bodies:
                sqs.send_message(QueueUrl="{queue}", MessageBody=body)
        """,
    )

    with cloud.fault(consumer.function, "sqs:SendMessage", "error", where=MINE):
        consumer.send("one", "mine", "two")
        eventually(consumer.is_done, "an empty queue")

    assert consumer.batches() == [["one", "two"], ["mine"], ["mine"]]
    assert sorted(body["word"] for body in _bodies(cloud, queue)) == ["mine", "one", "two"]


# Step Functions


def test_a_step_times_out_while_its_call_is_delayed_and_the_late_call_still_runs(
    cloud: Cloud, tmp_path: Path
) -> None:
    told = Told(cloud, tmp_path, TELLS)
    client = cloud.client("stepfunctions")
    step = {
        "Type": "Task",
        "Resource": told.function.arn,
        "TimeoutSeconds": 1,
        "Catch": [{"ErrorEquals": ["States.Timeout"], "Next": "Gave Up"}],
        "End": True,
    }
    machine = client.create_state_machine(
        name=unique("machine"),
        roleArn="arn:aws:iam::000000000000:role/any",
        definition=json.dumps(
            {"StartAt": "Step", "States": {"Step": step, "Gave Up": {"Type": "Succeed"}}}
        ),
    )["stateMachineArn"]

    def types() -> list[str]:
        events = client.get_execution_history(executionArn=execution)["events"]
        return [event["type"] for event in events]

    with cloud.fault(told.function, "request", "delay", seconds=3):
        execution = client.start_execution(stateMachineArn=machine, input='{"n": 1}')[
            "executionArn"
        ]
        eventually(lambda: types()[-1] == "ExecutionSucceeded", "an end of the execution")
        assert told.events() == []
        history = types()
        assert "LambdaFunctionTimedOut" in history
        eventually(told.runs, "the late run")

    assert told.events() == [{"n": 1}]
    eventually(lambda: not _busy(cloud, told.function), "an end of the late run")
    assert types() == history  # What comes too late is no part of the story.


# Environments


def test_environments_are_listed_and_one_that_is_killed_ends_its_call(
    cloud: Cloud, callers: ThreadPoolExecutor
) -> None:
    function = cloud.deploy(
        """
        import os, time
        def handler(event, context):
            time.sleep(event)
            return os.getpid()
        """
    )
    process = function(0).payload
    (environment,) = _environments(cloud, function)
    assert (environment["pid"], environment["busy"]) == (process, False)
    answer: Future[Answer] = callers.submit(function, 9)
    eventually(lambda: _busy(cloud, function), "a call that runs")

    assert cloud.orderflow("POST", f"/environments/{environment['id']}/kill") == (200, {})

    assert answer.result().payload["errorType"] == "Runtime.ExitError"
    assert not psutil.pid_exists(process)
    assert _environments(cloud, function) == []
    assert function(0).payload != process


def test_an_environment_or_a_rule_that_there_is_not_is_not_found(cloud: Cloud) -> None:
    for method, path in (
        ("POST", "/environments/none/kill"),
        ("DELETE", "/faults/none"),
        ("POST", "/faults/none/release"),
    ):
        assert cloud.orderflow(method, path) == (404, {"error": "there is no such id"})


# The rules


@pytest.mark.parametrize(
    ("change", "error"),
    [
        ({"at": "sns:Shout"}, "at: AWS has no sns:Shout"),
        ({"at": "carrier-pigeon:Fly"}, "at: AWS has no carrier-pigeon:Fly"),
        ({"times": 0}, "times: must be"),
    ],
)
def test_a_rule_that_cannot_be_is_refused_by_the_name_of_its_field(
    cloud: Cloud, change: dict[str, object], error: str
) -> None:
    rule = {"function": "some", "at": "request", "do": "error", **change}

    status, answer = cloud.orderflow("POST", "/faults", rule)

    assert status == 400
    assert answer["error"].startswith(error)
    assert cloud.orderflow("GET", "/faults") == (200, {"faults": []})


def test_rules_are_listed_as_they_were_given_and_all_removed_at_once(cloud: Cloud) -> None:
    rule = {
        "function": "some",
        "where": {"type": "inventory.reserve.v1"},
        "at": "sns:PublishBatch",
        "do": "delay",
        "seconds": 20,
        "times": None,
    }
    _, added = cloud.orderflow("POST", "/faults", rule)

    assert cloud.orderflow("GET", "/faults") == (
        200,
        {"faults": [{"id": added["id"], "rule": rule, "hits": 0, "holding": 0}]},
    )
    assert cloud.orderflow("DELETE", "/faults") == (200, {})
    assert cloud.orderflow("GET", "/faults") == (200, {"faults": []})


def test_what_is_held_does_not_keep_the_cloud_from_stopping(
    own_cloud: Cloud, tmp_path: Path, callers: ThreadPoolExecutor
) -> None:
    told = Told(own_cloud, tmp_path, TELLS)
    consumer = Consumer(own_cloud, tmp_path)
    for held in (told.function, consumer.function):
        rule = {"function": held.name, "at": "request", "do": "hold"}
        assert own_cloud.orderflow("POST", "/faults", rule)[0] == 201
    answer = callers.submit(told.function, "held")
    consumer.send("held")

    def holding() -> int:
        _, answer = own_cloud.orderflow("GET", "/faults")
        return sum(fault["holding"] for fault in answer["faults"])

    eventually(lambda: holding() == 2, "a call and a message that are held")

    began = time.monotonic()
    own_cloud.down()

    assert time.monotonic() - began < 15  # when it would have been killed
    answer.exception()


def _environments(cloud: Cloud, function: Function) -> list[dict[str, Any]]:
    _, answer = cloud.orderflow("GET", "/environments")
    return [one for one in answer["environments"] if one["function"] == function.name]


def _busy(cloud: Cloud, function: Function) -> bool:
    return any(one["busy"] for one in _environments(cloud, function))


def _bodies(cloud: Cloud, queue: str) -> list[Any]:
    answer = cloud.client("sqs").receive_message(QueueUrl=queue, MaxNumberOfMessages=10)
    return [json.loads(message["Body"]) for message in answer.get("Messages", [])]
