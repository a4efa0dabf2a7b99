"""A saga of the real one's shape in which nothing happens: what the platform alone costs.

Made from the state machine that is deployed: the same states, the same request through API Gateway
and a function, the same topic, queue and event source, a function where the real saga calls one.
Only the functions return at once: no database, no facts, no logging, no dependencies.
"""

import json
import re
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from tests.support.cloud import ACCOUNT, REGION, Cloud

NAME = "bench-empty-saga"
SAGA = f"arn:aws:states:{REGION}:{ACCOUNT}:stateMachine:{NAME}"
REAL_SAGA = f"arn:aws:states:{REGION}:{ACCOUNT}:stateMachine:local-orderflow-place-order"

_START = f"""
import json, uuid, boto3
saga = boto3.client("stepfunctions")
def handler(event, context):
    order = json.loads(event["body"])
    order_id = str(uuid.uuid4())
    document = {{"order_id": order_id, "lines": order["lines"], "total": 1, "currency": "EUR",
                "payment_token": "none"}}
    saga.start_execution(stateMachineArn="{SAGA}", name=order_id, input=json.dumps(document))
    return {{"statusCode": 202, "body": json.dumps({{"order_id": order_id}})}}
"""
_COMMANDS = """
import json, boto3
saga = boto3.client("stepfunctions")
outcomes = {"inventory.reserve.v1": "reserved", "inventory.ship.v1": "shipped"}
def handler(event, context):
    for record in event["Records"]:
        command = json.loads(record["body"])
        output = json.dumps({"outcome": outcomes[command["type"]]})
        saga.send_task_success(taskToken=command["tasktoken"], output=output)
    return {"batchItemFailures": []}
"""
_STEP = """
def handler(event, context):
    return {{"outcome": "{}"}}
"""
_FUNCTIONS = {
    "placeOrder": _START,
    "handleCommands": _COMMANDS,
    "chargePayment": _STEP.format("charged"),
    "confirmOrder": _STEP.format("confirmed"),
}


def url(cloud: Cloud) -> str:
    """Where an empty order is placed: POST, like a real one."""
    return f"{cloud.endpoint}/_aws/execute-api/{NAME}/bench/orders"


@contextmanager
def deployed(cloud: Cloud) -> Iterator[None]:
    """Keep the empty saga on the cloud for as long as the block runs."""
    stacks = cloud.client("cloudformation")
    remove(cloud)  # of a run that was killed
    stacks.create_stack(
        StackName=NAME, TemplateBody=json.dumps(template(cloud)), Capabilities=["CAPABILITY_IAM"]
    )
    try:
        stacks.get_waiter("stack_create_complete").wait(
            StackName=NAME, WaiterConfig={"Delay": 1, "MaxAttempts": 120}
        )
        yield
    finally:
        remove(cloud)


def remove(cloud: Cloud) -> None:
    """Remove it, if it is there."""
    stacks = cloud.client("cloudformation")
    stacks.delete_stack(StackName=NAME)
    stacks.get_waiter("stack_delete_complete").wait(
        StackName=NAME, WaiterConfig={"Delay": 1, "MaxAttempts": 120}
    )


def definition(real: str) -> str:
    """Return the real state machine's definition, aimed at the empty functions and topic."""
    text = real.replace(f"{ACCOUNT}:local-orderflow-commands", f"{ACCOUNT}:{NAME}")
    return re.sub(r":function:orders-local-(\w+)", rf":function:{NAME}-\1", text)


def template(cloud: Cloud) -> dict[str, Any]:
    """Return the stack."""
    real = cloud.client("stepfunctions").describe_state_machine(stateMachineArn=REAL_SAGA)
    resources: dict[str, Any] = {
        "Topic": {"Type": "AWS::SNS::Topic", "Properties": {"TopicName": NAME}},
        "Queue": {
            "Type": "AWS::SQS::Queue",
            "Properties": {"QueueName": NAME, "VisibilityTimeout": 60},
        },
        "Subscription": {
            "Type": "AWS::SNS::Subscription",
            "Properties": {
                "TopicArn": {"Ref": "Topic"},
                "Protocol": "sqs",
                "Endpoint": {"Fn::GetAtt": ["Queue", "Arn"]},
                "RawMessageDelivery": True,
                "FilterPolicy": {"type": ["inventory.reserve.v1", "inventory.ship.v1"]},
            },
        },
        "Source": {
            "Type": "AWS::Lambda::EventSourceMapping",
            "Properties": {
                "EventSourceArn": {"Fn::GetAtt": ["Queue", "Arn"]},
                "FunctionName": {"Ref": "handleCommands"},
                "BatchSize": 10,
                "FunctionResponseTypes": ["ReportBatchItemFailures"],
                "ScalingConfig": {"MaximumConcurrency": 10},
            },
        },
        "Saga": {
            "Type": "AWS::StepFunctions::StateMachine",
            "Properties": {
                "StateMachineName": NAME,
                "RoleArn": f"arn:aws:iam::{ACCOUNT}:role/{NAME}",
                "DefinitionString": definition(real["definition"]),
            },
        },
    }
    for name, code in _FUNCTIONS.items():
        resources[name] = {
            "Type": "AWS::Lambda::Function",
            "Properties": {
                "FunctionName": f"{NAME}-{name}",
                "Runtime": "python3.13",
                "Handler": "index.handler",
                "Role": f"arn:aws:iam::{ACCOUNT}:role/{NAME}",
                "MemorySize": 1024,
                "Timeout": 10,
                "Code": {"ZipFile": code},
            },
        }
    return {"Resources": resources | _api()}


def _api() -> dict[str, Any]:
    target = (
        f"arn:aws:apigateway:{REGION}:lambda:path/2015-03-31/functions/"
        f"arn:aws:lambda:{REGION}:{ACCOUNT}:function:{NAME}-placeOrder/invocations"
    )
    # CloudFormation keeps a deployment as it was: one name for each content.
    deployment = f"Deployment{zlib.crc32(target.encode())}"
    return {
        "Api": {
            "Type": "AWS::ApiGateway::RestApi",
            "Properties": {"Name": NAME, "Tags": [{"Key": "_custom_id_", "Value": NAME}]},
        },
        "Orders": {
            "Type": "AWS::ApiGateway::Resource",
            "Properties": {
                "RestApiId": {"Ref": "Api"},
                "ParentId": {"Fn::GetAtt": ["Api", "RootResourceId"]},
                "PathPart": "orders",
            },
        },
        "Post": {
            "Type": "AWS::ApiGateway::Method",
            "Properties": {
                "RestApiId": {"Ref": "Api"},
                "ResourceId": {"Ref": "Orders"},
                "HttpMethod": "POST",
                "AuthorizationType": "NONE",
                "Integration": {
                    "Type": "AWS_PROXY",
                    "IntegrationHttpMethod": "POST",
                    "Uri": target,
                },
            },
        },
        deployment: {
            "Type": "AWS::ApiGateway::Deployment",
            "DependsOn": ["Post"],
            "Properties": {"RestApiId": {"Ref": "Api"}, "StageName": "bench"},
        },
    }
