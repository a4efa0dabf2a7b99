"""Orders that wait for an operator: `make parked`, `make resume ORDER=…`.

Asks the functions listParked and resumeOrder of the stage, on AWS with the usual credentials.
"""

import argparse
import json
import sys
import uuid
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import Any

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError
from rich.table import Table

from tools.terminal import age, console, plain

FINE = frozenset({"resumed", "not_waiting"})


class Refused(Exception):
    """What was asked for cannot be done; says why."""


def call(lambda_: Any, function: str, payload: Any) -> Any:
    """Call a function; raise Refused with its error if it fails."""
    answer = lambda_.invoke(FunctionName=function, Payload=json.dumps(payload))
    result = json.loads(answer["Payload"].read())
    if "FunctionError" in answer:
        raise Refused(f"{function} failed: {result.get('errorMessage', result)}")
    return result


def waiting(lambda_: Any, stage: str) -> Iterator[dict[str, Any]]:
    """Yield every order that waits, page by page, oldest order first."""
    after = None
    while True:
        page = call(lambda_, f"orders-{stage}-listParked", {"after": after})
        yield from page["parked"]
        after = page["next"]
        if after is None:
            return


def list_parked(lambda_: Any, options: argparse.Namespace) -> int:
    """`make parked`."""
    found = list(waiting(lambda_, options.stage))
    if options.format == "json":
        print(json.dumps(found, indent=2))
        return 0
    out = console()
    if not found:
        out.print(f"No order of stage {options.stage} waits for an operator.")
        return 0
    table = Table("order", "status", "stuck at", "waits for", "cause", pad_edge=False)
    for column in table.columns:
        column.overflow = "fold"
    for each in found:
        waits = age(datetime.now(UTC) - datetime.fromisoformat(each["since"]))
        cells = (each["order_id"], each["status"], each["step"], waits, each["cause"])
        table.add_row(*map(plain, cells))
    out.print(table)
    out.print("Mend the cause, then: make resume ORDER=…")
    return 0


def resume(lambda_: Any, options: argparse.Namespace) -> int:
    """`make resume`: 0 if the order goes on, now or since an earlier resume."""
    try:
        order_id = str(uuid.UUID(options.order))
    except ValueError as error:
        raise Refused(f"ORDER: {options.order!r} is no order id") from error
    found = call(lambda_, f"orders-{options.stage}-resumeOrder", {"order_id": order_id})
    print(json.dumps(found))
    return 0 if found["outcome"] in FINE else 1


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; 1 if it could not be done."""
    parser = argparse.ArgumentParser(prog="parked", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--stage", default="local")
    commands = parser.add_subparsers(required=True)
    listing = commands.add_parser("list", help="list the orders that wait")
    listing.add_argument("--format", choices=("table", "json"), default="table")
    listing.set_defaults(run=list_parked)
    resuming = commands.add_parser("resume", help="let one go on")
    resuming.add_argument("order")
    resuming.set_defaults(run=resume)
    options = parser.parse_args(arguments)
    # Both calls are safe twice, so what times out is tried again.
    config = Config(read_timeout=20, retries={"mode": "standard", "max_attempts": 3})
    try:
        code: int = options.run(boto3.client("lambda", config=config), options)
    except (Refused, BotoCoreError, ClientError) as error:
        print(error, file=sys.stderr)
        return 1
    return code


if __name__ == "__main__":
    sys.exit(main())
