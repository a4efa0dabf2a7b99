"""Place, get, list and reserve as the books grow: the same calls at each size, in turns.

    make bench-growth SIZES="1000 100000 1000000" [CALLS=300]

All sizes stand on one server at the same time, each with as many orders as skus, and each round
calls each of them once, on orders and skus chosen over all of its books.
"""

import random
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import sqlalchemy as sa

from bench import report
from bench.ground import INVENTORY, ORDERS, durable
from inventory.adapters.books import SqlBooks
from inventory.domain import Outcome, Reserve
from inventory.use_cases import reserve
from orders.adapters.catalogue import SqlCatalogue
from orders.adapters.order_book import SqlOrderBook
from orders.domain import WantedLine
from orders.use_cases import PlaceOrder, place_order
from shared.ids import uuid7
from tests.support.bulk import fill
from tests.support.postgres import database

CALLS = ("place", "get", "list", "reserve")
PAGE = 21


class Started:
    """A saga that is started at no cost: what is measured is the database."""

    def start(self, name: str, document: object) -> None:
        """Do nothing."""


class Shop:
    """Both services' stores on books of one size."""

    def __init__(self, size: int, orders: sa.Engine, inventory: sa.Engine) -> None:
        self._size = size
        self._choice = random.Random(size)  # noqa: S311 - which order
        self._book, self._catalogue = SqlOrderBook(orders), SqlCatalogue(orders)
        self._books = SqlBooks(inventory)
        with orders.begin() as connection:
            # Every so-many-th order: as wide as the books are.
            query = sa.text("SELECT id FROM orders ORDER BY md5(id::text) LIMIT 1000")
            self._ids: list[UUID] = list(connection.execute(query).scalars())

    def _sku(self) -> str:
        return f"sku-{self._choice.randrange(self._size)}"

    def place(self) -> None:
        """Place an order of two lines."""
        lines = tuple(WantedLine(self._sku(), 1) for _ in range(2))
        request = PlaceOrder(
            f"customer-{self._choice.randrange(1000)}", "a@example.com", "EUR", lines, "tok_visa",
            uuid4().hex,
        )  # fmt: skip
        place_order(request, catalogue=self._catalogue, orders=self._book, saga=Started(),
                    new_id=uuid7, now=lambda: datetime.now(UTC))  # fmt: skip

    def get(self) -> None:
        """Read an order."""
        if not self._book.get(self._choice.choice(self._ids)):
            raise RuntimeError("an order is gone")

    def list(self) -> None:
        """Read a customer's newest orders."""
        self._book.page(f"customer-{self._choice.randrange(1000)}", before=None, limit=PAGE)

    def reserve(self) -> None:
        """Reserve one unit of two skus."""
        wanted = dict.fromkeys(sorted({self._sku(), self._sku()}), 1)
        if reserve(Reserve(uuid4(), wanted), books=self._books).outcome != Outcome("reserved"):
            raise RuntimeError("refused")


def timed(call: Callable[[], None]) -> float:
    """Return how many microseconds the call takes."""
    start = time.perf_counter()
    call()
    return (time.perf_counter() - start) * 1e6


def measure(sizes: Sequence[int], calls: int) -> dict[str, dict[int, list[float]]]:
    """Return the microseconds of each call at each size."""
    found: dict[str, dict[int, list[float]]] = {
        name: {size: [] for size in sizes} for name in CALLS
    }
    with ExitStack() as stack:
        stack.enter_context(durable())
        shops = {}
        for size in sizes:
            start = time.perf_counter()
            orders = stack.enter_context(database(ORDERS))
            inventory = stack.enter_context(database(INVENTORY))
            fill(orders, inventory, count=size, skus=size, last=datetime.now(UTC),
                 gap=timedelta(milliseconds=20))  # fmt: skip
            shops[size] = Shop(size, orders, inventory)
            print(f"filled {size:>9,} in {time.perf_counter() - start:.0f} s", flush=True)
        for at in range(-20, calls):
            order = list(sizes) if at % 2 else list(reversed(sizes))
            for name in CALLS:
                for size in order:
                    took = timed(getattr(shops[size], name))
                    if at >= 0:  # before that they connect, prepare and warm up
                        found[name][size].append(took)
    return found


def main(arguments: Sequence[str]) -> None:
    """Measure, print, write and draw."""
    calls, sizes = int(arguments[0]), sorted(map(int, arguments[1:]))
    found = measure(sizes, calls)
    medians = {
        name: {size: statistics.median(each) for size, each in by_size.items()}
        for name, by_size in found.items()
    }
    ratios = {
        name: {size: report.ratio(each[size], each[sizes[0]]) for size in sizes}
        for name, each in medians.items()
    }
    for name, each in medians.items():
        figures = ", ".join(
            f"{size:,}: {p50:.0f} µs ({ratios[name][size]:.2f})" for size, p50 in each.items()
        )
        print(f"{name:>8} p50  {figures}")
    report.write("growth", {"p50_microseconds": medians, "ratios": ratios, "calls": calls})
    figure, plot = report.axes(8, 4)
    for name, each in ratios.items():
        plot.plot(sizes, list(each.values()), marker="o", label=name)
    plot.axhline(1.2, color=report.GOAL, linestyle="--", linewidth=1)
    plot.set_xscale("log")
    plot.set_ylim(0, max(1.5, *(max(each.values()) + 0.1 for each in ratios.values())))
    plot.set_xlabel("orders and skus in the database")
    plot.set_ylabel(f"p50 against {sizes[0]:,}")
    plot.legend(frameon=False)
    report.draw("growth", figure)


if __name__ == "__main__":
    main(sys.argv[1:])
