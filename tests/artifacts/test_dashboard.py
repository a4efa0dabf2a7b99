"""Whatever may stand still is on its service's dashboard, and rings; nobody has to think of it."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from orders.domain import Status
from tests.artifacts.packages import ROOT, STACKS, Package, package

ON_AWS = [
    pytest.param(stack, stage, id=f"{stack}-{stage}")
    for stack in STACKS
    for stage in ("dev", "prod")
]
# Of each type: the metrics that must be drawn, and how a line names the resource.
DRAWN = {
    "AWS::Lambda::Function": ({"Errors", "Duration", "Throttles"}, "${%s}"),
    "AWS::StepFunctions::StateMachine": ({"ExecutionTime", "ExecutionsFailed"}, "${%s}"),
    "AWS::DynamoDB::Table": ({"WriteThrottleEvents", "ReadThrottleEvents"}, "${%s}"),
    "AWS::RDS::DBCluster": ({"DatabaseConnections", "ACUUtilization"}, "${%s}"),
    "AWS::RDS::DBProxy": ({"ClientConnections", "DatabaseConnectionsBorrowLatency"}, "${%s}"),
    "AWS::SNS::Topic": ({"NumberOfNotificationsFailed"}, "${%s.TopicName}"),
    "AWS::S3::Bucket": ({"NumberOfObjects", "BucketSizeBytes"}, "${%s}"),
}
WAITING, AGE = "ApproximateNumberOfMessagesVisible", "ApproximateAgeOfOldestMessage"
FAILED, LOST = "FailedInvocations", "DestinationDeliveryFailures"
# A bucket only lies there: what it calls is a function.
ALARMED = (*(DRAWN.keys() - {"AWS::S3::Bucket"}), "AWS::SQS::Queue", "AWS::ApiGateway::RestApi")
# These are drawn and ring too, by names or conditions of their own.
OWN_WAY = {
    *("AWS::SQS::Queue", "AWS::ApiGateway::RestApi", "AWS::Events::Rule"),
    *("AWS::Lambda::EventSourceMapping", "AWS::Lambda::EventInvokeConfig"),
}
# These cannot stand still, or only with one of the others: they say how something is.
STILL = re.compile(
    r"AWS::(ApiGateway::(Account|Deployment|Method|Resource|Stage)|CloudWatch::(Alarm|Dashboard)"
    r"|CodeDeploy::(Application|DeploymentGroup)|IAM::Role|KMS::(Alias|Key)"
    r"|EC2::(RouteTable|SecurityGroup|Subnet|SubnetRouteTableAssociation|VPC|VPCEndpoint)"
    r"|Lambda::(Alias|Permission|Version)|Logs::(LogGroup|MetricFilter)"
    r"|RDS::(DBClusterParameterGroup|DBInstance|DBProxyTargetGroup|DBSubnetGroup)"
    r"|S3::BucketPolicy|SES::EmailIdentity|SNS::Subscription|SQS::QueuePolicy|SSM::Parameter)"
)

pytestmark = pytest.mark.parametrize(("stack", "stage"), ON_AWS)


@pytest.fixture
def packed(stack: str, stage: str) -> Package:
    return package(stack, stage=stage)


def body(packed: Package) -> dict[str, Any]:
    (dashboard,) = packed.resources("AWS::CloudWatch::Dashboard").values()
    return dict(json.loads(dashboard["DashboardBody"]["Fn::Sub"]))


def lines(packed: Package) -> list[list[Any]]:
    return [
        line
        for widget in body(packed)["widgets"]
        if widget["type"] == "metric"
        for line in widget["properties"]["metrics"]
    ]


def test_every_type_of_resource_is_drawn_or_known_to_need_no_chart(packed: Package) -> None:
    """Somebody has thought of each: of its chart, its alarm, its key and its policy."""
    types = {resource["Type"] for resource in packed.template["Resources"].values()}
    assert {
        type_ for type_ in types - DRAWN.keys() - OWN_WAY if not STILL.fullmatch(type_)
    } == set()


def test_everything_is_drawn(packed: Package) -> None:
    drawn = {(line[1], line[3]) for line in lines(packed) if len(line) > 3}
    for type_, (metrics, named) in DRAWN.items():
        for name in packed.resources(type_):
            assert {(metric, named % name) for metric in metrics} <= drawn, name
    for name, queue in packed.resources("AWS::SQS::Queue").items():
        wanted = {WAITING, AGE} if "RedrivePolicy" in queue else {WAITING}
        assert {(metric, f"${{{name}.QueueName}}") for metric in wanted} <= drawn, name
    for api in packed.resources("AWS::ApiGateway::RestApi").values():
        assert {(m, api["Name"]) for m in ("5XXError", "Latency", "Count")} <= drawn
    assert {("IteratorAge", f"${{{reader}}}") for reader in readers(packed)} <= drawn
    assert {(FAILED, f"${{{rule}}}") for rule in clocks(packed)} <= drawn
    for config in packed.resources("AWS::Lambda::EventInvokeConfig").values():
        assert (LOST, f"${{{config['FunctionName']['Ref']}}}") in drawn


def readers(packed: Package) -> set[str]:
    """Return the functions that read a stream."""
    return {
        source["FunctionName"]["Fn::GetAtt"][0]
        for source in packed.resources("AWS::Lambda::EventSourceMapping").values()
        if "StartingPosition" in source
    }


def clocks(packed: Package) -> set[str]:
    """Return the rules that call something by the clock."""
    rules = packed.resources("AWS::Events::Rule").items()
    return {name for name, rule in rules if rule["State"] == "ENABLED"}


def pings(packed: Package) -> set[str]:
    """Return the rules that only keep a function warm."""
    rules = packed.resources("AWS::Events::Rule").items()
    return {name for name, rule in rules if "warm_up" in json.dumps(rule["Targets"])}


def test_everything_rings(packed: Package) -> None:
    alarms = json.dumps(list(packed.resources("AWS::CloudWatch::Alarm").values()))
    for type_ in ALARMED:
        for name, resource in packed.resources(type_).items():
            named = resource["Name"] if type_ == "AWS::ApiGateway::RestApi" else name
            assert f'"{named}"' in alarms, name
    ringing = {
        (alarm["MetricName"], dimension["Value"]["Ref"])
        for alarm in packed.resources("AWS::CloudWatch::Alarm").values()
        for dimension in alarm.get("Dimensions", [])
        if "Ref" in dimension["Value"]
    }
    assert {("IteratorAge", reader) for reader in readers(packed)} <= ringing
    assert {(LOST, reader) for reader in readers(packed)} <= ringing
    assert {(FAILED, rule) for rule in clocks(packed)} <= ringing
    stopped = {name for metric, name in ringing if metric == "Invocations"}
    assert stopped == clocks(packed) - pings(packed)
    for config in packed.resources("AWS::Lambda::EventInvokeConfig").values():
        assert (LOST, config["FunctionName"]["Ref"]) in ringing


def test_everything_that_rings_is_on_the_dashboard(packed: Package) -> None:
    (shown,) = [w["properties"]["alarms"] for w in body(packed)["widgets"] if w["type"] == "alarm"]
    alarms = packed.resources("AWS::CloudWatch::Alarm")
    assert shown == [f"${{{name}.Arn}}" for name in alarms]


def test_the_dashboard_names_nothing_that_is_not_there(packed: Package) -> None:
    text = json.dumps(body(packed))
    named = {found.split(".")[0] for found in re.findall(r"\$\{([A-Za-z0-9.]+)\}", text)}
    assert named <= packed.template["Resources"].keys()


def test_nothing_overlaps(packed: Package) -> None:
    cells = [
        (x, y)
        for w in body(packed)["widgets"]
        for x in range(w["x"], w["x"] + w["width"])
        for y in range(w["y"], w["y"] + w["height"])
    ]
    assert len(cells) == len(set(cells))
    assert max(x for x, _ in cells) < 24


def test_every_alarm_tells_somebody_and_has_a_runbook(packed: Package, stage: str) -> None:
    for name, alarm in packed.resources("AWS::CloudWatch::Alarm").items():
        (topic,) = alarm["AlarmActions"]
        # No data is no trouble, or else it is what rings.
        told = alarm.get("InsufficientDataActions")
        assert told == {"notBreaching": None, "missing": [topic]}[alarm["TreatMissingData"]], name
        assert topic["Fn::Sub"].endswith(f":{stage}-orderflow-alarms"), name
        means, _, runbook = alarm["AlarmDescription"].partition(" Runbook: ")
        assert len(means.split()) >= 5, name
        text = (ROOT / runbook).read_text()
        for heading in ("## What it means", "## What to look at", "## What to do"):
            assert heading in text, runbook


def test_what_is_counted_from_logs_is_what_functions_log(packed: Package) -> None:
    """A filter that nothing matches shows a shop without orders."""
    statuses = {status.value for status in Status} | {"confirmed"}
    for name, filter_ in packed.resources("AWS::Logs::MetricFilter").items():
        handler = _handler(packed, filter_["LogGroupName"]["Ref"])
        terms = dict(re.findall(r'\$\.(\w+) = "(\w+)"', filter_["FilterPattern"]))
        assert f'log.info("{terms.pop("message")}", extra=outcome)' in handler.read_text(), name
        ((field, value),) = terms.items()
        assert field in {"status", "outcome"}, name
        assert value in statuses, name
        (counted,) = filter_["MetricTransformations"]
        assert [counted["MetricNamespace"], counted["MetricName"]] in lines(packed), name


def _handler(packed: Package, group: str) -> Path:
    function = packed.resources("AWS::Lambda::Function")[
        group.removesuffix("LogGroup") + "LambdaFunction"
    ]
    module, _, _ = function["Handler"].rpartition(".")
    return ROOT / "services" / packed.name / f"{module}.py"
