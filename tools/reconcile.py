"""Reconcile now, and print what was found and what was done: `make reconcile [DRY_RUN=1]`.

Calls the deployed function of `--stage`; the schedule calls the same one every five minutes. Ends
with 0 whatever was found: `make check-invariants` is the judge, this is the repair.
"""

import argparse
import json
import os
import sys
from typing import Any

import boto3
from botocore.config import Config
from rich.console import Console
from rich.table import Table

# A little more than the function may take.
PATIENCE = 310


def main(arguments: list[str] | None = None) -> int:
    """Return 0 once the function has answered, 1 if it failed."""
    parser = argparse.ArgumentParser(description="Reconcile orders with their sagas, now.")
    parser.add_argument("--dry-run", action="store_true", help="start nothing, only say what")
    parser.add_argument("--stage", default="local")
    wish = parser.parse_args(arguments)
    answer = _client(wish.stage).invoke(
        FunctionName=f"operations-{wish.stage}-reconcile",
        Payload=json.dumps({"dry_run": wish.dry_run}),
    )
    result = json.loads(answer["Payload"].read())
    if "FunctionError" in answer:
        print(f"the function failed: {json.dumps(result, indent=2)}", file=sys.stderr)
        return 1
    _show(result, Console())
    return 0


def _client(stage: str) -> Any:
    options: dict[str, str] = {}
    if stage == "local":
        port = os.environ.get("ORDERFLOW_PORT", "4566")
        options = {
            "endpoint_url": os.environ.get("AWS_ENDPOINT_URL", f"http://127.0.0.1:{port}"),
            "region_name": "us-east-1",
            "aws_access_key_id": "test",
            "aws_secret_access_key": "test",
        }
    # One call, never a second one beside it.
    config = Config(read_timeout=PATIENCE, retries={"total_max_attempts": 1})
    return boto3.client("lambda", config=config, **options)


def _show(result: dict[str, Any], console: Console) -> None:
    if result["findings"]:
        table = Table("order", "found", "is", "should be", "repair", box=None, pad_edge=False)
        for found in result["findings"]:
            table.add_row(
                found["order_id"],
                found["kind"] or "?",
                found["actual"],
                found["expected"],
                _repair(found, dry_run=result["dry_run"]),
            )
        # As wide as it must be: whoever reads it in a file wants whole ids.
        Console(width=None if console.is_terminal else 240).print(table)
    would = "would be repaired" if result["dry_run"] else "repaired"
    count = (
        sum(found["execution"] is not None for found in result["findings"])
        if result["dry_run"]
        else result["repaired"]
    )
    print(
        f"{len(result['findings'])} found: {count} {would}, {result['unrepairable']} for a person,"
        f" {result['failed']} without an answer; {result['left']} not looked into"
    )


def _repair(found: dict[str, Any], *, dry_run: bool) -> str:
    if found["fault"]:
        return f"not now: {found['fault']}"
    if not found["execution"]:
        return "none: needs a person"
    return f"{'would start' if dry_run else 'started'} {found['execution']}"


if __name__ == "__main__":
    sys.exit(main())
