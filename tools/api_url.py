"""Prints the base URL of a stage's API on AWS, as its stack tells it: `make url STAGE=dev`."""

import sys

import boto3
from botocore.exceptions import BotoCoreError, ClientError


def main(stage: str) -> int:
    """Print the URL; return the exit code."""
    name = f"orders-{stage}"
    try:
        (stack,) = boto3.client("cloudformation").describe_stacks(StackName=name)["Stacks"]
    except (BotoCoreError, ClientError) as error:
        print(f"url: {name}: {error}", file=sys.stderr)
        return 1
    outputs = {output["OutputKey"]: output["OutputValue"] for output in stack.get("Outputs", [])}
    print(outputs["ServiceEndpoint"])
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1]))
