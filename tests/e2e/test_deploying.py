"""A deploy without a change changes nothing."""

import os
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.support.cloud import Cloud

ROOT = Path(__file__).parents[2]
SERVICES = ("orders", "inventory", "notifications", "operations")


def state(cloud: Cloud, service: str) -> dict[str, Any]:
    """Return all that a deploy could have touched: functions, uploads, and the stack itself."""
    stack = f"{service}-local"
    formation = cloud.client("cloudformation")
    resources = formation.describe_stack_resources(StackName=stack)["StackResources"]
    physical = {r["LogicalResourceId"]: r["PhysicalResourceId"] for r in resources}
    objects = cloud.client("s3").list_objects_v2(Bucket=physical["ServerlessDeploymentBucket"])
    functions = [
        cloud.client("lambda").get_function_configuration(FunctionName=r["PhysicalResourceId"])
        for r in resources
        if r["ResourceType"] == "AWS::Lambda::Function"
    ]
    (described,) = formation.describe_stacks(StackName=stack)["Stacks"]
    return {
        "resources": physical,
        "stack": (described["StackStatus"], described.get("LastUpdatedTime")),
        "uploads": {object_["Key"]: object_["LastModified"] for object_ in objects["Contents"]},
        "functions": {f["FunctionName"]: (f["CodeSha256"], f["LastModified"]) for f in functions},
    }


@pytest.mark.parametrize("service", SERVICES)
def test_a_deploy_without_a_change_changes_nothing(
    cloud: Cloud, service: str, record_property: Callable[[str, object], None]
) -> None:
    before = state(cloud, service)
    started = time.monotonic()
    done = subprocess.run(
        ["npx", "--no-install", "sls", "deploy", "--stage", "local"],
        cwd=ROOT / "services" / service,
        env={
            **os.environ,
            "AWS_ENDPOINT_URL": cloud.endpoint,
            "AWS_ACCESS_KEY_ID": "test",
            "AWS_SECRET_ACCESS_KEY": "test",
            "AWS_REGION": "us-east-1",
            "ORDERFLOW_POSTGRES": f"127.0.0.1:{cloud.postgres_port}",
        },
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    # Told, not asserted: it is the machine's mood too.
    record_property("seconds", round(time.monotonic() - started, 1))
    assert done.returncode == 0, done.stdout + done.stderr
    assert state(cloud, service) == before
