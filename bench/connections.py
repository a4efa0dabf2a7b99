"""What a connection costs, kept or made anew, and how many a crowd of environments holds.

    make bench-connections [ROUNDS=40]

Every environment is an engine of its own, as a function makes it, with real connections to a real
server, here on the same machine: on a network each round trip adds its own time.
"""

import sys
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack

import sqlalchemy as sa

from bench import report
from bench.ground import durable
from shared import database as module
from shared.database import engine
from tests.support.postgres import database, second, url_of
from tests.support.relay import relay

CROWDS = (1, 10, 50, 100)
ONE = sa.select(sa.literal(1))


def ask(made: sa.Engine) -> None:
    """Let the engine answer one statement."""
    with made.connect() as connection:
        connection.execute(ONE).scalar_one()


def timed(call: Callable[[], None]) -> float:
    """Return how many microseconds the call takes."""
    start = time.perf_counter()
    call()
    return (time.perf_counter() - start) * 1e6


def ways(url: str) -> dict[str, sa.Engine]:
    """Return each way to have a connection for one statement, as an engine in autocommit."""
    unlooked = sa.create_engine(url, pool_size=1, max_overflow=0)
    made = {
        "kept, never looked at": unlooked,
        "kept, its socket looked at (ours)": engine(url),
        "kept, pinged before each use": sa.create_engine(
            url, pool_size=1, max_overflow=0, pool_pre_ping=True
        ),
        "made anew for each call": sa.create_engine(url, poolclass=sa.NullPool),
    }
    return {
        name: each.execution_options(isolation_level="AUTOCOMMIT") for name, each in made.items()
    }


def costs(url: str, rounds: int) -> dict[str, list[float]]:
    """Return the microseconds of one statement in each way, in turns."""
    engines = ways(url)
    for each in engines.values():
        for _ in range(10):
            ask(each)
    found: dict[str, list[float]] = {name: [] for name in engines}
    for at in range(rounds):
        order = list(engines) if at % 2 else list(reversed(engines))
        for name in order:
            repeats = 1 if "anew" in name else 10
            found[name] += [timed(lambda name=name: ask(engines[name])) for _ in range(repeats)]
    for each in engines.values():
        each.dispose()
    return found


def trips(made: sa.Engine) -> dict[str, int]:
    """Return the round trips of an environment's first statement, and of a warm one."""
    host = f"{made.url.host}:{made.url.port}"
    with relay(host) as between:
        for_wire = engine(url_of(made).replace(host, between.address))
        single = for_wire.execution_options(isolation_level="AUTOCOMMIT")
        ask(single)
        first = between.round_trips
        ask(single)
        warm = between.round_trips - first
        for_wire.dispose()
    return {"first": first, "warm": warm}


def crowd(made: sa.Engine, size: int) -> int:
    """Return the most connections that so many environments hold while all of them work."""
    busy = sa.text(
        "SELECT count(*) FROM pg_stat_activity"
        " WHERE datname = current_database() AND pid <> pg_backend_pid()"
    )
    most = 0
    with ExitStack() as stack:
        environments = [stack.enter_context(second(made)) for _ in range(size)]
        for _ in range(3):
            threads = [threading.Thread(target=ask, args=(each,)) for each in environments]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            with made.connect() as connection:
                most = max(most, int(connection.execute(busy).scalar_one()))
    return most


def look(made: sa.Engine) -> float:
    """Return the microseconds of looking at a socket."""
    with made.connect() as connection:
        driver = connection.connection.driver_connection
        return timed(lambda: [module._has_news(driver) for _ in range(1000)] and None) / 1000  # noqa: SLF001


def main(arguments: Sequence[str]) -> None:
    """Measure, print, write and draw."""
    with durable(), database(None) as made:
        found = costs(url_of(made), int(arguments[0]))
        medians = {name: report.median(each, 0) for name, each in found.items()}
        round_trips, looking = trips(made), round(look(made), 1)
        crowds = {size: crowd(made, size) for size in CROWDS}
    for name, each in medians.items():
        print(f"one statement, connection {name}: {each:.0f} µs")
    print(f"looking at a socket: {looking} µs")
    print(
        f"round trips: {round_trips['first']} to connect and ask, {round_trips['warm']} when warm"
    )
    for size, held in crowds.items():
        print(f"{size:>4} environments at once hold {held} connections")
    report.write(
        "connections",
        {
            "medians_microseconds": medians,
            "microseconds": found,
            "looking_microseconds": looking,
            "round_trips": round_trips,
            "connections_by_environments": crowds,
        },
    )
    figure, plot = report.axes(8, 2.6)
    names = list(reversed(medians))
    bars = plot.barh(
        names,
        [medians[name] for name in names],
        color=[report.OURS if "ours" in name else report.BESIDE for name in names],
    )
    plot.bar_label(bars, fmt="%.0f", padding=3)
    plot.set_xlabel("microseconds of one statement, median")
    report.draw("connections", figure)


if __name__ == "__main__":
    main(sys.argv[1:])
