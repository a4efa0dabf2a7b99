"""The functions' Postgres driver beside psycopg: import, and what a statement costs.

    make bench-drivers

Both sides by turns in one run, through SQLAlchemy as the functions use it: medians, and ratios of
medians. A statement is timed by the clock, which holds the server's part too, and by this process's
own processor time, which is what a function is billed for while it does not wait.
"""

import resource
import statistics
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Callable
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path

import orders
import sqlalchemy as sa
from orders.adapters.order_book import SqlOrderBook
from orders.domain import Line, Order, Status

from shared.database import engine as make_engine
from shared.ids import uuid7
from tests.support.postgres import database, url_of

DRIVERS = {"ours (pg8000)": "oneflight", "psycopg": "psycopg"}
ROUNDS = 15
CALLS = 200


def main() -> None:
    """Print the table."""
    times: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    with ExitStack() as stack:
        made = stack.enter_context(database(Path(orders.__file__).parent / "migrations"))
        books: dict[str, tuple[SqlOrderBook, sa.Engine]] = {}
        for name, driver in DRIVERS.items():
            url = url_of(made).replace("+oneflight", f"+{driver}")
            engine = make_engine(url)
            stack.callback(engine.dispose)
            books[name] = SqlOrderBook(engine), engine
        known = _place(books["psycopg"][0])
        for _ in range(ROUNDS):
            for name, (book, engine) in books.items():
                for what, call in _calls(book, engine, known).items():
                    wall, cpu = _timed(call)
                    times[f"{what}, clock µs"][name].append(wall)
                    times[f"{what}, processor µs"][name].append(cpu)
                times["import and engine, processor ms"][name].append(_import(DRIVERS[name]))
    print(f"{'':40}" + "".join(f"{name:>16}" for name in DRIVERS) + "   ratio")
    for what, sides in sorted(times.items()):
        ours, theirs = (statistics.median(sides[name]) for name in DRIVERS)
        print(f"{what:40}{ours:16.0f}{theirs:16.0f}   {ours / theirs:.2f}")


def _calls(book: SqlOrderBook, engine: sa.Engine, known: Order) -> dict[str, Callable[[], object]]:
    return {
        "get an order (check, select)": lambda: book.get(known.id),
        "place an order (check, one statement)": lambda: _place(book),
        "transaction of one (check, begin, select, commit)": lambda: _transaction(engine),
    }


def _transaction(engine: sa.Engine) -> None:
    with engine.begin() as connection:
        connection.scalar(sa.select(sa.literal(1)))


def _place(book: SqlOrderBook) -> Order:
    lines = tuple(Line(f"SKU-{n}", n, 100) for n in range(1, 4))
    total = sum(line.quantity * line.unit_price for line in lines)
    now = datetime.now(UTC)
    order = Order(
        uuid7(), "ada", "ada@example.org", "EUR", lines, total, Status.PLACED, 1, placed_at=now
    )
    book.place(order, {"order_id": str(order.id)}, None, "hash")
    return order


def _timed(call: Callable[[], object]) -> tuple[float, float]:
    """Return microseconds a call, by the clock and by the processor."""
    call()
    wall, cpu = time.perf_counter(), time.process_time()
    for _ in range(CALLS):
        call()
    spent = time.perf_counter() - wall, time.process_time() - cpu
    return spent[0] / CALLS * 1e6, spent[1] / CALLS * 1e6


def _import(driver: str) -> float:
    """Return the milliseconds of processor time that a new process takes to have an engine."""
    program = f"from shared.database import engine; engine('postgresql+{driver}://a@b/c')"
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([sys.executable, "-c", program], check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return (after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime) * 1000


if __name__ == "__main__":
    main()
