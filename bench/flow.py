"""Orders a second, and placed → closed, beside an empty saga on the same cloud in the same run.

    make up deploy bench-flow [IN_FLIGHT="1 10 50"] [FAULTS="0.01 0.1"] [SEED=7]

So many customers order at the same time; each places the next order when his last is closed. The
two sides take turns. Closed is when the saga has ended, by its own clock: nobody polls the API.
Then the same with faults, and after each run the audit. Evidence for what dominates: the CPU time
of LocalStack, of the functions' processes, of Postgres and of this program, for each order.
"""

import argparse
import random
import sys
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field
from itertools import count
from typing import Any, Self

import httpx
import psutil
from rich.console import Console
from rich.table import Table

from bench import empty_saga, report
from tests.chaos.faults import Faults, Rule
from tests.support.audit import silent
from tests.support.cloud import Cloud
from tests.support.shop import Customer, Shop, order_body

GOAL_THROUGHPUT, GOAL_P99 = 0.6, 1.5
ROUNDS = 3
ORDERS_PER_ROUND = {1: 8, 10: 40, 50: 100}
FAULTY_IN_FLIGHT, FAULTY_ORDERS = 10, 100
LOOK_SECONDS = 0.1
PATIENCE = 300
# On one busy process the mails of 600 orders take minutes.
AUDIT_PATIENCE = 900
STOCK = 1_000_000

Place = Callable[[], str]


@dataclass
class Run:
    """What one side did: how long each order took, in which time, and with whose CPU."""

    seconds: list[float] = field(default_factory=list)
    wall: float = 0
    cpu: dict[str, float] = field(default_factory=dict)

    def add(self, other: "Run") -> None:
        """Take another round in."""
        self.seconds += other.seconds
        self.wall += other.wall
        for name, each in other.cpu.items():
            self.cpu[name] = self.cpu.get(name, 0) + each

    def figures(self) -> dict[str, Any]:
        """Return what is shown."""
        return {
            "orders": len(self.seconds),
            "per_second": round(len(self.seconds) / self.wall, 2),
            **{f"p{at}": round(report.percentile(self.seconds, at), 2) for at in (50, 95, 99)},
            "cpu_ms_per_order": {
                name: round(each * 1000 / len(self.seconds), 1) for name, each in self.cpu.items()
            },
        }


class Endings:
    """Tells a customer when his saga has ended: one list for all, ten times a second."""

    def __init__(self, cloud: Cloud, saga: str) -> None:
        self._machine = cloud.client("stepfunctions")
        self._saga = saga
        self._waiting: dict[str, tuple[float, threading.Event]] = {}
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def wait(self, order_id: str) -> float:
        """Return when the order's saga ended, in seconds since the epoch."""
        arn = self._saga.replace(":stateMachine:", ":execution:") + f":{order_id}"
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            gone = threading.Event()
            with self._lock:
                self._waiting[order_id] = (time.monotonic(), gone)
            gone.wait(deadline - time.monotonic())
            try:
                execution = self._machine.describe_execution(executionArn=arn)
            except self._machine.exceptions.ExecutionDoesNotExist:
                # The relay will start it; seen missing, it is not there yet.
                time.sleep(LOOK_SECONDS)
                continue
            if execution["status"] == "SUCCEEDED":
                return float(execution["stopDate"].timestamp())
            if execution["status"] != "RUNNING":
                raise AssertionError(f"the saga of {order_id} is {execution['status']}")
        raise AssertionError(f"the saga of {order_id} has not ended within {PATIENCE} s")

    def _look(self) -> None:
        while not self._stop.wait(LOOK_SECONDS):
            began = time.monotonic()
            try:
                running = self._running()
            except Exception as error:  # noqa: BLE001 (the next look may do better, and time is bounded)
                print(f"could not list the running sagas: {error}", file=sys.stderr)
                continue
            with self._lock:
                for order_id, (since, gone) in list(self._waiting.items()):
                    # A list that was asked for before the saga began says nothing of it.
                    if since < began and order_id not in running:
                        del self._waiting[order_id]
                        gone.set()

    def _running(self) -> set[str]:
        pages = self._machine.get_paginator("list_executions").paginate(
            stateMachineArn=self._saga, statusFilter="RUNNING"
        )
        return {each["name"] for page in pages for each in page["executions"]}


def run(endings: Endings, place: Place, *, orders: int, in_flight: int, cpu: "Cpu") -> Run:
    """Place so many orders, never more than `in_flight` at a time; return what came of it."""
    numbers = count()
    seconds: list[float] = []

    def customer() -> None:
        while next(numbers) < orders:
            start = time.time()
            order_id = place()
            seconds.append(endings.wait(order_id) - start)

    used, start = cpu.now(), time.perf_counter()
    with ThreadPoolExecutor(in_flight) as pool:
        for done in [pool.submit(customer) for _ in range(in_flight)]:
            done.result()
    return Run(seconds, time.perf_counter() - start, cpu.since(used))


class Cpu:
    """CPU seconds of all that takes part, by who."""

    def __init__(self, cloud: Cloud) -> None:
        self._faults = Faults(cloud)
        listeners = {
            connection.laddr.port: psutil.Process(connection.pid)
            for connection in psutil.net_connections("tcp")
            if connection.status == psutil.CONN_LISTEN and connection.laddr and connection.pid
        }
        self._localstack = listeners[cloud.port]
        self._postgres = listeners[cloud.postgres_port]

    def now(self) -> dict[str, dict[int, float]]:
        """Return the seconds of each process so far."""
        return {
            "LocalStack": _seconds([self._localstack]),
            "functions": _seconds(
                [
                    psutil.Process(each["pid"])
                    for each in self._faults.environments()
                    if psutil.pid_exists(each["pid"])
                ]
            ),
            "Postgres": _seconds([self._postgres, *self._postgres.children(recursive=True)]),
            "this bench": _seconds([psutil.Process()]),
        }

    def since(self, before: dict[str, dict[int, float]]) -> dict[str, float]:
        """Return the seconds used since; of a process that has ended meanwhile, none."""
        return {
            name: sum(value - before[name].get(pid, 0) for pid, value in each.items())
            for name, each in self.now().items()
        }


def _seconds(processes: Sequence[psutil.Process]) -> dict[int, float]:
    found = {}
    for process in processes:
        try:
            times = process.cpu_times()
        except psutil.NoSuchProcess:
            continue
        found[process.pid] = times.user + times.system
    return found


class Sides:
    """The real orders and the empty ones."""

    def __init__(self, cloud: Cloud) -> None:
        self.shop = Shop(cloud)
        self.sku = self.shop.stock(STOCK)
        limits = httpx.Limits(max_connections=None)
        self._http = httpx.Client(timeout=120, limits=limits)
        self._real = f"{cloud.api_url}/orders"
        self._empty = empty_saga.url(cloud)

    def real(self) -> str:
        """Place a real order; return its id."""
        return self._post(self._real, self.sku)

    def empty(self) -> str:
        """Place an empty one."""
        return self._post(self._empty, self.sku)

    def of(self, sku: str) -> str:
        """Place a real order of another product."""
        return self._post(self._real, sku)

    def _post(self, url: str, sku: str) -> str:
        answer = self._http.post(url, json=order_body({sku: 1}, Customer()))
        if answer.status_code != httpx.codes.ACCEPTED:
            raise AssertionError(f"{url}: {answer.status_code} {answer.text}")
        order_id: str = answer.json()["order_id"]
        return order_id


def beside_the_empty_saga(
    cloud: Cloud, sides: Sides, levels: Sequence[int], cpu: Cpu, console: Console
) -> dict[str, Any]:
    """Measure both sides in turns at each level; return the figures by level."""
    found: dict[str, Any] = {}
    with ExitStack() as stack:
        stack.enter_context(empty_saga.deployed(cloud))
        real = stack.enter_context(Endings(cloud, empty_saga.REAL_SAGA))
        empty = stack.enter_context(Endings(cloud, empty_saga.SAGA))
        for level in levels:
            both = {"ours": Run(), "empty": Run()}
            turns = [("ours", real, sides.real), ("empty", empty, sides.empty)]
            for _, endings, place in turns:  # the cold starts, which are another question
                run(endings, place, orders=max(8, 3 * level), in_flight=level, cpu=cpu)
            for number in range(ROUNDS):
                for name, endings, place in turns[:: 1 if number % 2 else -1]:
                    orders = ORDERS_PER_ROUND.get(level, 4 * level)
                    both[name].add(run(endings, place, orders=orders, in_flight=level, cpu=cpu))
            figures = {name: each.figures() for name, each in both.items()}
            found[str(level)] = figures | {
                "throughput_ratio": report.ratio(
                    figures["ours"]["per_second"], figures["empty"]["per_second"]
                ),
                "p99_ratio": report.ratio(figures["ours"]["p99"], figures["empty"]["p99"]),
            }
            console.print(f"{level} in flight: {found[str(level)]}", markup=False)
    return found


STEPS = {
    "Reserve Stock": ("inventory-local-handleCommands", "inventory.reserve.v1"),
    "Charge Payment": ("orders-local-chargePayment", None),
    "Create Shipment": ("inventory-local-handleCommands", "inventory.ship.v1"),
    "Confirm Order": ("orders-local-confirmOrder", None),
}


def fault_at(step: str, order_id: str, sku: str, chance: random.Random) -> Rule:
    """Return a rule that makes this order's step fail once, before or after its effect."""
    function, type_ = STEPS[step]
    if step == "Reserve Stock":
        # Sent before anybody knows the order's id: known by a product of its own.
        where = {"type": type_, "data.lines.0.sku": sku}
    else:
        where = {"subject": order_id, "type": type_} if type_ else {"order_id": order_id}
    return {
        "function": function,
        "where": where,
        "at": chance.choice(["request", "response"]),
        "do": chance.choice(["error", "kill"]),
        "times": 1,
    }


def with_faults(cloud: Cloud, sides: Sides, share: float, *, seed: int, cpu: Cpu) -> dict[str, Any]:
    """Measure real orders of which this share meets one fault; then ask the audit."""
    chance = random.Random(f"{seed} {share}")  # noqa: S311 (a seed is the point)
    chosen = chance.sample(range(FAULTY_ORDERS), round(FAULTY_ORDERS * share))
    plan = {number: chance.choice(list(STEPS)) for number in chosen}
    skus = {n: sides.shop.stock(10) for n, step in plan.items() if step == "Reserve Stock"}
    faults = Faults(cloud)
    numbers, lock, rules = count(), threading.Lock(), list[str]()

    def place() -> str:
        number = next(numbers)
        step, sku = plan.get(number), skus.get(number, sides.sku)
        with lock:  # one seed, one sequence
            early = fault_at(step, "", sku, chance) if step == "Reserve Stock" else None
        if early:
            rules.append(faults.add(early))
        order_id = sides.of(sku)
        if step and not early:
            with lock:
                rule = fault_at(step, order_id, sku, chance)
            rules.append(faults.add(rule))
        return order_id

    try:
        with Endings(cloud, empty_saga.REAL_SAGA) as endings:
            done = run(endings, place, orders=FAULTY_ORDERS, in_flight=FAULTY_IN_FLIGHT, cpu=cpu)
        known = faults.all()
        hits = sum(known[rule]["hits"] for rule in rules)
    finally:
        for rule in rules:
            faults.remove(rule)
        faults.close()
    if plan and not hits:
        raise AssertionError(f"{len(plan)} faults were planned and none happened")
    return done.figures() | {
        "faults": hits,
        "planned": len(plan),
        "settled_s": settled(cloud),
    }


def settled(cloud: Cloud) -> int:
    """Wait until the audit finds nothing, and return how many seconds that took.

    Mails and figures come after their orders. What is still missing at the end is an error.
    """
    start = time.monotonic()
    silent(cloud, within=AUDIT_PATIENCE)
    return round(time.monotonic() - start)


def show(console: Console, results: dict[str, Any]) -> None:
    """Print the figures, and the goals."""
    table = Table(title="Placed → closed, seconds", title_justify="left")
    for heading in (
        "in flight",
        "side",
        "orders",
        "a second",
        "p50",
        "p95",
        "p99",
        "CPU ms an order",
    ):
        table.add_column(heading)
    rows = [
        (level, name, each[name])
        for level, each in results["levels"].items()
        for name in ("ours", "empty")
    ]
    rows += [
        (str(FAULTY_IN_FLIGHT), f"ours, {float(share):.0%} faults", each)
        for share, each in results["faults"].items()
    ]
    for level, name, each in rows:
        cpu = ", ".join(f"{who} {ms:.0f}" for who, ms in each["cpu_ms_per_order"].items())
        figures = [f"{each[key]:g}" for key in ("orders", "per_second", "p50", "p95", "p99")]
        table.add_row(level, name, *figures, cpu)
    console.print(table)
    for level, each in results["levels"].items():
        console.print(
            f"{level} in flight: throughput {each['throughput_ratio']} of the empty saga's "
            f"(goal ≥ {GOAL_THROUGHPUT}), p99 {each['p99_ratio']} times its (goal ≤ {GOAL_P99})"
        )
    if results["levels"]:
        console.print(f"{results['settled_s']} s later the audit found nothing")
    for share, each in results["faults"].items():
        console.print(
            f"{float(share):.0%} faults: {each['faults']} of {each['orders']} orders met one "
            f"({each['planned']} planned); {each['settled_s']} s later the audit found nothing"
        )


def draw(results: dict[str, Any]) -> None:
    """Draw the times of both sides at each level."""
    figure, plot = report.axes(8, 4)
    for name, colour, label in (
        ("ours", report.OURS, "an order"),
        ("empty", "0.5", "an empty saga of the same shape"),
    ):
        levels = list(results["levels"])
        for key, style in (("p50", "-"), ("p99", "--")):
            values = [results["levels"][level][name][key] for level in levels]
            plot.plot(levels, values, style, marker="o", color=colour, label=f"{label}, {key}")
    plot.set(xlabel="orders in flight", ylabel="placed → closed, s", ylim=(0, None))
    plot.legend(frameon=False)
    report.draw("flow", figure)


def main(arguments: Sequence[str]) -> None:
    """Run all of it, on the cloud that the environment names."""
    parser = argparse.ArgumentParser(description="Time the whole flow.")
    parser.add_argument("--in-flight", nargs="*", type=int, default=[1, 10, 50])
    parser.add_argument("--faults", nargs="*", type=float, default=[0.01, 0.1])
    parser.add_argument("--seed", type=int, default=7)
    asked = parser.parse_args(arguments)
    console = Console(width=None if sys.stdout.isatty() else 140, highlight=False)
    cloud = Cloud.from_environment()
    if fault := cloud.fault():
        sys.exit(fault)
    cpu, sides = Cpu(cloud), Sides(cloud)
    results: dict[str, Any] = {"levels": {}, "faults": {}, "seed": asked.seed}
    if asked.in_flight:
        results["levels"] = beside_the_empty_saga(cloud, sides, asked.in_flight, cpu, console)
        results["settled_s"] = settled(cloud)
    for share in asked.faults:
        results["faults"][str(share)] = with_faults(cloud, sides, share, seed=asked.seed, cpu=cpu)
    show(console, results)
    report.write("flow", results)
    if asked.in_flight:
        draw(results)


if __name__ == "__main__":
    main(sys.argv[1:])
