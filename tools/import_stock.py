"""Import a price list and wait for what comes of it: `make import FILE=…`.

Puts the file into the stage's bucket under `incoming/`, where inventory finds it. Exits 0 if every
row was applied, 1 if some were rejected (they are shown), 2 if nobody knows.
"""

import argparse
import csv
import io
import json
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, cast

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from tools.terminal import console, plain

INCOMING = "incoming/"
PATIENCE = 900.0
"""Seconds: three attempts, and what lies between them."""
INTERVAL = 0.2
MAX_SHOWN = 20

Outcome = Mapping[str, Any]


class NoOutcome(Exception):
    """The file could not be imported, or nobody knows; the text says why, and what to do."""


@dataclass(frozen=True)
class Sent:
    """A version of an object under `incoming/`."""

    key: str
    version: str


class _Watched(io.BufferedReader):
    """A file that tells how much of it was read."""

    watch: Callable[[int], None]

    def read(self, size: int | None = -1, /) -> bytes:
        found = super().read(size)
        self.watch(self.tell())
        return found


class Imports:
    """The bucket of a stage, and the function that says how far an import is."""

    def __init__(self, stage: str, **options: Any) -> None:
        self._stage = stage
        # Putting twice would make two versions, which are two imports: never on our own account.
        once = Config(retries={"total_max_attempts": 1}, read_timeout=60)
        self._s3 = boto3.client("s3", config=once, **options)
        self._lambda = boto3.client("lambda", config=Config(read_timeout=20), **options)
        stacks = boto3.client("cloudformation", **options)
        found = stacks.describe_stack_resource(
            StackName=f"inventory-{stage}", LogicalResourceId="ImportsBucket"
        )
        self.bucket: str = found["StackResourceDetail"]["PhysicalResourceId"]

    def send(self, path: Path, *, watch: Callable[[int], None] = lambda _: None) -> Sent:
        """Put a file into the bucket; `watch` hears how many bytes have gone."""
        with path.open("rb") as file:
            body = _Watched(cast("io.RawIOBase", file.raw))
            body.watch = watch
            key = INCOMING + path.name
            answer = self._s3.put_object(Bucket=self.bucket, Key=key, Body=body)
        return Sent(key, answer["VersionId"])

    def state(self, sent: Sent) -> Mapping[str, Any]:
        """Return how far the import is."""
        name = f"inventory-{self._stage}-getImport"
        answer = self._lambda.invoke(FunctionName=name, Payload=json.dumps(vars(sent)))
        found: Mapping[str, Any] = json.loads(answer["Payload"].read())
        if "FunctionError" in answer:
            raise NoOutcome(f"{name} failed: {found.get('errorMessage', found)}")
        return found

    def outcome(
        self,
        sent: Sent,
        *,
        watch: Callable[[Mapping[str, Any]], None] = lambda _: None,
        within: float = PATIENCE,
    ) -> Outcome:
        """Wait until the import has ended; return what came of it."""
        deadline = time.monotonic() + within
        while True:
            state = self.state(sent)
            watch(state)
            if state["outcome"] is not None:
                return cast("Outcome", state["outcome"])
            if time.monotonic() > deadline:
                raise NoOutcome(
                    f"{sent.key} version {sent.version} is still {state['status']} after"
                    f" {within:.0f} s, with {state['rows_done']} rows done.\nSee why: make logs"
                    " SERVICE=inventory. If it has failed for good: make dlq, and the runbook"
                    " docs/runbooks/dead-letters.md. Do not send the file again: what was applied"
                    " would count twice."
                )
            time.sleep(INTERVAL)

    def rejected(self, outcome: Outcome) -> list[dict[str, str]]:
        """Return the rejected rows, with line, field and reason."""
        if not outcome["report"]:
            return []
        answer = self._s3.get_object(
            Bucket=self.bucket, Key=outcome["report"], VersionId=outcome["report_version"]
        )
        text = io.TextIOWrapper(cast("BinaryIO", answer["Body"]), encoding="utf-8", newline="")
        return list(csv.DictReader(text))


def run(stage: str, path: Path) -> int:
    """Send the file, wait, and print what came of it."""
    if not path.is_file():
        raise NoOutcome(f"FILE: there is no file {path}")
    out, imports, size = console(), Imports(stage), path.stat().st_size
    columns = (TextColumn("{task.description:<9}"), BarColumn(), DownloadColumn())
    with Progress(*columns, TimeElapsedColumn(), console=out) as progress:
        going = progress.add_task("sending", total=size)
        sent = imports.send(path, watch=lambda gone: progress.update(going, completed=gone))
        applying = progress.add_task("applying", total=size)
        outcome = imports.outcome(
            sent,
            watch=lambda state: progress.update(applying, completed=state["bytes_done"]),
        )
        progress.update(applying, completed=size)
    rejected = imports.rejected(outcome)
    out.print(
        f"{path.name}: {outcome['applied']} of {outcome['rows']} rows applied,"
        f" {outcome['units']} units received, {len(rejected)} rejected"
    )
    if not rejected:
        return 0
    table = Table("line", "field", "reason", "row", pad_edge=False)
    for each in rejected[:MAX_SHOWN]:
        table.add_row(*(plain(each[name]) for name in ("line", "field", "reason", "row")))
    out.print(table)
    if len(rejected) > MAX_SHOWN:
        out.print(f"and {len(rejected) - MAX_SHOWN} more")
    out.print(f"All of them: s3://{imports.bucket}/{outcome['report']}", soft_wrap=True)
    out.print("Send a file with the corrected rows alone: the others have been applied.")
    return 1


def main(arguments: Sequence[str] | None = None) -> int:
    """Return the exit status."""
    parser = argparse.ArgumentParser(prog="import", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--stage", default="local")
    parser.add_argument("file", type=Path)
    options = parser.parse_args(arguments)
    try:
        return run(options.stage, options.file)
    except (NoOutcome, OSError, BotoCoreError, ClientError) as error:
        print(error, file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main())
