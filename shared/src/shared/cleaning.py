"""Removes old rows in small batches: nobody waits long for them, a killed run loses little."""

import time
from collections.abc import Callable, Mapping
from typing import Any

import sqlalchemy as sa

BATCH = 500


def clean_up(
    engine: sa.Engine,
    statement: str,
    values: Mapping[str, Any],
    *,
    seconds: float,
    batch: int = BATCH,
    clock: Callable[[], float] = time.monotonic,
) -> int:
    """Repeat the statement until it finds less than a batch; return how many rows it changed.

    It takes `:batch` and `values`, and skips rows that others have locked: two runs at once share
    the work. Each batch is a transaction of its own; none is begun once `seconds` are over, and the
    next run goes on.
    """
    removed, start = 0, clock()
    while clock() - start < seconds:
        with engine.begin() as connection:
            found: int = connection.execute(sa.text(statement), {**values, "batch": batch}).rowcount
        removed += found
        if found < batch:
            break
    return removed
