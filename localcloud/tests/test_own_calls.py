"""What LocalStack tells itself arrives, in fewer calls."""

from datetime import UTC, datetime, timedelta
from typing import Any

from cloud_under_test import Cloud, eventually, in_the_cloud, unique

_TELL = """
import json
from types import SimpleNamespace
from localcloud.plugin import own_calls

told = []


class CloudWatch:
    def put_metric_data(self, **call):
        told.append(call)
        if len(told) == 1:
            raise OSError("away for a moment")


def connect(*, aws_access_key_id, region_name):
    if aws_access_key_id == "nobody":
        raise ValueError("there is no such account")
    return SimpleNamespace(cloudwatch=CloudWatch())


own_calls.connect_to = connect
own_calls.is_api_enabled = lambda _: True
metrics = own_calls.Metrics()
metrics.of_a_function("Invocations", 1, {"func_name": "f"}, account_id="nobody", region_name="r")
queue = {"account_id": "1", "region": "r", "queue_name": "q", "metric": "Sent"}
for number in range(1500):
    metrics.of_a_queue(**queue, value=number)
metrics.of_a_function("Invocations", 1, {"func_name": "f"}, account_id="1", region_name="r")
metrics.tell()
metrics.tell()
print(json.dumps({
    "calls": [(call["Namespace"], len(call["MetricData"])) for call in told],
    "values": [datum["Value"] for call in told[:2] for datum in call["MetricData"]],
    "in_order": all(
        one["Timestamp"] <= other["Timestamp"]
        for one, other in zip(told[0]["MetricData"], told[0]["MetricData"][1:])
    ),
}))
"""

_ASSUME = """
import json
from types import SimpleNamespace
from localcloud.plugin import own_calls

now, assumed = [0.0], []
connect = SimpleNamespace(with_assumed_role=lambda **asked: assumed.append(asked) or len(assumed))
roles = own_calls.Roles(connect, clock=lambda: now[0])
one, other = {"role_arn": "one", "config": object()}, {"role_arn": "other"}
got = [roles.with_assumed_role(**each) for each in (one, other, one, other)]
now[0] += own_calls.ROLE_SECONDS
got.append(roles.with_assumed_role(**one))
print(json.dumps({"got": got, "assumed": [each["role_arn"] for each in assumed]}))
"""

_HOOKS = """
import ast, json
from importlib.metadata import entry_points
from pathlib import Path
from localcloud import plugin

written, prefix = [], "localcloud.plugin."
for file in Path(plugin.__file__).parent.glob("*.py"):
    for node in ast.parse(file.read_text()).body:
        for decorator in getattr(node, "decorator_list", []):
            if isinstance(decorator, ast.Call) and ast.unparse(decorator.func) == "on_infra_start":
                written.append(f"{prefix}{file.stem}:{node.name}")
called = [each.value for each in entry_points(group="localstack.hooks.on_infra_start")]
print(json.dumps({
    "written": sorted(written), "called": sorted(each for each in called if prefix in each),
}))
"""

_COLLECT = """
import gc, json
from localcloud.plugin.pauses import put_aside

alive = [[] for _ in range(100_000)]
frozen = []
for long_seconds in (3600, 0):
    watch = put_aside(long_seconds)
    gc.callbacks.append(watch)
    gc.collect(1)
    frozen.append(gc.get_freeze_count())
    gc.collect()
    frozen.append(gc.get_freeze_count())
    gc.callbacks.remove(watch)
print(json.dumps({"frozen": frozen}))
"""


def test_every_correction_is_one_that_localstack_calls() -> None:
    found = in_the_cloud(_HOOKS)
    assert len(found["written"]) > 5
    assert found["called"] == found["written"]


def test_metrics_are_told_together_and_a_failure_loses_one_call() -> None:
    found = in_the_cloud(_TELL)
    assert found["calls"] == [["AWS/SQS", 1000], ["AWS/SQS", 500], ["AWS/Lambda", 1]]
    assert found["values"] == list(range(1500))
    assert found["in_order"]


def test_a_role_is_assumed_once_in_ten_minutes() -> None:
    found = in_the_cloud(_ASSUME)
    assert found["assumed"] == ["one", "other", "one"]
    assert found["got"] == [1, 2, 1, 2, 3]


def test_what_survives_a_long_collection_is_put_aside() -> None:
    *none, some = in_the_cloud(_COLLECT)["frozen"]
    assert none == [0, 0, 0]
    assert some > 100_000


def test_cloudwatch_knows_of_messages_and_of_calls(cloud: Cloud) -> None:
    function, sqs, name = cloud.deploy("def handler(*_): pass"), cloud.client("sqs"), unique("told")
    queue = sqs.create_queue(QueueName=name)["QueueUrl"]
    for _ in range(3):
        sqs.send_message(QueueUrl=queue, MessageBody="any")
    for _ in range(2):
        function()

    def seen(namespace: str, metric: str, dimension: dict[str, str]) -> float:
        now = datetime.now(UTC)
        points: list[dict[str, Any]] = cloud.client("cloudwatch").get_metric_statistics(
            Namespace=namespace,
            MetricName=metric,
            Dimensions=[dimension],
            StartTime=now - timedelta(minutes=5),
            EndTime=now + timedelta(minutes=1),
            Period=60,
            Statistics=["Sum"],
        )["Datapoints"]
        return sum(point["Sum"] for point in points)

    sent = {"Name": "QueueName", "Value": name}
    called = {"Name": "FunctionName", "Value": function.name}
    eventually(lambda: seen("AWS/SQS", "NumberOfMessagesSent", sent) == 3, "three messages")
    eventually(lambda: seen("AWS/Lambda", "Invocations", called) == 2, "two calls")
