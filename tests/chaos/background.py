"""Runs cells beside other tests; each leaves its result in a file."""

import json
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path

from tests.chaos.cells import Cell
from tests.chaos.experiment import UNITS, Result, run, wrong_facts
from tests.chaos.ground import Ground

IN_FLIGHT = 12
_FACTS_WITHIN = 90
"""Seconds: what a killed function did not publish, the relay does within a minute."""


@contextmanager
def running(cells: Sequence[Cell], ground: Ground, folder: Path) -> Iterator[None]:
    """Run the cells, the longest first, and write `<slug>.json`; the block's end waits for all."""
    longest_first = sorted(cells, key=lambda cell: -cell.seconds)
    skus = ground.shelves(len(cells), units=UNITS)
    with ThreadPoolExecutor(max_workers=IN_FLIGHT, thread_name_prefix="cell") as pool:
        waiting = [
            pool.submit(_one, cell, ground, sku, folder)
            for cell, sku in zip(longest_first, skus, strict=True)
        ]
        yield
    for future in waiting:
        future.result()


def _one(cell: Cell, ground: Ground, sku: str, folder: Path) -> None:
    result = run(cell, ground, sku)
    if result.order_id:
        result.wrong += _facts_at_last(ground, result)
    file = folder / f"{cell.slug}.json"
    # It is there when it is whole.
    draft = file.with_suffix(".draft")
    draft.write_text(json.dumps(asdict(result)))
    draft.rename(file)


def _facts_at_last(ground: Ground, result: Result) -> list[str]:
    deadline = time.monotonic() + _FACTS_WITHIN
    while wrong := wrong_facts(result, ground.facts.of(result.order_id)):
        if time.monotonic() > deadline:
            break
        time.sleep(0.5)
    return wrong
