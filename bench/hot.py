"""Reservations a second beside pgbench, on one hot sku and on many; and what Powertools costs.

    make bench-hot [ROUNDS=3] [SECONDS_EACH=2]

Each worker is a process with a connection of its own, as an execution environment has, and calls
the use case on the real store. pgbench changes one row under one condition in each transaction, in
C, prepared, on the same server and tables; a reservation also writes its marker. Both take turns in
each round. Every commit waits for the disk. Then one reservation alone, and what it is made of.
"""

import multiprocessing
import random
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any
from uuid import uuid4

import psycopg
import sqlalchemy as sa
from psycopg.types.json import Jsonb

from bench import report
from bench.ground import INVENTORY, durable, pgbench
from bench.powertools import measure as measure_powertools
from inventory.adapters.books import RESERVE_AT_ONCE, SqlBooks
from inventory.domain import Outcome, Reserve
from inventory.use_cases import reserve
from shared.database import PLANNING, engine
from tests.support.postgres import database, url_of

WORKERS = {"hot": (1, 4, 16), "many": (1, 2, 4)}
MANY = 10_000
HOT = "sku-0"

_FILL = f"""
INSERT INTO stock (sku, name, unit_price, currency, version, received, available, reserved, shipped)
SELECT 'sku-' || n, 'Thing', 100, 'EUR', 1, 1000000000, 1000000000, 0, 0
FROM generate_series(0, {MANY - 1}) n
"""
_UPDATE = (
    "UPDATE stock SET available = available - 1, reserved = reserved + 1"
    " WHERE sku = 'sku-' || :at AND available >= 1;\n"
)
SCRIPTS = {
    "hot": "\\set at 0\n" + _UPDATE,
    "many": f"\\set at random(0, {MANY - 1})\n" + _UPDATE,
}


def work(url: str, kind: str, seconds: float, ready: Any, done: Any) -> None:
    """Reserve for so long; put the number of reservations into `done`."""
    made = engine(url)
    books = SqlBooks(made)
    choice = random.Random()  # noqa: S311 - which sku

    def once() -> None:
        sku = HOT if kind == "hot" else f"sku-{choice.randrange(MANY)}"
        outcome = reserve(Reserve(uuid4(), {sku: 1}), books=books).outcome
        if outcome != Outcome("reserved"):
            raise RuntimeError(f"{sku}: {outcome}")

    for _ in range(20):
        once()  # connects, and prepares
    ready.wait()
    count, end = 0, time.perf_counter() + seconds
    while time.perf_counter() < end:
        once()
        count += 1
    done.put(count)
    made.dispose()


def ours(url: str, kind: str, workers: int, seconds: float) -> float:
    """Return reservations a second, all workers together."""
    # Forked: sixteen imports of everything would take longer than the measurement.
    processes = multiprocessing.get_context("fork")
    ready, done = processes.Barrier(workers), processes.Queue()
    started = [
        processes.Process(target=work, args=(url, kind, seconds, ready, done))
        for _ in range(workers)
    ]
    for process in started:
        process.start()
    total: int = sum(done.get(timeout=120) for _ in started)
    for process in started:
        process.join()
    return total / seconds


def compare(made: sa.Engine, rounds: int, seconds: float) -> dict[str, dict[str, list[float]]]:
    """Return transactions a second of each side, by kind and workers."""
    found: dict[str, dict[str, list[float]]] = {}
    with tempfile.TemporaryDirectory() as folder:
        for kind, text in SCRIPTS.items():
            (Path(folder) / kind).write_text(text)
        for at in range(rounds):
            for kind in SCRIPTS:
                for workers in WORKERS[kind]:
                    script = Path(folder) / kind

                    def theirs(script: Path = script, workers: int = workers) -> float:
                        return pgbench(made, script, clients=workers, seconds=seconds)

                    def mine(kind: str = kind, workers: int = workers) -> float:
                        return ours(url_of(made), kind, workers, seconds)

                    sides: list[tuple[str, Callable[[], float]]] = [
                        ("pgbench", theirs),
                        ("reservations", mine),
                    ]
                    for name, run in sides if at % 2 else reversed(sides):
                        rates = found.setdefault(f"{kind} {workers}", {})
                        rates.setdefault(name, []).append(run())
    return found


def breakdown(made: sa.Engine, calls: int = 1000) -> dict[str, dict[str, float]]:
    """Return the microseconds of one reservation, and of what it is made of, in turns.

    The clock's, and this process's processor time. All commit and wait for the disk.
    """
    url = url_of(made)
    ours = engine(url)
    books = SqlBooks(ours)
    statement = str(RESERVE_AT_ONCE.compile(dialect=ours.dialect))
    driver = psycopg.connect(
        url.replace("+psycopg", ""),
        autocommit=True,
        options=" ".join(f"-c {name}={value}" for name, value in PLANNING.items()),
    )

    def send() -> None:
        lines = Jsonb([{"sku": HOT, "quantity": 1}])
        values = {"order_id": uuid4(), "lines": lines, "skus": [HOT], "units": [1]}
        driver.execute(statement, {**values, "count": 1, "leaving": 5}, prepare=True).fetchone()

    sides: dict[str, Callable[[], object]] = {
        "an update through psycopg": lambda: driver.execute(
            "UPDATE stock SET available = available - 1, reserved = reserved + 1"
            " WHERE sku = %s AND available >= 1",
            (HOT,),
            prepare=True,
        ),
        "our statement through psycopg": send,
        "a reservation": lambda: reserve(Reserve(uuid4(), {HOT: 1}), books=books),
    }
    taken: dict[str, list[tuple[float, float]]] = {name: [] for name in sides}
    for at in range(-50, calls):
        for name, call in sides.items():
            start, used = time.perf_counter(), time.process_time()
            call()
            if at >= 0:  # before that they connect, prepare and warm up
                took = (time.perf_counter() - start, time.process_time() - used)
                taken[name].append(took)
    driver.close()
    ours.dispose()
    return {
        name: {
            "clock": round(statistics.median(clock for clock, _ in each) * 1e6),
            "processor": round(statistics.median(used for _, used in each) * 1e6),
        }
        for name, each in taken.items()
    }


def draw(medians: dict[str, dict[str, float]]) -> None:
    """Draw both kinds, ours beside pgbench."""
    figure, plot = report.axes(8, 4)
    places = list(range(len(medians)))
    plot.bar(
        [at - 0.2 for at in places],
        [each["pgbench"] for each in medians.values()],
        0.4,
        color=report.BESIDE,
        label="pgbench, one row each",
    )
    plot.bar(
        [at + 0.2 for at in places],
        [each["reservations"] for each in medians.values()],
        0.4,
        color=report.OURS,
        label="reservations",
    )
    for at, each in zip(places, medians.values(), strict=True):
        plot.text(at + 0.2, each["reservations"], f"{each['ratio']:.2f}", ha="center", va="bottom")
    plot.set_xticks(places, [name.replace(" ", "\n") for name in medians])
    plot.set_xlabel("one hot sku, or many; workers")
    plot.set_ylabel("transactions a second")
    plot.legend(frameon=False)
    report.draw("hot-path", figure)


def main(arguments: Sequence[str]) -> None:
    """Measure, print, write and draw."""
    rounds, seconds = int(arguments[0]), float(arguments[1])
    with durable(), database(INVENTORY) as made:
        with made.begin() as connection:
            connection.execute(sa.text(_FILL))
        found = compare(made, rounds, seconds)
        parts = breakdown(made)
    medians: dict[str, dict[str, float]] = {}
    for name, sides in found.items():
        rates = {side: report.median(values, 0) for side, values in sides.items()}
        medians[name] = rates | {"ratio": report.ratio(rates["reservations"], rates["pgbench"])}
        print(
            f"{name.replace(' ', ', '):>8} workers: {rates['reservations']:6.0f} reservations/s, "
            f"pgbench {rates['pgbench']:6.0f}/s, ratio {medians[name]['ratio']:.2f}"
        )
    first = medians["many 1"]["reservations"]
    linear = {w: report.ratio(medians[f"many {w}"]["reservations"], first) for w in WORKERS["many"]}
    print("many skus, against one worker:", ", ".join(f"{w}: {r:.2f}" for w, r in linear.items()))
    for name, each in parts.items():
        print(f"{name}: {each['clock']} µs, of which our own processor {each['processor']}")
    powertools = measure_powertools()
    report.write(
        "hot",
        {"seconds": seconds, "rounds": found, "medians": medians, "many skus against one": linear,
         "one reservation": parts, "powertools_microseconds": powertools},
    )  # fmt: skip
    draw(medians)


if __name__ == "__main__":
    main(sys.argv[1:])
