"""What a reconciliation takes to find its suspects as the books grow: seconds and memory.

    make bench-reconcile [SIZES="1000 100000 1000000"]

Every order is within the horizon, which is the worst case: usually only the last 90 days are.
"""

import resource
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, cast
from uuid import UUID

import sqlalchemy as sa

from operations.adapters import suspects
from operations.adapters.databases import reading
from operations.repairs import Clocks
from tests.support.bulk import fill, parked
from tests.support.postgres import auditor_url, database

SERVICES = Path(__file__).parents[1] / "services"
CLOCKS = Clocks(timedelta(minutes=5), timedelta(minutes=1), timedelta(hours=1))
BROKEN = 50
"""So many rejected orders hold stock after all, so that there is something to find."""


class ParkedSagas:
    """The sagas that run, where every one of them waits for an operator."""

    def __init__(self, orders: sa.Engine) -> None:
        self._orders = orders

    def running(self) -> Iterator[tuple[Any]]:
        """Return their orders."""
        return ((UUID(order_id),) for order_id in parked(self._orders))


def measure(count: int) -> None:
    """Fill two databases with `count` orders, search them, and print one row."""
    with (
        database(SERVICES / "orders/orders/migrations") as orders,
        database(SERVICES / "inventory/inventory/migrations") as inventory,
    ):
        # The orders' ids are those of the day that they are filled with.
        suspects.HORIZON = timedelta(days=3650)
        now = datetime.now(UTC)
        fill(orders, inventory, count=count, skus=min(count, 10_000), last=now - timedelta(hours=1),
             gap=timedelta(seconds=2))  # fmt: skip
        with inventory.begin() as connection:
            connection.execute(
                sa.text(
                    "UPDATE reservations SET status = 'reserved' WHERE order_id IN (SELECT order_id"
                    " FROM reservations WHERE status = 'released' LIMIT :broken)"
                ),
                {"broken": BROKEN},
            )
        books = suspects.SqlSuspects(
            reading(auditor_url(orders)),
            reading(auditor_url(inventory)),
            cast("Any", ParkedSagas(orders)),
        )
        start = time.perf_counter()
        _, found = books.suspects(CLOCKS)
        took = time.perf_counter() - start
        kinds = dict.fromkeys(sorted({each.trouble for each in found}), 0)
        for each in found:
            kinds[each.trouble] += 1
        told = ", ".join(f"{number} {trouble}" for trouble, number in kinds.items())
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        print(f"{count:>9,} orders: {took:6.2f} s, peak {peak:4.0f} MB; found {told}", flush=True)


if __name__ == "__main__":
    for size in map(int, sys.argv[1:]):
        measure(size)
