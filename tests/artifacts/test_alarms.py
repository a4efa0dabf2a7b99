"""Nothing that can stand still is deployed without an alarm, and each alarm says what to do."""

import json
import re
import subprocess
from typing import Any

import pytest

from tests.artifacts.packages import ROOT, STACKS, Package, package
from tests.support.templates import load

PLUGIN = ROOT / "tools/serverless-alarms"
DEPTH, AGE = "ApproximateNumberOfMessagesVisible", "ApproximateAgeOfOldestMessage"
RETENTION = 14 * 24 * 3600

_RUN = """
const Plugin = require(process.argv[1]);
const { Resources, alarms, environment, stage } = JSON.parse(process.argv[2]);
const service = {
  service: 'shop', custom: { alarms, stage },
  provider: { stage: 'local', environment, compiledCloudFormationTemplate: { Resources } },
};
const plugin = new Plugin({ service, classes: { Error } });
for (const hook of Object.values(plugin.hooks)) hook();
console.log(JSON.stringify(Resources));
"""


@pytest.fixture(params=STACKS)
def packed(request: pytest.FixtureRequest) -> Package:
    return package(str(request.param))


def alarms_of(packed: Package, queue: str) -> dict[str, dict[str, Any]]:
    """Return the alarms on a queue, by what they measure."""
    dimension = {"Name": "QueueName", "Value": {"Fn::GetAtt": [queue, "QueueName"]}}
    return {
        alarm["MetricName"]: alarm
        for alarm in packed.resources("AWS::CloudWatch::Alarm").values()
        if alarm["Namespace"] == "AWS/SQS" and alarm["Dimensions"] == [dimension]
    }


def test_every_queue_rings_when_it_stands_still(packed: Package) -> None:
    queues = packed.resources("AWS::SQS::Queue")
    for name, queue in queues.items():
        alarms = alarms_of(packed, name)
        if "RedrivePolicy" not in queue:
            assert alarms.keys() == {DEPTH, AGE}, name
            assert alarms[DEPTH]["Threshold"] == 0, name
            assert 0 < alarms[AGE]["Threshold"] < queue["MessageRetentionPeriod"] == RETENTION
            continue
        assert alarms.keys() == {AGE}, name
        retries = int(queue["VisibilityTimeout"]) * int(queue["RedrivePolicy"]["maxReceiveCount"])
        # Not while a message can be there because it only fails, and not much later.
        assert retries <= alarms[AGE]["Threshold"] <= 2 * retries, name


def test_every_alarm_tells_somebody_what_it_means_and_where_the_runbook_is(
    packed: Package,
) -> None:
    topic = load(ROOT / "shared/serverless/names.yml")["alarmsTopicArn"]["Fn::Sub"]
    topic = topic.replace("${sls:stage}", "local")
    for name, alarm in packed.resources("AWS::CloudWatch::Alarm").items():
        assert alarm["AlarmActions"] == alarm["OKActions"] == [{"Fn::Sub": topic}], name
        assert alarm["TreatMissingData"] == "notBreaching", name
        means, _, runbook = alarm["AlarmDescription"].partition(" Runbook: ")
        assert len(means.split()) >= 5, name
        assert re.match(r"docs/runbooks/[a-z-]+\.md$", runbook), name
        text = (ROOT / runbook).read_text()
        for heading in ("## What it means", "## What to look at", "## What to do"):
            assert heading in text, runbook


def test_a_parked_order_rings_where_the_functions_speak() -> None:
    orders = package("orders")
    (alarm,) = [
        alarm
        for alarm in orders.resources("AWS::CloudWatch::Alarm").values()
        if alarm["MetricName"] == "OrderParked"
    ]
    told = orders.resources("AWS::Lambda::Function")["ParkOrderLambdaFunction"]["Environment"]
    assert alarm["Namespace"] == told["Variables"]["POWERTOOLS_METRICS_NAMESPACE"]
    assert alarm["Dimensions"] == [
        {"Name": "service", "Value": told["Variables"]["POWERTOOLS_SERVICE_NAME"]}
    ]
    assert (alarm["Threshold"], alarm["Statistic"]) == (0, "Sum")
    assert alarm["Namespace"].endswith("local"), "each stage has its own"


def extended(
    resources: dict[str, Any], *, on_aws: bool = False, **alarms: Any
) -> subprocess.CompletedProcess[str]:
    """Let the plugin extend a template; return what it says."""
    service = {
        "Resources": resources,
        "alarms": {"topicArn": "arn:topic"} | alarms,
        "environment": {},
        "stage": {"aws": on_aws},
    }
    command = ["node", "-e", _RUN, str(PLUGIN), json.dumps(service)]
    return subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT)


def queue(**properties: Any) -> dict[str, Any]:
    return {"Type": "AWS::SQS::Queue", "Properties": properties}


def redrive(target: Any, count: Any = 3) -> dict[str, Any]:
    return {"deadLetterTargetArn": {"Fn::GetAtt": target}, "maxReceiveCount": count}


@pytest.mark.parametrize("target", [["Dead", "Arn"], "Dead.Arn"])
def test_a_new_queue_gets_its_alarms_with_no_further_work(target: Any) -> None:
    done = extended({"New": queue(RedrivePolicy=redrive(target, "4")), "Dead": queue()})
    resources = json.loads(done.stdout)
    added = {
        name: resource["Properties"]
        for name, resource in resources.items()
        if resource["Type"] == "AWS::CloudWatch::Alarm"
    }
    assert added.keys() == {"NewAgeAlarm", "DeadDepthAlarm", "DeadAgeAlarm"}
    assert added["NewAgeAlarm"]["Threshold"] == 30 * 4  # SQS's own visibility timeout


@pytest.mark.parametrize(
    "taker",
    [
        {"Type": "AWS::Lambda::Function", "Properties": {"DeadLetterConfig": {"TargetArn": ...}}},
        {
            "Type": "AWS::Lambda::EventSourceMapping",
            "Properties": {"DestinationConfig": {"OnFailure": {"Destination": ...}}},
        },
        {
            "Type": "AWS::SNS::Subscription",
            "Properties": {"RedrivePolicy": {"deadLetterTargetArn": ...}},
        },
    ],
)
def test_dead_letters_are_known_whoever_sends_them(taker: Any) -> None:
    def filled(value: Any) -> Any:
        if value is ...:
            return {"Fn::GetAtt": ["Dead", "Arn"]}
        return {k: filled(v) for k, v in value.items()} if isinstance(value, dict) else value

    done = extended({"Taker": filled(taker), "Dead": queue()})
    assert "DeadDepthAlarm" in json.loads(done.stdout)


def silence(expression: str, **target: Any) -> dict[str, Any] | None:
    """Return the alarm of a schedule on AWS that rings once it has stopped."""
    rule = {"ScheduleExpression": expression, "State": "ENABLED", "Targets": [target]}
    done = extended({"Clock": {"Type": "AWS::Events::Rule", "Properties": rule}}, on_aws=True)
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout).get("ClockSilentAlarm", {})
    return found.get("Properties")


@pytest.mark.parametrize(
    ("expression", "minutes"),
    [
        ("rate(1 minute)", 10),
        ("rate(5 minutes)", 10),
        ("rate(1 hour)", 2 * 60),
        ("rate(1 day)", 2 * 24 * 60),
        ("rate(2 days)", 7 * 24 * 60),
        ("cron(20 2 * * ? *)", 2 * 24 * 60),
        ("cron(0/5 * * * ? *)", 2 * 24 * 60),
        ("cron(0 6 ? * MON-FRI *)", 7 * 24 * 60),
    ],
)
def test_a_clock_that_has_stopped_rings_when_two_calls_are_missing(
    expression: str, minutes: int
) -> None:
    alarm = silence(expression)
    assert alarm
    assert alarm["Period"] * alarm["EvaluationPeriods"] == minutes * 60
    # CloudWatch takes a week at most, and a day where a period is under an hour.
    assert minutes * 60 <= (7 * 24 * 3600 if alarm["Period"] >= 3600 else 24 * 3600)
    assert alarm["TreatMissingData"] == "missing"
    assert alarm["InsufficientDataActions"] == ["arn:topic"]
    assert alarm["Dimensions"] == [{"Name": "RuleName", "Value": {"Ref": "Clock"}}]


@pytest.mark.parametrize("expression", ["rate(10 days)", "cron(0 6 1 * ? *)"])
def test_a_clock_whose_silence_cloudwatch_cannot_tell_does_not_ring(expression: str) -> None:
    assert silence(expression) is None


def test_a_ping_that_stops_wakes_nobody() -> None:
    assert silence("rate(5 minutes)", Input='{"warm_up":true}') is None


@pytest.mark.parametrize(
    ("resources", "alarms", "complaint"),
    [
        ({"New": queue()}, {}, "queue New has no RedrivePolicy"),
        ({"New": queue(RedrivePolicy=redrive(["Far", "Arn"], "x"))}, {}, "maxReceiveCount"),
        ({}, {"topicArn": None}, "topicArn is missing"),
        ({}, {"metrics": [{"metric": "OrderParked"}]}, "runbook"),
    ],
)
def test_what_could_not_ring_fails_the_packaging(
    resources: Any, alarms: Any, complaint: str
) -> None:
    done = extended(resources, **alarms)
    assert done.returncode != 0
    assert complaint in done.stderr
