"""What the Serverless Framework asks of the cloud, and LocalStack alone would not answer."""

import json

import pytest
from botocore.exceptions import ClientError
from cloud_under_test import Cloud, eventually, unique


def test_a_stack_of_known_types_is_created(cloud: Cloud) -> None:
    assert _create(cloud, "AWS::SNS::Topic") == ("CREATE_COMPLETE", "")


def test_a_type_that_the_cloud_cannot_make_fails_the_stack_by_name(cloud: Cloud) -> None:
    status, reason = _create(cloud, "AWS::AppSync::GraphQLApi")

    assert status == "CREATE_FAILED"
    assert "AWS::AppSync::GraphQLApi" in reason


def test_there_is_no_image_repository_to_remove(cloud: Cloud) -> None:
    with pytest.raises(ClientError) as refused:
        cloud.client("ecr").describe_repositories(repositoryNames=["serverless-orders-local"])

    assert refused.value.response["Error"]["Code"] == "RepositoryNotFoundException"


def _create(cloud: Cloud, kind: str) -> tuple[str, str]:
    client = cloud.client("cloudformation")
    name = unique("stack")
    template = {"Resources": {"One": {"Type": kind}}}
    client.create_stack(StackName=name, TemplateBody=json.dumps(template))

    def ended() -> tuple[str, str] | None:
        stack = client.describe_stacks(StackName=name)["Stacks"][0]
        status = stack["StackStatus"]
        running = status.endswith("IN_PROGRESS")
        return None if running else (status, stack.get("StackStatusReason") or "")

    answer = eventually(ended, "an end of the deployment")
    assert answer is not None
    return answer
