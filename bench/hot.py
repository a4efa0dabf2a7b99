"""Reservations a second beside pgbench, on one hot sku and on many; and what Powertools costs.

    make bench-hot [ROUNDS=3] [SECONDS_EACH=2]

Each worker is a process with a connection of its own, as an execution environment has, and calls
the use case on the real store. pgbench changes one row under one condition in each transaction, in
C, prepared, on the same server and tables; a reservation also writes its marker. Both take turns in
each round. Every commit waits for the disk.
"""

import multiprocessing
import random
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from uuid import uuid4

import sqlalchemy as sa

from bench import report
from bench.ground import INVENTORY, durable, pgbench
from bench.powertools import measure as measure_powertools
from inventory.adapters.books import SqlBooks
from inventory.domain import Outcome, Reserve
from inventory.use_cases import reserve
from shared.database import engine
from tests.support.postgres import database, url_of

WORKERS = (1, 2, 4, 16)
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


def work(url: str, kind: str, seconds: float, ready: object, done: object) -> None:
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
    ready.wait()  # type: ignore[attr-defined]
    count, end = 0, time.perf_counter() + seconds
    while time.perf_counter() < end:
        once()
        count += 1
    done.put(count)  # type: ignore[attr-defined]
    made.dispose()


def ours(url: str, kind: str, workers: int, seconds: float) -> float:
    """Return reservations a second, all workers together."""
    processes = multiprocessing.get_context("spawn")
    ready, done = processes.Barrier(workers), processes.Queue()
    started = [
        processes.Process(target=work, args=(url, kind, seconds, ready, done))
        for _ in range(workers)
    ]
    for process in started:
        process.start()
    total = sum(done.get(timeout=120) for _ in started)
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
                for workers in WORKERS:
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
    medians: dict[str, dict[str, float]] = {}
    for name, sides in found.items():
        rates = {side: report.median(values, 0) for side, values in sides.items()}
        medians[name] = rates | {"ratio": report.ratio(rates["reservations"], rates["pgbench"])}
        print(
            f"{name.replace(' ', ', '):>8} workers: {rates['reservations']:6.0f} reservations/s, "
            f"pgbench {rates['pgbench']:6.0f}/s, ratio {medians[name]['ratio']:.2f}"
        )
    first = medians["many 1"]["reservations"]
    linear = {w: report.ratio(medians[f"many {w}"]["reservations"], first) for w in WORKERS}
    print("many skus, against one worker:", ", ".join(f"{w}: {r:.2f}" for w, r in linear.items()))
    powertools = measure_powertools()
    report.write(
        "hot",
        {"seconds": seconds, "rounds": found, "medians": medians, "many skus against one": linear,
         "powertools_microseconds": powertools},
    )  # fmt: skip
    draw(medians)


if __name__ == "__main__":
    main(sys.argv[1:])
