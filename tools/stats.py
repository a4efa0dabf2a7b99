"""The shop's days: `make rebuild-stats`, `make report [DAY=…] [AGAIN=1]`.

Asks the functions rebuildStats and reportSales of the stage, on AWS with the usual credentials. A
rebuild is called again until it is done; killed half way it has harmed nothing, begin anew.
"""

import argparse
import json
import sys
from collections.abc import Sequence
from typing import Any

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from tools.terminal import console, plain

# A little more than the slower function may take.
_PATIENCE = 310


class Failed(Exception):
    """The function ended with an error; the text is what it said."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Return 0 once it is done, 1 if a function failed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--stage", default="local")
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("rebuild", help="make the days anew from the tables")
    report = commands.add_parser("report", help="report a day that is over")
    report.add_argument("--day", help="such as 2026-11-24; yesterday if left out")
    report.add_argument("--again", action="store_true", help="write the files anew, mail nobody")
    wish = parser.parse_args(arguments)
    # One call, never a second one beside it.
    config = Config(read_timeout=_PATIENCE, retries={"total_max_attempts": 1})
    client = boto3.client("lambda", config=config)
    try:
        if wish.command == "rebuild":
            rebuild(client, wish.stage)
        else:
            asked = {"again": wish.again} | ({"day": wish.day} if wish.day else {})
            done = call(client, f"notifications-{wish.stage}-reportSales", asked)
            console().print(plain(f"{done['day']}: {done['outcome']}"))
            for place in done["files"]:
                console().print(plain(place))
    except (Failed, ClientError, BotoCoreError) as error:
        print(error, file=sys.stderr)
        return 1
    return 0


def rebuild(client: Any, stage: str) -> None:
    """Call until the new days are the ones that are read."""
    payload: dict[str, Any] = {}
    while True:
        answer = call(client, f"notifications-{stage}-rebuildStats", payload)
        came = answer["begun"]
        console().print(
            plain(f"{came['at']}: {came['read']} items read, {came['swept']} old ones deleted")
        )
        if came["unreadable"]:
            console().print(plain(f"{came['unreadable']} unreadable, the first: {came['fault']}"))
        if answer["done"]:
            return
        payload = {"begun": came}


def call(client: Any, function: str, payload: Any) -> Any:
    """Return the function's answer; raise Failed with its error."""
    answer = client.invoke(FunctionName=function, Payload=json.dumps(payload))
    result = json.loads(answer["Payload"].read())
    if "FunctionError" in answer:
        raise Failed(f"{function}: {result.get('errorMessage', result)}")
    return result


if __name__ == "__main__":
    sys.exit(main())
