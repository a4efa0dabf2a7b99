"""What an import takes as the file grows: seconds and memory, on a Postgres of its own.

    make bench-import [SIZES="1000 100000"]

The file is made as it is read, as S3 streams it. Publishing is not in these figures: it goes on
for as long as the function has time, and the relay brings the rest. Each size has a process of its
own; the peak of an import of ten rows, which is Python and its libraries, stands above the others.
"""

import multiprocessing
import resource
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from inventory.adapters.imports import SqlImports
from inventory.imports import PriceList, import_stock
from tests.support.postgres import database, second

MIGRATIONS = Path(__file__).parents[1] / "services/inventory/inventory/migrations"
PIECE = 1000
HEADER = b"sku,name,unit_price,currency,quantity\n"


class Made:
    """A price list of so many rows, one in a thousand of them faulty."""

    def __init__(self, rows: int) -> None:
        self._rows = rows
        self.size = sum(map(len, self.chunks()))

    @contextmanager
    def open(self, file: PriceList) -> Iterator["Made"]:  # noqa: ARG002
        """Open it."""
        yield self

    def chunks(self) -> Iterator[bytes]:
        """Make it in pieces."""
        yield HEADER
        for start in range(0, self._rows, PIECE):
            rows = range(start, min(start + PIECE, self._rows))
            yield b"".join(
                b"SKU-%07d,Thing number %d,%s,EUR,%d\n"
                % (n, n, b"%d" % (n % 9999) if n % PIECE else b"?", n % 50)
                for n in rows
            )

    def put_report(self, file: PriceList, report: BinaryIO) -> str:  # noqa: ARG002
        """Look at it and let it go."""
        return f"{len(report.read())} bytes"


class Nobody:
    """Publishes nothing."""

    def publish(self, seconds: float) -> None:
        """Leave it to the relay."""


def measure(ledger: SqlImports, rows: int) -> None:
    """Import a new file, and the same again under another version; print one row."""
    made = Made(rows)
    took = []
    for version in ("new", "known"):
        start = time.perf_counter()
        outcome = import_stock(
            PriceList("bench", f"incoming/{rows}.csv", version),
            ledger=ledger,
            files=made,
            publication=Nobody(),
            seconds_left=lambda: 3600.0,
        )
        took.append(time.perf_counter() - start)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(
        f"{rows:>9,}  {made.size / 1e6:>7.1f}  {outcome['rejected']:>8,}  {took[0]:>9.1f}"
        f"  {took[1]:>11.1f}  {peak:>8.0f}",
        flush=True,
    )


def apart(url: str, rows: int) -> None:
    """Measure in a process of its own."""
    from sqlalchemy import create_engine  # noqa: PLC0415

    with second(create_engine(url)) as engine:
        measure(SqlImports(engine), rows)


def main() -> None:
    """Measure each size."""
    print("     rows       MB  rejected  new rows s  known rows s  peak MB")
    spawn = multiprocessing.get_context("spawn")
    for size in (10, *map(int, sys.argv[1:])):
        with database(MIGRATIONS) as engine:
            url = engine.url.render_as_string(hide_password=False)
            process = spawn.Process(target=apart, args=(url, size))
            process.start()
            process.join()
            if process.exitcode:
                sys.exit(process.exitcode)


if __name__ == "__main__":
    main()
