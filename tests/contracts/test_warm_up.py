"""Every function that a schedule pings answers before any work: it opens no connection at all.

Each handler runs in a process of its own, with the database and AWS at an address that counts who
knocks. A piece of real work knocks; a ping must not.
"""

import json
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from shared.warm_up import PING
from tests.support.templates import load

ROOT = Path(__file__).parents[2]
SERVICES = ("orders", "inventory", "notifications", "operations")

_CALL = """
import importlib, json, sys
from types import SimpleNamespace
module, event = sys.argv[1], json.loads(sys.argv[2])
context = SimpleNamespace(
    function_name="f", memory_limit_in_mb=512, aws_request_id="1",
    invoked_function_arn="arn:aws:lambda:us-east-1:000000000000:function:f",
    get_remaining_time_in_millis=lambda: 10_000,
)
handler = importlib.import_module(module).handler
try:
    answer = handler(event, context)
except Exception as error:
    answer = repr(error)
print("answer:" + json.dumps(answer))
"""

ORDER = "0199a3b2-7c41-7d52-8e5f-3a6b9c0d1e2f"
# One for each kind of trigger: a request, a step of the saga, a queue.
WORK = {
    "orders.getOrder": "orders/tests/events/get_order.json",
    "orders.confirmOrder": {"order_id": ORDER},
    "inventory.handleCommands": "inventory/tests/events/reserve.json",
}


def pinged() -> dict[str, dict[str, Any]]:
    """Return the functions of every service that a schedule pings, as `service.function`."""
    found = {}
    for service in SERVICES:
        described = load(ROOT / f"services/{service}/serverless.yml")
        for name, function in described["functions"].items():
            schedules = [
                event["schedule"] for event in function.get("events", []) if "schedule" in event
            ]
            if any("custom.pings." in str(each) or "warm_up" in str(each) for each in schedules):
                found[f"{service}.{name}"] = function
    return found


class Counter:
    """A server that hangs up on everyone, and counts them."""

    def __init__(self, listener: socket.socket) -> None:
        self.port: int = listener.getsockname()[1]
        self.knocks = 0
        self._listener = listener

    def serve(self) -> None:
        """Until the listener is closed."""
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            self.knocks += 1
            connection.close()


@contextmanager
def counter() -> Iterator[Counter]:
    """Listen on a free port until the block ends."""
    listener = socket.create_server(("127.0.0.1", 0))
    server = Counter(listener)
    thread = threading.Thread(target=server.serve)
    thread.start()
    try:
        yield server
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join()


def call(name: str, event: Any) -> tuple[Any, int]:
    """Call a function in a new process; return its answer, and how often it went out."""
    service = name.partition(".")[0]
    function = pinged()[name]
    with counter() as server:
        settings = {
            key: f"arn:aws:sns:us-east-1:000000000000:{key}" for key in function["environment"]
        } | {"DATABASE_URL": f"postgresql+psycopg://nobody@127.0.0.1:{server.port}/none"}
        aws = {
            "AWS_ENDPOINT_URL": f"http://127.0.0.1:{server.port}",
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_ACCESS_KEY_ID": "test",
            "AWS_SECRET_ACCESS_KEY": "test",
            "POWERTOOLS_METRICS_NAMESPACE": "test",
            "POWERTOOLS_SERVICE_NAME": service,
            "PATH": os.environ["PATH"],
            "PYTHONPATH": str(ROOT / f"services/{service}"),
        }
        module = function["handler"].removesuffix(".handler").replace("/", ".")
        done = subprocess.run(
            [sys.executable, "-c", _CALL, module, json.dumps(event)],
            env=settings | aws,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        (line,) = [line for line in done.stdout.splitlines() if line.startswith("answer:")]
        return json.loads(line.removeprefix("answer:")), server.knocks


def test_the_customers_whole_path_is_pinged() -> None:
    entrance = {"orders.placeOrder", "orders.getOrder"}
    saga = {"orders.chargePayment", "orders.confirmOrder", "inventory.handleCommands"}
    assert entrance | saga <= pinged().keys()


@pytest.mark.parametrize("name", sorted(pinged()))
def test_a_ping_returns_before_any_work_and_opens_no_connection(name: str) -> None:
    assert call(name, PING) == (None, 0)


@pytest.mark.parametrize("name", WORK)
def test_work_does_open_one_or_this_page_would_prove_nothing(name: str) -> None:
    event = WORK[name]
    if isinstance(event, str):
        event = json.loads((ROOT / "services" / event).read_text())
    _, knocks = call(name, event)
    assert knocks > 0
