"""Prints the base URL of a service's API on AWS, as its stack tells it: `make url STAGE=dev`."""

import sys

import boto3
from botocore.exceptions import BotoCoreError, ClientError


def main(service: str, stage: str) -> int:
    """Print the URL; return the exit code."""
    name = f"{service}-{stage}"
    try:
        (stack,) = boto3.client("cloudformation").describe_stacks(StackName=name)["Stacks"]
    except (BotoCoreError, ClientError) as error:
        print(f"api_url: {name}: {error}", file=sys.stderr)
        return 1
    outputs = {output["OutputKey"]: output["OutputValue"] for output in stack.get("Outputs", [])}
    if "ServiceEndpoint" not in outputs:
        print(f"api_url: {name}: no API, or not deployed to its end", file=sys.stderr)
        return 1
    print(outputs["ServiceEndpoint"])
    return 0


if __name__ == "__main__":
    raise SystemExit(main(*sys.argv[1:]))
