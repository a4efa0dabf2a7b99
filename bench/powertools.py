"""What Powertools adds to a warm call: the real handlers, and the same without it, in turns.

What a handler calls is stood in for by its answer, so that only the edges are measured. Logs and
metrics are written, to nowhere.
"""

import contextlib
import importlib.util
import json
import os
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from bench import report
from bench.ground import SERVICES
from inventory.domain import Outcome
from inventory.use_cases import Answered
from orders.domain import Line, Order, Status
from orders.use_cases import Placed
from shared.envelope import read
from shared.ids import uuid7

CALLS, ROUNDS = 200, 15


@dataclass(frozen=True)
class Context:
    """What Lambda tells of an invocation."""

    function_name: str = "bench"
    memory_limit_in_mb: int = 512
    invoked_function_arn: str = "arn:aws:lambda:us-east-1:000000000000:function:bench"
    aws_request_id: str = "1b3c5d7e-0000-4000-8000-000000000000"

    def get_remaining_time_in_millis(self) -> int:
        """Plenty."""
        return 10_000


def _handler(service: str, name: str) -> Any:
    # Each logger takes hold of standard output once, as its module is imported.
    spec = importlib.util.find_spec(f"{service}.handlers.{name}")
    if not spec or not spec.loader:
        raise RuntimeError(f"{service} has no handler {name}")
    module = importlib.util.module_from_spec(spec)
    os.environ["POWERTOOLS_SERVICE_NAME"] = f"{service}-{name}"
    spec.loader.exec_module(module)
    return module


def _event(service: str, name: str) -> Any:
    return json.loads((SERVICES / service / f"tests/events/{name}.json").read_text())


def _pairs() -> dict[str, tuple[Callable[[], Any], Callable[[], Any]]]:
    """Return, by function, a call of the handler and one of the same without Powertools."""
    order = Order(uuid7(), "ada", "ada@example.com", "EUR", (Line("CUP", 2, 900),), 1800,
                  Status.PLACED, 1, datetime.now(UTC))  # fmt: skip
    context = Context()

    place = _handler("orders", "place_order")
    place.place_order = lambda _: Placed(order, replayed=False, saga_started=True)
    placing = _event("orders", "place_order")

    def place_bare() -> Any:
        request = place.place_order_request(place.http.body(placing), place.http.headers(placing))
        placed = place.place_order(request).order
        view = {"order_id": str(placed.id), "status": "PLACED", "total": placed.total,
                "currency": placed.currency}  # fmt: skip
        return place.http.json(202, view, {"Location": f"/orders/{placed.id}"})

    get = _handler("orders", "get_order")

    class Book:
        def get(self, _: object) -> Order:
            return order

    get.orders = Book()
    getting = {"pathParameters": {"order_id": str(order.id)}}

    def get_bare() -> Any:
        return get.http.json(200, get.http.order_view(get.orders.get(get.http.order_id(getting))))

    commands = _handler("inventory", "handle_commands")
    commands.handle_command = lambda _: Answered(Outcome("reserved"), in_time=True)
    reserving = _event("inventory", "reserve")

    def command_bare() -> Any:
        failures = []
        for record in reserving["Records"]:
            try:
                commands.handle_command(read(record["body"]))
            except Exception:  # noqa: BLE001 - what the real one does
                failures.append({"itemIdentifier": record["messageId"]})
        return {"batchItemFailures": failures}

    return {
        "placeOrder": (lambda: place.handler(placing, context), place_bare),
        "getOrder": (lambda: get.handler(getting, context), get_bare),
        "handleCommands, one message": (lambda: commands.handler(reserving, context), command_bare),
    }


def _microseconds(call: Callable[[], Any]) -> float:
    start = time.perf_counter()
    for _ in range(CALLS):
        call()
    return (time.perf_counter() - start) / CALLS * 1e6


def measure() -> dict[str, dict[str, float]]:
    """Print and return the microseconds of a warm call, with, without, and what is between."""
    os.environ.update(
        AWS_DEFAULT_REGION="us-east-1",
        DATABASE_URL="postgresql+psycopg://nobody@127.0.0.1:1/none",
        PLACE_ORDER_SAGA_ARN="arn:saga",
        EVENTS_TOPIC_ARN="arn:topic",
        POWERTOOLS_METRICS_NAMESPACE="bench",
    )
    results = {}
    with Path(os.devnull).open("w") as nowhere, contextlib.redirect_stdout(nowhere):
        pairs = _pairs()
        for name, (with_it, without) in pairs.items():
            times: tuple[list[float], list[float]] = ([], [])
            for call in (with_it, without):
                _microseconds(call)
            for at in range(ROUNDS):
                for side in (0, 1) if at % 2 else (1, 0):
                    times[side].append(_microseconds((with_it, without)[side]))
            results[name] = {
                "with": report.median(times[0], 0),
                "without": report.median(times[1], 0),
                "added": report.median([ours - bare for ours, bare in zip(*times, strict=True)], 0),
            }
    for name, each in results.items():
        print(
            f"{name}: Powertools adds {each['added']:.0f} µs to a warm call "
            f"({each['without']:.0f} → {each['with']:.0f})"
        )
    return results


if __name__ == "__main__":
    sys.exit(0 if measure() else 1)
