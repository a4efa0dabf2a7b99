"""What an audit takes as the books grow: seconds and memory, on a Postgres of its own.

    make bench-audit [SIZES="1000 100000 1000000"]

There are as many products as orders: a statement that is quadratic in either does not end here.
The consumers' effects come from Postgres too, row by row as from DynamoDB's pages: scanning
DynamoDB itself is not in these figures. (10^6 orders are about 5 million items there.)
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

from operations.adapters.books import SqlBooks
from operations.adapters.databases import reading
from operations.adapters.invariants import invariants
from operations.domain import Patience
from tests.support.bulk import BulkConsumers, fill, parked
from tests.support.postgres import auditor_url, database

SERVICES = Path(__file__).parents[1] / "services"
PATIENCE = Patience(sagas=3600, outboxes=300, effects=0, deploys=0)


class ParkedSagas:
    """The sagas that run, where every one of them waits for an operator."""

    def __init__(self, orders: sa.Engine) -> None:
        self._orders = orders

    def running(self) -> Iterator[tuple[Any]]:
        """Return their orders."""
        return ((UUID(order_id),) for order_id in parked(self._orders))


def measure(count: int) -> None:
    """Fill two databases with `count` orders and products, audit them, and print one row."""
    with (
        database(SERVICES / "orders/orders/migrations") as orders,
        database(SERVICES / "inventory/inventory/migrations") as inventory,
    ):
        now = datetime.now(UTC)
        fill(orders, inventory, count=count, skus=count, last=now,
             gap=timedelta(seconds=2))  # fmt: skip
        books = SqlBooks(
            reading(auditor_url(orders)),
            reading(auditor_url(inventory)),
            # They stand in for DynamoDB's tables and for Step Functions.
            cast("Any", BulkConsumers(orders, now - timedelta(days=400))),
            cast("Any", ParkedSagas(orders)),
        )
        start = last = time.perf_counter()
        reading_consumers, violations = 0.0, 0
        first_effect = invariants("effects")[0].name
        for finding in books.compare(PATIENCE):
            moment = time.perf_counter()
            if finding.invariant == first_effect:
                reading_consumers = moment - last
            violations += finding.count
            last = moment
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        print(
            f"{count:>9,} orders: {last - start:7.2f} s, of which {reading_consumers:.2f} s to "
            f"read the consumers' rows; peak {peak:.0f} MB; {violations} violations",
            flush=True,
        )


if __name__ == "__main__":
    for size in map(int, sys.argv[1:]):
        measure(size)
