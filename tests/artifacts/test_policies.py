"""What is packaged for any stage keeps our rules, whatever it holds.

Each rule walks the finished template, so that a new queue, bucket or function needs no line here.
"""

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest

from shared.database import Database
from tests.artifacts.packages import (
    GIVEN,
    ROOT,
    SERVICES,
    STACKS,
    STAGES,
    Package,
    in_a_given_network,
    package,
    template_alone,
)
from tests.artifacts.policies import REASONS, Statement, statements
from tests.artifacts.test_templates import _cfn_lint

ON_AWS = ("dev", "prod")
EVERYWHERE = [
    pytest.param(stack, stage, id=f"{stack}-{stage}") for stack in STACKS for stage in STAGES
]
CLOUDS = [pytest.param(stack, stage, id=f"{stack}-{stage}") for stack in STACKS for stage in ON_AWS]
SECRET = re.compile(r"passw|secret|token|credential|private.?key", re.IGNORECASE)
LOGIN = re.compile(r"DATABASE_URL$")
# CloudWatch charges for what nobody deletes.
MAX_RETENTION_DAYS = 30
# What Lambda does for a function that reads a queue.
POLLING = {"sqs:ReceiveMessage", "sqs:DeleteMessage", "sqs:GetQueueAttributes"}
# What the local cloud has of these is nothing.
AWS_ONLY = ("AWS::RDS::", "AWS::EC2::", "AWS::KMS::", "AWS::SSM::", "AWS::CodeDeploy::")
AWS_ONLY_PROPERTIES = ("VpcConfig", "TracingConfig", "KmsMasterKeyId", "SSESpecification")


@pytest.fixture
def packed(stack: str, stage: str) -> Package:
    return package(stack, stage=stage)


everywhere = pytest.mark.parametrize(("stack", "stage"), EVERYWHERE)
on_aws = pytest.mark.parametrize(("stack", "stage"), CLOUDS)


@pytest.mark.parametrize("stage", STAGES)
def test_cfn_lint_finds_nothing_in_any_stage(stage: str) -> None:
    assert _cfn_lint(*(package(stack, stage=stage).template_path for stack in STACKS)) == []


# ── who may do what ─────────────────────────────────────────────────────────────────────────────


def unreasoned(statement: Statement, used: set[int]) -> bool:
    """Whether a statement allows by asterisk what no reason speaks of; note the reason's number."""
    wide = [text for text in (*statement.actions, *statement.resources) if "*" in text]
    if statement.effect != "Allow" or not wide:
        return False
    for number, reason in enumerate(REASONS["asterisk"]):
        actions = re.compile(reason.get("actions", r"[a-z0-9-]+:[A-Za-z]+"))
        on = re.compile(reason["on"])
        if (
            re.fullmatch(reason["in"], statement.kind)
            and all(actions.fullmatch(action) for action in statement.actions)
            and all(
                on.fullmatch(text) or (on.search(text) and text.startswith("{"))
                for text in statement.resources
                if "*" in text
            )
        ):
            used.add(number)
            return False
    return True


@everywhere
def test_no_asterisk_is_allowed_anything_without_a_written_reason(packed: Package) -> None:
    assert [each for each in statements(packed) if unreasoned(each, set())] == []


def test_every_reason_for_an_asterisk_is_needed() -> None:
    used: set[int] = set()
    for stack in STACKS:
        for each in statements(package(stack, stage="prod")):
            unreasoned(each, used)
    assert used == set(range(len(REASONS["asterisk"])))


@pytest.mark.parametrize(
    ("actions", "resources"),
    [
        (("sqs:*",), ("arn:aws:sqs:us-east-1:1:q",)),
        (("sqs:SendMessage",), ("*",)),
        (("sqs:SendMessage",), ('{"Fn::Sub": "arn:${AWS::Partition}:sqs:*:*:*"}',)),
        (("xray:PutTraceSegments", "s3:GetObject"), ("*",)),
        (("s3:GetObject",), ('{"Fn::Sub": "arn:${AWS::Partition}:s3:::*/*"}',)),
    ],
)
def test_an_asterisk_that_nobody_has_thought_of_is_found(
    actions: tuple[str, ...], resources: tuple[str, ...]
) -> None:
    assert unreasoned(Statement("Role", "AWS::IAM::Role", "Allow", actions, resources), set())


@everywhere
def test_nobody_outside_may_use_a_queue_a_topic_or_a_bucket(packed: Package) -> None:
    for name, resource in packed.template["Resources"].items():
        if not resource["Type"].endswith(("QueuePolicy", "TopicPolicy", "BucketPolicy")):
            continue
        for statement in resource["Properties"]["PolicyDocument"]["Statement"]:
            if statement["Effect"] == "Allow":
                assert list(statement["Principal"]) == ["Service"], name
                assert "aws:Source" in json.dumps(statement["Condition"]), name


# ── what is kept, and how ───────────────────────────────────────────────────────────────────────


@everywhere
def test_every_bucket_is_private_and_speaks_tls_only(packed: Package) -> None:
    buckets = packed.resources("AWS::S3::Bucket")
    closed = {
        policy["Bucket"]["Ref"]
        for policy in packed.resources("AWS::S3::BucketPolicy").values()
        if any(
            statement["Effect"] == "Deny"
            and str(statement["Condition"]["Bool"]["aws:SecureTransport"]).lower() == "false"
            for statement in policy["PolicyDocument"]["Statement"]
            if "SecureTransport" in json.dumps(statement)
            and statement["Principal"] == "*"
            and len(statement["Resource"]) == 2
        )
    }
    for name, bucket in buckets.items():
        block = bucket["PublicAccessBlockConfiguration"]
        assert {key: str(value).lower() for key, value in block.items()} == dict.fromkeys(
            ("BlockPublicAcls", "BlockPublicPolicy", "IgnorePublicAcls", "RestrictPublicBuckets"),
            "true",
        ), name
        assert "AccessControl" not in bucket, name
        assert bucket["BucketEncryption"]["ServerSideEncryptionConfiguration"], name
        if name == "ServerlessDeploymentBucket":
            continue  # the framework's own
        assert bucket["OwnershipControls"] == {
            "Rules": [{"ObjectOwnership": "BucketOwnerEnforced"}]
        }, name
        assert bucket["VersioningConfiguration"] == {"Status": "Enabled"}, name
        rules = bucket["LifecycleConfiguration"]["Rules"]
        assert any("NoncurrentVersionExpiration" in rule for rule in rules), name
    assert closed == buckets.keys()


@on_aws
def test_what_is_kept_is_encrypted_with_the_stages_own_key(packed: Package, stage: str) -> None:
    key = f"{{{{resolve:ssm:/orderflow/{stage}/key-arn}}}}"
    if packed.name == "platform":
        key = {"Fn::GetAtt": ["Key", "Arn"]}  # type: ignore[assignment]
    for type_, path in {
        "AWS::SQS::Queue": ("KmsMasterKeyId",),
        "AWS::SNS::Topic": ("KmsMasterKeyId",),
        "AWS::DynamoDB::Table": ("SSESpecification", "KMSMasterKeyId"),
        "AWS::RDS::DBCluster": ("KmsKeyId",),
        "AWS::RDS::DBInstance": ("PerformanceInsightsKMSKeyId",),
        "AWS::S3::Bucket": (
            *("BucketEncryption", "ServerSideEncryptionConfiguration", 0),
            *("ServerSideEncryptionByDefault", "KMSMasterKeyID"),
        ),
    }.items():
        for name, properties in packed.resources(type_).items():
            if name == "ServerlessDeploymentBucket":
                continue
            value: Any = properties
            for step in path:
                value = value[step]
            assert value == key, name


@everywhere
def test_every_log_is_kept_for_a_while_and_not_for_ever(packed: Package) -> None:
    groups = packed.resources("AWS::Logs::LogGroup")
    kept = {group["LogGroupName"]: group["RetentionInDays"] for group in groups.values()}
    assert all(0 < days <= MAX_RETENTION_DAYS for days in kept.values())
    for function in packed.resources("AWS::Lambda::Function").values():
        assert f"/aws/lambda/{function['FunctionName']}" in kept


@on_aws
def test_a_template_holds_no_more_dynamic_references_than_cloudformation_takes(
    packed: Package,
) -> None:
    assert json.dumps(packed.template).count("{{resolve:") <= 60


@on_aws
def test_what_cannot_be_made_again_outlives_a_mistake(packed: Package, stage: str) -> None:
    for name, resource in packed.template["Resources"].items():
        if resource["Type"] == "AWS::DynamoDB::Table":
            assert resource["UpdateReplacePolicy"] == "Retain", name
            assert resource["DeletionPolicy"] == ("Retain" if stage == "prod" else "Delete"), name
            protected = resource["Properties"]["DeletionProtectionEnabled"]
        elif resource["Type"] == "AWS::RDS::DBCluster":
            assert resource["UpdateReplacePolicy"] == "Snapshot", name
            assert resource["DeletionPolicy"] == ("Snapshot" if stage == "prod" else "Delete"), name
            protected = resource["Properties"]["DeletionProtection"]
        elif resource["Type"] == "AWS::KMS::Key":
            assert resource["UpdateReplacePolicy"] == "Retain", name
            # Without it what is kept cannot be read.
            assert resource["DeletionPolicy"] == ("Retain" if stage == "prod" else "Delete"), name
            continue
        elif resource["Type"] == "AWS::S3::Bucket" and name != "ServerlessDeploymentBucket":
            assert resource["DeletionPolicy"] == ("Retain" if stage == "prod" else "Delete"), name
            continue
        else:
            continue
        assert protected is (stage == "prod"), name


# ── functions, and the databases that they reach ────────────────────────────────────────────────


@everywhere
def test_no_secret_stands_in_an_environment_variable(packed: Package) -> None:
    for name, function in packed.resources("AWS::Lambda::Function").items():
        for variable, value in function.get("Environment", {}).get("Variables", {}).items():
            text = json.dumps(value)
            assert not SECRET.search(variable), f"{name}: {variable}"
            assert "resolve:secretsmanager" not in text, f"{name}: {variable}"
            assert "resolve:ssm-secure" not in text, f"{name}: {variable}"
            assert not re.search(r"://[^/@\"]+:[^/@\"]+@", text), f"{name}: {variable}"


def resolved(value: Any) -> str:
    """Return a setting as a function sees it, with made-up names for what only AWS knows."""
    text = value["Fn::Sub"] if isinstance(value, dict) else str(value)
    text = text[0] if isinstance(text, list) else text
    return re.sub(r"\{\{resolve:[^}]+\}\}|\$\{[^}]+\}", "made-up.example", text)


def looked_up(packed: Package, references: list[dict[str, str]]) -> list[str]:
    """Return the SSM parameters that CloudFormation looks up for these references."""
    parameters = [packed.template["Parameters"][each["Ref"]] for each in references]
    assert {each["Type"] for each in parameters} == {"AWS::SSM::Parameter::Value<String>"}
    return [each["Default"] for each in parameters]


@on_aws
def test_a_function_that_has_a_database_sits_by_it_and_logs_in_with_tokens(
    packed: Package, stage: str
) -> None:
    roles = packed.resources("AWS::IAM::Role")
    for name, function in packed.resources("AWS::Lambda::Function").items():
        variables = function["Environment"]["Variables"]
        urls = {key: value for key, value in variables.items() if LOGIN.search(key)}
        if not urls:
            assert "VpcConfig" not in function, name
            continue
        found = {key: looked_up(packed, refs) for key, refs in function["VpcConfig"].items()}
        assert found == {
            "SubnetIds": [f"/orderflow/{stage}/subnet-1", f"/orderflow/{stage}/subnet-2"],
            "SecurityGroupIds": [f"/orderflow/{stage}/functions-security-group"],
        }, name
        allowed = [
            resource
            for policy in roles[function["Role"]["Fn::GetAtt"][0]]["Policies"]
            for statement in policy["PolicyDocument"]["Statement"]
            if statement["Action"] == "rds-db:connect"
            for resource in statement["Resource"]
        ]
        assert len(allowed) == len(urls), name
        for setting, url in urls.items():
            database = Database.at(resolved(url))
            assert (database.via, database.auth) == ("proxy", "iam"), setting
            assert database.url.query["sslmode"] == "verify-full", setting
            # As whom, and nobody else.
            assert any(
                resolved(resource).endswith(f"/{database.url.username}") for resource in allowed
            ), setting


@on_aws
def test_a_database_is_reached_through_its_proxy_and_by_iam_alone(packed: Package) -> None:
    clusters = packed.resources("AWS::RDS::DBCluster")
    assert bool(clusters) == (packed.name in {"orders", "inventory"})
    for name, cluster in clusters.items():
        assert cluster["StorageEncrypted"] is True, name
        assert cluster["EnableIAMDatabaseAuthentication"] is True, name
        assert cluster["ManageMasterUserPassword"] is True, name  # RDS rotates it
        assert "MasterUserPassword" not in cluster, name
        assert cluster["BackupRetentionPeriod"] >= 1, name
        assert cluster["ServerlessV2ScalingConfiguration"]["MaxCapacity"] > 1, name
    for name, instance in packed.resources("AWS::RDS::DBInstance").items():
        assert instance["PubliclyAccessible"] is False, name
    proxies = packed.resources("AWS::RDS::DBProxy")
    assert len(proxies) == len(clusters)
    for name, proxy in proxies.items():
        assert proxy["RequireTLS"] is True, name
        assert proxy["DefaultAuthScheme"] == "IAM_AUTH", name
        assert "Auth" not in proxy, name  # no secret
    for name, group in packed.resources("AWS::EC2::SecurityGroup").items():
        for rule in group.get("SecurityGroupIngress", []):
            assert "CidrIp" not in rule, name
            assert rule["SourceSecurityGroupId"], name


@pytest.mark.parametrize("stage", ON_AWS)
def test_a_function_in_the_network_calls_only_what_has_an_endpoint_there(stage: str) -> None:
    """Any other call would wait until the function's time is over."""
    endpoints = package("platform", stage=stage).resources("AWS::EC2::VPCEndpoint").values()
    reached = {endpoint["ServiceName"]["Fn::Sub"].rpartition(".")[2] for endpoint in endpoints}
    called = set()
    for service in SERVICES:
        packed = package(service, stage=stage)
        # Lambda itself fills these, in the function's name.
        failures = set(_failure_queues(packed.template["Resources"]))
        inside = {
            function["Role"]["Fn::GetAtt"][0]
            for function in packed.resources("AWS::Lambda::Function").values()
            if "VpcConfig" in function
        }
        called |= {
            action.partition(":")[0]
            for statement in statements(packed)
            if statement.owner in inside
            and not any(f'"{queue}"' in text for queue in failures for text in statement.resources)
            for action in set(statement.actions) - POLLING
        }
    # The database is inside; logs and traces go through Lambda.
    assert called - {"rds-db", "logs", "xray"} == reached


def test_a_network_that_is_given_is_used_as_it_is() -> None:
    given, made = in_a_given_network(), package("platform", stage="dev")
    assert _cfn_lint(given.template_path) == []
    types = {resource["Type"] for resource in given.template["Resources"].values()}
    assert {type_ for type_ in types if type_.startswith("AWS::EC2::")} == {
        "AWS::EC2::SecurityGroup"
    }
    told = {
        parameter["Name"]: parameter["Value"]
        for parameter in given.resources("AWS::SSM::Parameter").values()
    }
    # The services ask for the same names, wherever the network comes from.
    assert told.keys() == {
        parameter["Name"] for parameter in made.resources("AWS::SSM::Parameter").values()
    }
    assert told["/orderflow/dev/vpc-id"] == GIVEN["ORDERFLOW_VPC_ID"]
    assert told["/orderflow/dev/subnet-1"] == GIVEN["ORDERFLOW_SUBNET_1"]
    assert told["/orderflow/dev/subnet-2"] == GIVEN["ORDERFLOW_SUBNET_2"]


def test_prod_has_a_second_instance_that_takes_over() -> None:
    for service in ("orders", "inventory"):
        counts = [len(package(service, stage=s).resources("AWS::RDS::DBInstance")) for s in ON_AWS]
        assert counts == [1, 2]


# ── queues and streams ──────────────────────────────────────────────────────────────────────────


@everywhere
def test_every_reader_of_a_queue_or_a_stream_names_the_messages_that_failed(
    packed: Package,
) -> None:
    for name, source in packed.resources("AWS::Lambda::EventSourceMapping").items():
        assert source["FunctionResponseTypes"] == ["ReportBatchItemFailures"], name
        if "StartingPosition" in source:  # a stream
            assert source["BisectBatchOnFunctionError"] is True, name
            # Without a number: for a day.
            assert 0 < int(source["MaximumRetryAttempts"]) <= 100, name
            assert source["DestinationConfig"]["OnFailure"]["Destination"], name
        else:
            assert source["ScalingConfig"]["MaximumConcurrency"] >= 2, name


@pytest.mark.parametrize("service", SERVICES)
def test_every_bound_of_a_queues_readers_says_why_it_is_what_it_is(service: str) -> None:
    lines = (ROOT / f"services/{service}/serverless.yml").read_text().splitlines()
    for number, line in enumerate(lines):
        if "maximumConcurrency:" in line:
            reason = lines[number - 1].strip()
            assert reason.startswith("# "), f"{service}/serverless.yml:{number + 1}"


@everywhere
def test_every_queue_has_dead_letters_or_is_some_and_rings(packed: Package) -> None:
    queues = packed.resources("AWS::SQS::Queue")
    dead = {
        queue["RedrivePolicy"]["deadLetterTargetArn"]["Fn::GetAtt"][0]
        for queue in queues.values()
        if "RedrivePolicy" in queue
    } | set(_failure_queues(packed.template["Resources"]))
    ringing = {
        dimension["Value"]["Fn::GetAtt"][0]
        for alarm in packed.resources("AWS::CloudWatch::Alarm").values()
        if alarm.get("Namespace") == "AWS/SQS"
        for dimension in alarm["Dimensions"]
    }
    assert {name for name, queue in queues.items() if "RedrivePolicy" not in queue} == dead
    assert queues.keys() == ringing


def _failure_queues(value: Any, key: str = "") -> Iterator[str]:
    if isinstance(value, dict):
        if key == "OnFailure" and "Fn::GetAtt" in value.get("Destination", {}):
            yield value["Destination"]["Fn::GetAtt"][0]
        for name, child in value.items():
            yield from _failure_queues(child, name)
    elif isinstance(value, list):
        for child in value:
            yield from _failure_queues(child, key)


# ── the API, and how new code takes over ────────────────────────────────────────────────────────


@on_aws
def test_an_api_is_throttled_logged_and_traced_and_no_body_is_in_a_log(packed: Package) -> None:
    stages = packed.resources("AWS::ApiGateway::Stage")
    assert len(stages) == len(packed.resources("AWS::ApiGateway::RestApi"))
    groups = packed.resources("AWS::Logs::LogGroup")
    for api in stages.values():
        (settings,) = api["MethodSettings"]
        assert (settings["HttpMethod"], settings["ResourcePath"]) == ("*", "/*")
        assert 0 < settings["ThrottlingRateLimit"] <= settings["ThrottlingBurstLimit"]
        assert settings["DataTraceEnabled"] is False
        assert settings["LoggingLevel"] == "OFF"  # or a log group that nobody owns
        assert api["TracingEnabled"] is True
        assert api["AccessLogSetting"]["DestinationArn"]["Fn::GetAtt"][0] in groups
    for deployment in packed.resources("AWS::ApiGateway::Deployment").values():
        assert "StageName" not in deployment, "two owners of one stage"


def test_in_prod_new_code_takes_over_bit_by_bit_and_back_if_it_fails() -> None:
    packed = package("orders", stage="prod")
    aliases = {
        name: resource
        for name, resource in packed.template["Resources"].items()
        if resource["Type"] == "AWS::Lambda::Alias"
    }
    assert aliases
    groups = packed.resources("AWS::CodeDeploy::DeploymentGroup")
    alarms = packed.resources("AWS::CloudWatch::Alarm")
    for alias in aliases.values():
        update = alias["UpdatePolicy"]["CodeDeployLambdaAliasUpdate"]
        group = groups[update["DeploymentGroupName"]["Ref"]]
        assert group["DeploymentConfigName"] == "CodeDeployDefault.LambdaCanary10Percent5Minutes"
        assert "DEPLOYMENT_STOP_ON_ALARM" in group["AutoRollbackConfiguration"]["Events"]
        (watched,) = group["AlarmConfiguration"]["Alarms"]
        alarm = alarms[watched["Name"]["Ref"]]
        function = alias["Properties"]["FunctionName"]["Ref"]
        assert {"Name": "FunctionName", "Value": {"Ref": function}} in alarm["Dimensions"]
        assert alarm["Threshold"] == 0


# ── the local stage ─────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("stack", STACKS)
def test_the_local_stage_has_nothing_that_only_aws_has(stack: str) -> None:
    for name, resource in package(stack).template["Resources"].items():
        assert not resource["Type"].startswith(AWS_ONLY), name
        if resource["Type"] != "AWS::S3::Bucket":
            assert resource.get("Properties", {}).keys().isdisjoint(AWS_ONLY_PROPERTIES), name
        assert "resolve:ssm" not in json.dumps(resource), name


def test_a_template_packaged_alone_is_the_one_that_is_deployed() -> None:
    """Or what is said here of other stages would be of something else."""

    def plain(packed: Package) -> Any:
        # The zip's place has the date in it, and the API's deployment a name of its own.
        text = re.sub(r"/\d{13}-[0-9TZ:.-]+/", "/date/", packed.template_path.read_text())
        return json.loads(re.sub(r"ApiGatewayDeployment\d+", "ApiGatewayDeployment", text))

    assert plain(template_alone("orders")) == plain(package("orders"))
