"""What a function's memory setting buys: its cold start and its warm calls, and what they cost.

    make bench-memory    (as a user who may write into /sys/fs/cgroup)

Lambda gives a function of M MB a share of M/1769 of one processor. A control group gives this
process's children the same share here, in periods of 20 ms. Lambda lets an init phase run faster
than its memory setting would; this does not, so that a real cold start hangs less on the setting
than the one here.

Cost is what Lambda bills: GB-seconds of init and of a hundred calls, against the dearest setting.
"""

import os
import sys
from collections import defaultdict
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import orders
from bench.cold_start import CALLS, Times, an_order, cases, harmless_events, start, unpacked
from bench.report import OURS, axes, draw, median, write
from orders.adapters.order_book import SqlOrderBook
from tests.artifacts.packages import package
from tests.support.postgres import database, url_of

MB_OF_ONE_PROCESSOR = 1769
SETTINGS = (256, 384, 512, 768, 1024, 1536, 1769)
FUNCTION = "orders/getOrder"
ROUNDS = 5
PERIOD = 20_000  # microseconds
GROUPS = Path("/sys/fs/cgroup")


@contextmanager
def share(of_a_processor: float) -> Iterator[Path]:
    """Make a control group with this share; yield the file that takes its processes."""
    first = GROUPS / "cpu" if (GROUPS / "cpu").is_dir() else GROUPS
    group = first / f"orderflow-{os.getpid()}"
    quota = int(of_a_processor * PERIOD)
    try:
        group.mkdir()
    except OSError as error:
        raise SystemExit(f"{group}: {error.strerror}; the share needs a control group") from error
    try:
        if first.name == "cpu":
            (group / "cpu.cfs_period_us").write_text(str(PERIOD))
            (group / "cpu.cfs_quota_us").write_text(str(quota))
        else:
            (group / "cpu.max").write_text(f"{quota} {PERIOD}")
        yield group / "cgroup.procs"
    finally:
        group.rmdir()


def measure() -> dict[str, Any]:
    """Start the function at each setting by turns, and call it a hundred times."""
    with ExitStack() as stack:
        engine = stack.enter_context(database(Path(orders.__file__).parent / "migrations"))
        order = an_order()
        SqlOrderBook(engine).place(order, {"order_id": str(order.id)}, None, "hash")
        packed = package("orders")
        folder = stack.enter_context(unpacked(packed.zip, "memory"))
        found = cases(packed, folder, url_of(engine), harmless_events(order))
        (case,) = (case for case in found if case.name == FUNCTION)
        times: dict[int, Times] = defaultdict(Times)
        for number in range(ROUNDS + 1):
            if number == 1:
                times.clear()
            for mb in SETTINGS:
                with share(mb / MB_OF_ONE_PROCESSOR) as processes:
                    start(case, times[mb], processes)
            print(f"round {number} of {ROUNDS}", file=sys.stderr, flush=True)
    return {"function": FUNCTION, "settings": {mb: _figures(mb, times[mb]) for mb in SETTINGS}}


def _figures(mb: int, times: Times) -> dict[str, float]:
    init, first, warm = (median(values, 4) for values in (times.wall, times.first, times.warm))
    return {
        "init_ms": round(init * 1000),
        "first_ms": round(first * 1000, 1),
        "warm_ms": round(warm * 1000, 2),
        "gb_seconds": round((init + first + CALLS * warm) * mb / 1024, 3),
    }


def main() -> None:
    """Print the table; write the figures and the plot."""
    results = measure()
    print(f"{'MB':>5} {'init':>9} {'first':>9} {'warm':>9}   GB-s of a start and {CALLS} calls")
    for mb, row in results["settings"].items():
        print(
            f"{mb:>5} {row['init_ms']:6.0f} ms {row['first_ms']:6.0f} ms {row['warm_ms']:6.1f} ms"
            f"   {row['gb_seconds']:.3f}"
        )
    print(write("memory", results))
    figure, chart = axes()
    rows = results["settings"]
    chart.plot(list(rows), [row["init_ms"] for row in rows.values()], "o-", color=OURS)
    chart.set_ylabel("init phase, ms", color=OURS)
    chart.set_xlabel("memorySize, MB")
    chart.set_ylim(0)
    cost = chart.twinx()
    cost.plot(list(rows), [row["gb_seconds"] for row in rows.values()], "s--", color="#718096")
    cost.set_ylabel(f"GB-seconds of a start and {CALLS} calls", color="#718096")
    cost.set_ylim(0)
    print(draw("memory", figure))


if __name__ == "__main__":
    main()
