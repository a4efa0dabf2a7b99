"""Crash anything at any time, from a seed: `make crash-test ORDERS=200 SEED=…`.

    .venv/bin/python -m tests.chaos.crash --orders 200 [--seed 7]

While orders run, processes are killed, database connections ended, and calls failed, lost, delayed
or doubled. In the end every order is closed, its facts are told once each, and the books balance.
Writes .local/chaos/crash-<seed>.json. Exit status 1, and the command that replays it, if not.
"""

import argparse
import json
import random
import sys
import time
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import httpx
import sqlalchemy as sa
from rich.console import Console
from rich.text import Text

from tests.chaos.aftermath import Aftermath, reachable, settle
from tests.chaos.graph import ROOT, functions, saga
from tests.chaos.ground import WATCHER, Ground
from tests.chaos.schedule import HOT_SKUS, KINDS, TOKENS, Blow, Purchase, Schedule, make
from tests.support.cloud import Cloud
from tests.support.shop import Customer, order_body

FOLDER = ROOT / ".local/chaos"
CLOSED_WITHIN = 420
"""Seconds after the last blow: a lost command comes again after a minute, and each step retries."""
_CALL_WITHIN = 180
_PARALLEL = 16
_ANSWERED = (httpx.codes.ACCEPTED, httpx.codes.CONFLICT)

_UNITS = 100_000
_BIG = 600  # two lines of it are more than one shipment takes

_END_CONNECTIONS = sa.text(
    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid = ANY(:pids)"
)
_CONNECTIONS = sa.text(
    "SELECT pid FROM pg_stat_activity WHERE datname = :database AND application_name <> :watcher"
    " AND backend_type = 'client backend' ORDER BY pid"
)


@dataclass
class Bought:
    """What a buyer did, and what came of it."""

    kind: str
    at: float
    customer_id: str
    order_id: str = ""
    tries: int = 0  # requests until the order was accepted
    cancel_answer: int | None = None
    status: str = ""
    reason: str | None = None
    resumed: int = 0
    wrong: list[str] = field(default_factory=list)


class Buyers:
    """Clients that try again: every request carries a key, so that nothing is bought twice."""

    def __init__(self, ground: Ground, hot: Sequence[str], rare: str, big: Sequence[str]) -> None:
        self._hot, self._rare, self._big = hot, rare, big
        self._http = httpx.Client(
            base_url=ground.cloud.api_url,
            timeout=40,
            limits=httpx.Limits(max_connections=2 * _PARALLEL),
        )

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def buy(self, purchase: Purchase) -> Bought:
        """Place an order, and cancel it if that is planned."""
        customer = Customer()
        bought = Bought(purchase.kind, purchase.at, customer.id)
        body = order_body(
            self._lines(purchase), customer, token=TOKENS.get(purchase.kind, "tok_visa")
        )

        def place() -> httpx.Response:
            bought.tries += 1
            return self._http.post("/orders", json=body, headers={"Idempotency-Key": customer.id})

        try:
            answer = _until_answered(place)
            assert answer.status_code == httpx.codes.ACCEPTED, answer.text
            bought.order_id = answer.json()["order_id"]
            if purchase.cancel_after is not None:
                time.sleep(purchase.cancel_after)  # the moment is the point, not a wait
                path = f"/orders/{bought.order_id}/cancel"
                bought.cancel_answer = _until_answered(lambda: self._http.post(path)).status_code
        except Exception as error:  # noqa: BLE001 - whatever it is, it is this buyer's result
            bought.wrong.append(f"{type(error).__name__}: {error}")
        return bought

    def _lines(self, purchase: Purchase) -> dict[str, int]:
        match purchase.kind:
            case "out of stock":
                return {self._hot[purchase.shelf]: 1, self._rare: purchase.quantity + 1}
            case "oversize":
                return dict.fromkeys(self._big, _BIG)
            case _:
                return {self._hot[purchase.shelf]: purchase.quantity}


def _until_answered(call: Callable[[], httpx.Response]) -> httpx.Response:
    """Repeat a call as a client does, until it is answered; an answer of 5xx is none."""
    deadline = time.monotonic() + _CALL_WITHIN
    while True:
        try:
            answer = call()
            if answer.status_code < httpx.codes.INTERNAL_SERVER_ERROR:
                return answer
            what = f"{answer.status_code} {answer.text[:200]}"
        except httpx.TransportError as error:
            what = f"{type(error).__name__}: {error}"
        if time.monotonic() > deadline:
            raise AssertionError(f"no answer within {_CALL_WITHIN} s; at last {what}")
        time.sleep(0.3)


class Breaker:
    """Strikes blows."""

    def __init__(self, ground: Ground) -> None:
        self._ground = ground
        self._server = sa.create_engine(
            ground.cloud.database_url("postgres"),
            isolation_level="AUTOCOMMIT",
            poolclass=sa.NullPool,
            connect_args={"application_name": WATCHER},
        )

    def strike(self, blow: Blow) -> int:
        """Do it; return how many processes or connections it ended, or rules it made."""
        match blow.kind:
            case "kill":
                return self._kill(blow)
            case "disconnect":
                return self._disconnect(blow)
            case _:
                self._ground.faults.add(blow.rule)
                return 1

    def _kill(self, blow: Blow) -> int:
        alive = [
            environment["id"]
            for environment in self._ground.faults.environments()
            if environment["function"] == blow.function
        ]
        return int(bool(alive) and self._ground.faults.kill(alive[int(blow.share * len(alive))]))

    def _disconnect(self, blow: Blow) -> int:
        with self._server.connect() as connection:
            pids = list(
                connection.scalars(_CONNECTIONS, {"database": blow.function, "watcher": WATCHER})
            )
            if pids and not blow.all:
                pids = [pids[int(blow.share * len(pids))]]
            return sum(connection.scalars(_END_CONNECTIONS, {"pids": pids}))


@dataclass
class Story:
    """One crash test."""

    schedule: Schedule
    bought: list[Bought] = field(default_factory=list)
    struck: Counter[str] = field(default_factory=Counter)
    after: Aftermath = field(default_factory=Aftermath)
    wrong: list[str] = field(default_factory=list)
    seconds: float = 0

    @property
    def failures(self) -> list[str]:
        """Everything that is not as it must be."""
        orders = [
            f"order {bought.order_id or 'not placed'} ({bought.kind}): {line}"
            for bought in self.bought
            for line in bought.wrong
        ]
        return [*orders, *self.wrong, *self.after.wrong]


def run(schedule: Schedule, ground: Ground, say: Callable[[str], None]) -> Story:
    """Do what the schedule says, let everything end, and compare."""
    story, began = Story(schedule), time.monotonic()
    skus = ground.shelves(HOT_SKUS + 2, units=_UNITS)
    (rare,) = ground.shelves(1, units=1)
    buyers = Buyers(ground, skus[:HOT_SKUS], rare, skus[HOT_SKUS:])
    try:
        _storm(story, ground, buyers, say)
        ground.faults.clear()
        say("the storm is over: waiting until every order is closed")
        _close_all(story, ground, say)
        story.after = settle(ground, say)
        _compare(story, ground)
    finally:
        ground.faults.clear()
        buyers.close()
    story.seconds = round(time.monotonic() - began, 1)
    return story


def _storm(story: Story, ground: Ground, buyers: Buyers, say: Callable[[str], None]) -> None:
    """Let purchases and blows fall when they must."""
    breaker, start = Breaker(ground), time.monotonic()
    events: list[Purchase | Blow] = sorted(
        [*story.schedule.purchases, *story.schedule.blows], key=lambda event: event.at
    )
    bought: list[Future[Bought]] = []
    told = start
    with ThreadPoolExecutor(max_workers=_PARALLEL, thread_name_prefix="buyer") as pool:
        for event in events:
            time.sleep(max(0, start + event.at - time.monotonic()))
            if isinstance(event, Purchase):
                bought.append(pool.submit(buyers.buy, event))
            else:
                story.struck[event.kind] += breaker.strike(event)
            if time.monotonic() - told > 5:
                told = time.monotonic()
                done = sum(future.done() for future in bought)
                say(f"{done} orders placed; struck so far: {dict(story.struck)}")
        say("waiting for the last buyers")
    # What a rule did shows only in its hits.
    hits = Counter(
        f"{fault['rule']['do']} at {fault['rule']['at']}"
        for fault in ground.faults.all().values()
        if fault["hits"]
    )
    story.struck.update(hits)
    story.bought = [future.result() for future in bought]


def _close_all(story: Story, ground: Ground, say: Callable[[str], None]) -> None:
    """Wait for the end of every order, and resume those that an operator must."""
    by_id = {bought.order_id: bought for bought in story.bought if bought.order_id}
    deadline, told = time.monotonic() + CLOSED_WITHIN, 0.0
    while True:
        seen = ground.orders(by_id)
        for order_id, order in seen.items():
            by_id[order_id].status, by_id[order_id].reason = order.status, order.reason
            if order.parked_at:
                by_id[order_id].resumed += ground.resume(order_id) == "resumed"
        waiting = [
            order_id
            for order_id, order in seen.items()
            if order.status in ("PLACED", "PARKED") or order.parked_at
        ]
        if not waiting:
            return
        if time.monotonic() > deadline:
            for order_id in waiting:
                by_id[order_id].wrong.append(f"still {seen[order_id].status}")
            return
        if time.monotonic() - told > 10:
            told = time.monotonic()
            say(f"{len(waiting)} orders are open")
        time.sleep(1)


def _compare(story: Story, ground: Ground) -> None:
    deadline = time.monotonic() + 90
    for bought in story.bought:
        if not bought.order_id:
            continue
        if bought.status not in KINDS[bought.kind][1]:
            bought.wrong.append(f"ended {bought.status} ({bought.reason})")
        told = bought.cancel_answer
        if (told == httpx.codes.ACCEPTED) != (bought.status == "CANCELLED"):
            bought.wrong.append(f"ended {bought.status}, and its cancellation was answered {told}")
        if told is not None and told not in _ANSWERED:
            bought.wrong.append(f"its cancellation was answered {told}")
        wanted = {"order.placed.v1": 1, f"order.{bought.status.lower()}.v1": 1}
        while (facts := _without_parked(ground, bought.order_id)) != wanted:
            if time.monotonic() > deadline:
                bought.wrong.append(f"facts {facts}, should be {wanted}")
                break
            time.sleep(0.5)
        orders = ground.shop.get("/orders", customer_id=bought.customer_id)["orders"]
        if len(orders) != 1:
            bought.wrong.append(
                f"asked {bought.tries} times, the customer has {len(orders)} orders"
            )
        if (state := ground.execution(bought.order_id)) != "SUCCEEDED":
            bought.wrong.append(f"its saga is {state}")


def _without_parked(ground: Ground, order_id: str) -> dict[str, int]:
    # Parked is told once at most; whether, depends on the blows.
    facts = ground.facts.of(order_id)
    if facts.get("order.parked.v1") == 1:
        del facts["order.parked.v1"]
    return facts


def report(story: Story) -> dict[str, Any]:
    """Return all that was seen, as data."""
    ends = Counter(f"{bought.kind}: {bought.status}" for bought in story.bought)
    return {
        "seed": story.schedule.seed,
        "orders": len(story.bought),
        "seconds": story.seconds,
        "struck": dict(story.struck),
        "ends": dict(sorted(ends.items())),
        "resumed": sum(bought.resumed for bought in story.bought),
        "repeated_requests": sum(bought.tries - 1 for bought in story.bought),
        "aftermath": asdict(story.after),
        "failures": story.failures,
        "bought": [asdict(bought) for bought in story.bought],
        "schedule": asdict(story.schedule),
    }


def main(arguments: Sequence[str]) -> int:
    """Run, print, write; return the exit status."""
    parser = argparse.ArgumentParser(prog="crash-test", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--orders", type=int, default=200)
    parser.add_argument("--seed", type=int, help="replays the schedule of a seed")
    parser.add_argument("--folder", type=Path, default=FOLDER)
    options = parser.parse_args(arguments)
    if options.orders < 1:
        parser.error("--orders must be at least 1")
    seed = options.seed
    if seed is None:
        seed = random.SystemRandom().randrange(1_000_000)
    console = Console(width=None if sys.stdout.isatty() else 120, highlight=False)
    console.print(f"seed {seed}, {options.orders} orders")
    cloud = Cloud.from_environment()
    if missing := reachable(cloud):
        console.print(Text(f"✗ {missing}", "bold red"))
        return 2
    began = time.monotonic()

    def say(text: str) -> None:
        console.print(f"{time.monotonic() - began:5.0f} s: {text}", soft_wrap=True)

    with Ground(cloud, saga()) as ground:
        ground.faults.clear()
        story = run(make(seed, options.orders, functions()), ground, say)
    content = report(story)
    options.folder.mkdir(parents=True, exist_ok=True)
    file = options.folder / f"crash-{seed}.json"
    file.write_text(json.dumps(content, indent=1) + "\n")
    for name in ("struck", "ends"):
        console.print(f"{name}: {content[name]}", soft_wrap=True)
    console.print(
        f"{content['orders']} orders in {story.seconds:.0f} s; {content['resumed']} parked and "
        f"resumed, {content['repeated_requests']} requests repeated, "
        f"{sum(story.after.dead_letters.values())} dead letters redriven; {file}",
        soft_wrap=True,
    )
    for line in story.failures:
        console.print(Text(f"✗ {line}", "bold red"), soft_wrap=True)
    if story.failures:
        console.print(
            Text(
                f"seed {seed} fails; replay it: make crash-test ORDERS={options.orders} SEED={seed}"
            )
        )
        return 1
    console.print(Text("✓ every order is closed, and the books balance", "bold green"))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
