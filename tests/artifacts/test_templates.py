"""What CloudFormation is told keeps the promises that every queue and every function makes."""

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.artifacts.packages import ROOT, SERVICES, Package, functions, package
from tests.saga.code import CODE
from tests.saga.lint import faults

SMALL_MB, MEMORY_MB = 128, 1024
CFN_LINT = ROOT / ".venv/bin/cfn-lint"


@pytest.fixture(params=SERVICES)
def packed(request: pytest.FixtureRequest) -> Package:
    return package(str(request.param))


def test_cfn_lint_looks_into_the_state_machine(tmp_path: Path) -> None:
    # Alone: what it refers to is missing, and is another rule's.
    saga = package("orders").template["Resources"]["PlaceOrderSaga"]
    saga["Properties"]["Definition"]["States"]["Closed"] = {"Type": "Suceed"}
    path = tmp_path / "template.json"
    path.write_text(json.dumps({"Resources": {"PlaceOrderSaga": saga}}))
    assert [rule for rule in _cfn_lint(path) if "E3601" in rule] != []


def test_the_packaged_state_machine_keeps_the_sagas_promises() -> None:
    definition = _saga()["Definition"]
    assert faults(definition, CODE) == []


def test_a_step_outlives_its_function() -> None:
    """A function that is killed must be seen to fail before the step gives up on it."""
    saga = _saga()
    timeouts = {
        arn["Fn::GetAtt"][0]: name
        for name, arn in saga["DefinitionSubstitutions"].items()
        if "Fn::GetAtt" in arn
    }
    lambdas = package("orders").resources("AWS::Lambda::Function")
    waits = {timeouts[function]: lambdas[function]["Timeout"] for function in timeouts}
    steps = {
        state["Resource"].strip("${}"): state["TimeoutSeconds"]
        for state in saga["Definition"]["States"].values()
        if state["Type"] == "Task"
    }
    short = {name for name, seconds in waits.items() if steps.get(name, seconds + 1) <= seconds}
    assert short == set()
    assert len(steps.keys() & waits.keys()) == len(waits) - 1  # parkOrder waits for a person


def test_every_function_is_sized_timed_and_has_a_role_of_its_own(packed: Package) -> None:
    deployed = packed.resources("AWS::Lambda::Function")
    described = functions(packed.name)
    roles = [function["Role"]["Fn::GetAtt"][0] for function in deployed.values()]
    assert len(set(roles)) == len(deployed) == len(described)
    assert "IamRoleLambdaExecution" not in roles
    for name, function in described.items():
        assert {"timeout", "iamRoleStatements"} <= function.keys(), name
    # What sends a file needs next to nothing; all else what the measured curve says.
    sizes = {function["FunctionName"]: function["MemorySize"] for function in deployed.values()}
    small = {name for name in sizes if name.endswith(("-getDocs", "-getOpenapi"))}
    assert {name for name, size in sizes.items() if size == SMALL_MB} == small
    assert {name for name, size in sizes.items() if size == MEMORY_MB} == sizes.keys() - small


def test_every_queue_has_dead_letters_and_only_one_sender(packed: Package) -> None:
    queues = packed.resources("AWS::SQS::Queue")
    dead = {name for name, queue in queues.items() if queue["QueueName"].endswith("-dlq")}
    policies = {
        policy["Queues"][0]["Ref"]: policy["PolicyDocument"]["Statement"]
        for policy in packed.resources("AWS::SQS::QueuePolicy").values()
    }
    # What fails is named there by Lambda itself, as the role of the function allows.
    named = {
        source["DestinationConfig"]["OnFailure"]["Destination"]["Fn::GetAtt"][0]
        for kind in ("AWS::Lambda::EventSourceMapping", "AWS::Lambda::EventInvokeConfig")
        for source in packed.resources(kind).values()
        if "OnFailure" in source.get("DestinationConfig", {})
    }
    redriven = set()
    for name in queues.keys() - dead:
        redrive = queues[name]["RedrivePolicy"]
        redriven.add(redrive["deadLetterTargetArn"]["Fn::GetAtt"][0])
        assert int(redrive["maxReceiveCount"]) == 3, name  # the local stage's
        (statement,) = policies[name]
        assert statement["Action"] == "sqs:SendMessage", name
        assert statement["Principal"] == {"Service": "sns.amazonaws.com"}, name
        assert statement["Condition"]["ArnEquals"]["aws:SourceArn"], name
    assert redriven | named == dead
    assert len(redriven) == len(queues.keys() - dead)


def test_a_message_stays_hidden_six_times_as_long_as_its_function_may_run(packed: Package) -> None:
    queues = packed.resources("AWS::SQS::Queue")
    lambdas = packed.resources("AWS::Lambda::Function")
    sources = packed.resources("AWS::Lambda::EventSourceMapping")
    for name, source in sources.items():
        queue = source["EventSourceArn"]["Fn::GetAtt"][0]
        if queue not in queues:
            continue  # a stream
        timeout = lambdas[_referenced(source["FunctionName"])]["Timeout"]
        assert int(queues[queue]["VisibilityTimeout"]) >= 6 * timeout, name
        assert source["FunctionResponseTypes"] == ["ReportBatchItemFailures"], name
        assert source["ScalingConfig"]["MaximumConcurrency"] >= 2, name
    fed = {source["EventSourceArn"]["Fn::GetAtt"][0] for source in sources.values()}
    assert {name for name in queues if not name.endswith("DeadLetters")} <= fed


def test_what_s3_calls_may_be_called_by_that_bucket_of_that_account_alone() -> None:
    packed = package("inventory")
    bucket = packed.resources("AWS::S3::Bucket")["ImportsBucket"]
    (told,) = bucket["NotificationConfiguration"]["LambdaConfigurations"]
    (allowed,) = [
        permission
        for permission in packed.resources("AWS::Lambda::Permission").values()
        if permission["Principal"] == "s3.amazonaws.com"
    ]
    assert allowed["FunctionName"] == told["Function"]
    assert allowed["SourceAccount"] == {"Ref": "AWS::AccountId"}
    name = bucket["BucketName"]["Fn::Sub"]
    assert allowed["SourceArn"] == {"Fn::Sub": "arn:${AWS::Partition}:s3:::" + name}
    # What the function writes must not call it again.
    assert told["Filter"]["S3Key"]["Rules"] == [{"Name": "prefix", "Value": "incoming/"}]


def test_what_fails_each_time_that_it_is_called_for_nobody_is_kept() -> None:
    (config,) = package("inventory").resources("AWS::Lambda::EventInvokeConfig").values()
    assert config["FunctionName"] == {"Ref": "ImportStockLambdaFunction"}
    assert config["MaximumRetryAttempts"] == 2
    kept = config["DestinationConfig"]["OnFailure"]["Destination"]
    assert kept == {"Fn::GetAtt": ["ImportsDeadLetters", "Arn"]}


def test_every_subscription_filters_and_delivers_raw(packed: Package) -> None:
    for name, subscription in packed.resources("AWS::SNS::Subscription").items():
        assert subscription["FilterPolicy"]["type"], name
        assert subscription["RawMessageDelivery"] is True, name


def _saga() -> dict[str, Any]:
    return package("orders").resources("AWS::StepFunctions::StateMachine")["PlaceOrderSaga"]


def _referenced(value: dict[str, Any]) -> str:
    return str(value["Fn::GetAtt"][0] if "Fn::GetAtt" in value else value["Ref"])


def _cfn_lint(*templates: Path) -> list[str]:
    """Return what is wrong with the templates, after the reasoned ignores in .cfnlintrc."""
    done = subprocess.run(
        [str(CFN_LINT), "--format", "json", "--", *map(str, templates)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert not done.stderr, done.stderr
    return [
        f"{match['Filename']}: {match['Rule']['Id']} {match['Message']}"
        for match in json.loads(done.stdout or "[]")
    ]
