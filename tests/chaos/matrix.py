"""Run every cell of the fault matrix on the cloud that runs: `make chaos`.

    .venv/bin/python -m tests.chaos.matrix [--only TEXT] [--in-flight 32]

Prints the matrix, and writes .local/chaos/matrix.json and matrix.html. Exit status 1 if any order
ended otherwise than it must, or the books do not balance.
"""

import argparse
import json
import sys
import time
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from rich import box
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from tests.chaos import page
from tests.chaos.aftermath import Aftermath, reachable, settle
from tests.chaos.cells import Cell, Fault, Lasting, generate
from tests.chaos.experiment import UNITS, Result, run, wrong_facts
from tests.chaos.graph import ROOT, CannotBeFaulted, saga
from tests.chaos.ground import Ground
from tests.support.cloud import Cloud

FOLDER = ROOT / ".local/chaos"
IN_FLIGHT = 32
"""Most of them wait. All at once, two cores fall behind the saga's clocks: faults nobody meant."""
FACTS_WITHIN = 90
"""Seconds: what a killed function did not publish, the relay does within a minute."""

# Glyph and colour, by what the order ended as.
LOOKS = {
    "CONFIRMED": ("✓", "green"),
    "REJECTED": ("↺", "magenta"),
    "PARKED": ("‖", "yellow"),
}


def look(result: Result) -> tuple[str, str]:
    """Return the glyph and colour of a finished cell."""
    if result.wrong:
        return "✗", "bold red"
    return LOOKS["PARKED" if result.parked_at else result.status]


class Board:
    """What has been seen so far: a table, or a line a cell where there is no terminal."""

    def __init__(self, console: Console, cells: Sequence[Cell]) -> None:
        self.console, self.cells = console, cells
        self.results: dict[str, Result] = {}
        self.began = time.monotonic()
        self.doing = "receiving stock"

    def done(self, result: Result) -> None:
        """Take a result."""
        self.results[result.slug] = result
        if not self.console.is_terminal:
            glyph, style = look(result)
            self.console.print(
                Text(
                    f"{len(self.results):3}/{len(self.cells)} {glyph} {result.slug}: "
                    f"{result.ended_as} in {result.seconds:.0f} s",
                    style,
                ),
                soft_wrap=True,
            )

    def say(self, text: str) -> None:
        """Say what is being done."""
        self.doing = text
        if not self.console.is_terminal:
            self.console.print(f"{time.monotonic() - self.began:5.0f} s: {text}")

    def __rich__(self) -> RenderableType:
        """Draw it as it stands."""
        table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
        table.add_column("state")
        for fault in Fault:
            table.add_column(fault.value, justify="center", max_width=13)
        states = dict.fromkeys(cell.task.name for cell in self.cells)
        by_place = {(c.task.name, c.fault, c.lasting): c.slug for c in self.cells}
        for state in states:
            row = [Text(state)]
            for fault in Fault:
                marks = Text()
                for lasting in Lasting:
                    slug = by_place.get((state, fault, lasting))
                    if slug is None:
                        marks.append("  ")
                    elif result := self.results.get(slug):
                        marks.append(*look(result)).append(" ")
                    else:
                        marks.append("· ", "dim")
                row.append(marks)
            table.add_row(*row)
        seconds = time.monotonic() - self.began
        legend = Text.from_markup(
            "left once, right until retries are exhausted   [green]✓[/] confirmed   "
            "[magenta]↺[/] undone   [yellow]‖[/] parked, resumed, undone   [bold red]✗[/] wrong"
        )
        status = f"{len(self.results)} of {len(self.cells)} cells, {seconds:.0f} s: {self.doing}"
        return Group(table, legend, Text(status, "dim"))


def run_all(ground: Ground, cells: Sequence[Cell], board: Board, *, in_flight: int) -> list[Result]:
    """Run the cells side by side, the longest first; return their results in the cells' order."""
    skus = ground.shelves(len(cells), units=UNITS)
    shelf = {cell.slug: sku for cell, sku in zip(cells, skus, strict=True)}
    board.say(f"running {len(cells)} cells, {in_flight} at a time")
    with ThreadPoolExecutor(max_workers=in_flight, thread_name_prefix="cell") as pool:
        waiting: list[Future[Result]] = [
            pool.submit(run, cell, ground, shelf[cell.slug], keep_rules=True)
            for cell in sorted(cells, key=lambda cell: -cell.seconds)
        ]
        for future in as_completed(waiting):
            board.done(future.result())
    return [board.results[cell.slug] for cell in cells]


def check_facts(ground: Ground, results: Sequence[Result]) -> None:
    """Wait for what must have been published about each order; note what differs."""
    deadline = time.monotonic() + FACTS_WITHIN
    waiting = [result for result in results if result.order_id]
    while waiting:
        still = []
        for result in waiting:
            result.facts = ground.facts.of(result.order_id)
            if wrong_facts(result, result.facts):
                still.append(result)
        waiting = still
        if time.monotonic() > deadline:
            break
        if waiting:
            time.sleep(1)
    for result in waiting:
        result.wrong += wrong_facts(result, result.facts)


def report(results: Sequence[Result], after: Aftermath, seconds: float) -> dict[str, Any]:
    """Return all that was seen, as data."""
    return {
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "seconds": round(seconds, 1),
        "faults": [fault.value for fault in Fault],
        "lasting": [lasting.value for lasting in Lasting],
        "states": list(dict.fromkeys(result.state for result in results)),
        "cells": [asdict(result) | {"ended_as": result.ended_as} for result in results],
        "aftermath": asdict(after),
        "wrong": sum(bool(result.wrong) for result in results) + len(after.wrong),
    }


def write(content: dict[str, Any], folder: Path) -> list[Path]:
    """Write the report as JSON and as a page."""
    folder.mkdir(parents=True, exist_ok=True)
    files = [folder / "matrix.json", folder / "matrix.html"]
    files[0].write_text(json.dumps(content, indent=1) + "\n")
    files[1].write_text(page.draw(content))
    return files


def show_wrong(console: Console, results: Sequence[Result], after: Aftermath) -> None:
    """Print each cell that ended wrong, with why it should have ended otherwise."""
    for result in results:
        if result.wrong:
            name = f"{result.state} / {result.fault} / {result.lasting}"
            console.print(Text(f"✗ {name} (order {result.order_id or 'not placed'})", "bold red"))
            for line in result.wrong:
                console.print(Text(f"    {line}"), soft_wrap=True)
            console.print(Text(f"    should be so: {result.why}", "dim"), soft_wrap=True)
    for line in after.wrong:
        console.print(Text(f"✗ {line}", "bold red"), soft_wrap=True)


def main(arguments: Sequence[str]) -> int:
    """Run, print, write; return the exit status."""
    parser = argparse.ArgumentParser(prog="chaos", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--only", default="", help="run the cells whose name holds this text")
    parser.add_argument("--in-flight", type=int, default=IN_FLIGHT)
    parser.add_argument("--folder", type=Path, default=FOLDER)
    options = parser.parse_args(arguments)
    console = Console(width=None if sys.stdout.isatty() else 150, highlight=False)
    try:
        cells = [cell for cell in generate(saga()) if options.only in cell.name]
    except CannotBeFaulted as fault:
        console.print(Text(f"✗ a state that cannot be faulted: {fault}", "bold red"))
        return 2
    if not cells:
        console.print(f"no cell's name holds {options.only!r}")
        return 2
    cloud = Cloud.from_environment()
    if missing := reachable(cloud):
        console.print(Text(f"✗ {missing}", "bold red"))
        return 2
    board = Board(console, cells)
    with Ground(cloud, saga()) as ground:
        ground.faults.clear()
        with Live(board, console=console, refresh_per_second=4, transient=True):
            results = run_all(ground, cells, board, in_flight=options.in_flight)
            after = settle(ground, board.say)
            board.say("comparing the facts")
            check_facts(ground, results)
    seconds = time.monotonic() - board.began
    board.doing = "done"
    content = report(results, after, seconds)
    files = write(content, options.folder)
    console.print(board)
    show_wrong(console, results, after)
    dead = sum(after.dead_letters.values())
    balanced = "NOT balanced" if after.wrong else "balanced"
    good = len(results) - sum(bool(result.wrong) for result in results)
    console.print(
        f"{good} of {len(results)} cells ended as they must, in {seconds:.0f} s; "
        f"{dead} dead letters redriven; books: {balanced}"
    )
    if again := [result for result in results if result.earlier]:
        console.print(f"{len(again)} cells were run again: something else had failed on their way")
        for result in again:
            for missed in result.earlier:
                console.print(
                    Text(f"    {result.slug}: {'; '.join(missed)}", "dim"), soft_wrap=True
                )
    for file in files:
        console.print(f"  {file}", soft_wrap=True)
    return 1 if content["wrong"] else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
