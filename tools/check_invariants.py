"""Ask a stage's audit whether anything was lost, doubled or left half undone.

    make check-invariants [STAGE=local] [PATIENCE="effects=0 sagas=0"]

Prints each invariant with its violations; exits 1 if there are any, 2 if nobody answered.
PATIENCE: seconds that things may take (services/operations/README.md); otherwise the stage's own.
"""

import json
import sys
from collections.abc import Mapping, Sequence
from typing import Any

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError
from rich.console import Console
from rich.table import Table
from rich.text import Text

# The function may run for 300 s. One attempt: a second would only run beside the first.
PATIENT = Config(read_timeout=310, connect_timeout=3, retries={"total_max_attempts": 1})

Finding = Mapping[str, Any]


class NoAnswerError(Exception):
    """The audit could not be asked, or failed; the text says why."""


def ask(stage: str, patience: Mapping[str, int]) -> Sequence[Finding]:
    """Call the stage's audit. Raises NoAnswerError."""
    name = f"operations-{stage}-audit"
    try:
        answer = boto3.client("lambda", config=PATIENT).invoke(
            FunctionName=name, Payload=json.dumps(patience)
        )
        content = json.loads(answer["Payload"].read())
    except (BotoCoreError, ClientError) as error:
        raise NoAnswerError(f"{name}: {error}") from error
    if "FunctionError" in answer:
        raise NoAnswerError(f"{name}: {content.get('errorType')}: {content.get('errorMessage')}")
    findings: Sequence[Finding] = content["findings"]
    return findings


def show(console: Console, finding: Finding) -> None:
    """Print one invariant: ok, or what breaks it."""
    count, named = finding["count"], finding["violations"]
    mark = Text("ok  " if not count else "NOT ", "green" if not count else "bold red")
    console.print(mark + Text(finding["sentence"], "" if not count else "bold"))
    if not count:
        return
    table = Table(box=None, pad_edge=True, padding=(0, 2))
    table.add_column("")
    table.add_column("order, sku or sum", overflow="fold", min_width=36)
    table.add_column("is", style="red", overflow="fold")
    table.add_column("should be", style="green", overflow="fold")
    for violation in named:
        table.add_row("", *(Text(violation[key]) for key in ("subject", "actual", "expected")))
    console.print(table)
    if count > len(named):
        console.print(f"    and {count - len(named)} more")


def patience_from(words: Sequence[str]) -> dict[str, int]:
    """Read `effects=0` and its like. Raises ValueError naming the word."""
    patience = {}
    for word in words:
        name, _, seconds = word.partition("=")
        if not seconds.isdecimal():
            raise ValueError(f"{word}: not of the form effects=60")
        patience[name] = int(seconds)
    return patience


def main(stage: str, *words: str) -> int:
    """Return the exit status."""
    console = Console(width=None if sys.stdout.isatty() else 160, highlight=False)
    try:
        findings = ask(stage, patience_from(words))
    except (NoAnswerError, ValueError) as error:
        console.print(Text(str(error), "bold red"))
        return 2
    for finding in findings:
        show(console, finding)
    violations = sum(finding["count"] for finding in findings)
    console.print(f"{len(findings)} invariants, {violations} violations")
    return 1 if violations else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
