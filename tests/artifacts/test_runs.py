"""Every function runs from its zip, on a real Postgres, and no part of the zip is there in vain."""

import fnmatch
import json
import subprocess
import sys
import threading
import uuid
from collections.abc import Iterator
from functools import cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from tests.artifacts.budgets import BUDGETS
from tests.artifacts.packages import RUNTIME, SERVICES, deployed, environment, functions, package
from tests.support.postgres import database, url_of

PROGRAM = Path(__file__).with_name("import_handler.py")
EVENTS = Path(__file__).parents[2] / "services"
PUBLISHED = (
    b'<PublishBatchResponse xmlns="http://sns.amazonaws.com/doc/2010-03-31/">'
    b"<PublishBatchResult><Successful/><Failed/></PublishBatchResult></PublishBatchResponse>"
)
SENT = (
    b'<SendEmailResponse xmlns="http://ses.amazonaws.com/doc/2010-12-01/"><SendEmailResult>'
    b"<MessageId>m</MessageId></SendEmailResult></SendEmailResponse>"
)
ANSWERS = {
    "StartExecution": {"executionArn": "arn", "startDate": 1.0},
    "GetExecutionHistory": {"events": []},
}


class Edge(BaseHTTPRequestHandler):
    """AWS as these functions see it: it takes everything."""

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        operation = self.headers.get("X-Amz-Target", "").rpartition(".")[2]
        if operation:
            answer = json.dumps(ANSWERS.get(operation, {})).encode()
        else:
            answer = SENT if b"Action=SendEmail" in body else PUBLISHED
        self.send_response(200)
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
        """Say nothing."""


class Run:
    """The functions of one service, called one by one from the zip."""

    def __init__(self, service: str, settings: dict[str, str]) -> None:
        self.packed = package(service)
        self.called: set[str] = set()
        self.files: set[str] = set()
        self._settings = settings

    def __call__(self, name: str, event: Any) -> Any:
        """Call a function in a process of its own; return its answer."""
        function = deployed(self.packed, name)
        done = subprocess.run(
            [
                *(str(RUNTIME), "-I", "-B", str(PROGRAM), str(self.packed.code)),
                *(function["Handler"], json.dumps(event)),
            ],
            env=environment(function) | self._settings,
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )
        assert done.returncode == 0, f"{name}: {done.stderr}"
        found = json.loads(done.stdout.splitlines()[-1])
        self.called.add(name)
        self.files.update(found["files"])
        return found["answer"]


def orders(run: Run) -> None:
    assert run("migrate", {})["revision"] != "empty"
    assert run("updateCatalogue", captured("orders", "update_catalogue"))["batchItemFailures"] == []
    (product, *_) = json.loads(run("listProducts", captured("orders", "list_products"))["body"])[
        "products"
    ]

    def place() -> dict[str, str]:
        wanted = {
            "customer_id": "ada",
            "email": "ada@example.org",
            "currency": product["currency"],
            "lines": [{"sku": product["sku"], "quantity": 1}],
            "payment_token": "tok_visa",
        }
        answer = run("placeOrder", {"headers": {}, "body": json.dumps(wanted)})
        assert answer["statusCode"] == 202
        return {"order_id": json.loads(answer["body"])["order_id"]}

    first, second = place(), place()
    paid = {"amount": product["unit_price"], "currency": "EUR", "payment_token": "tok_visa"}
    assert run("chargePayment", {**first, **paid})["outcome"] == "charged"
    assert run("confirmOrder", first)["outcome"] == "confirmed"
    assert run("cancelOrder", {"pathParameters": second})["statusCode"] == 202
    assert run("withdrawConfirmation", second)["outcome"] == "withdrawn"
    assert run("refundPayment", second)["outcome"] == "refunded"
    fault = {"Error": "States.Timeout", "Cause": "late"}
    parked = {"step": "Release Stock", "fault": fault, "task_token": "t"}
    run("parkOrder", {**second, **parked})
    assert run("resumeOrder", second)["outcome"] == "resumed"
    assert run("closeOrder", second)["outcome"] == "closed"
    for name in ("getOrder", "getTimeline"):
        assert run(name, {"pathParameters": first})["statusCode"] == 200
    asked = {"queryStringParameters": {"customer_id": "ada"}}
    assert len(json.loads(run("listOrders", asked)["body"])["orders"]) == 2
    run("relayOutbox", {})


def inventory(run: Run) -> None:
    assert run("migrate", {})["revision"] != "empty"
    product = {"sku": "MUG", "name": "Mug", "unit_price": 900, "currency": "EUR", "quantity": 3}
    received = run("receiveStock", {"delivery_id": "d-1", "products": [product]})
    assert received["units"] == 3
    for name in ("reserve", "ship", "cancel_shipment", "release", "batch_with_poison"):
        answer = run("handleCommands", captured("inventory", name))
        assert len(answer["batchItemFailures"]) == (name == "batch_with_poison")
    run("relayOutbox", {})


def notifications(run: Run) -> None:
    assert run("sendEmail", captured("notifications", "email_five_facts")) == {
        "batchItemFailures": []
    }
    assert run("countSales", captured("notifications", "analytics_one_order")) == {
        "batchItemFailures": []
    }


CALLS = {"orders": orders, "inventory": inventory, "notifications": notifications}


def captured(service: str, name: str) -> Any:
    return json.loads((EVENTS / service / f"tests/events/{name}.json").read_text())


@pytest.fixture(scope="module", params=SERVICES)
def run(request: pytest.FixtureRequest) -> Iterator[Run]:
    """Return a service whose every function has run from its zip."""
    with ThreadingHTTPServer(("127.0.0.1", 0), Edge) as aws, database(None) as engine:
        threading.Thread(target=aws.serve_forever, daemon=True).start()
        settings = {
            "AWS_ENDPOINT_URL": f"http://127.0.0.1:{aws.server_port}",
            "DATABASE_URL": url_of(engine),
        }
        run = Run(str(request.param), settings)
        CALLS[run.packed.name](run)
        yield run
        aws.shutdown()


def test_every_function_runs_from_its_zip(run: Run) -> None:
    assert run.called == functions(run.packed.name).keys()


def test_the_zip_holds_nothing_that_no_function_loads(run: Run) -> None:
    """What is there without being loaded has its reason in budgets.toml."""
    code = run.packed.code
    bundled = {
        path.relative_to(code).as_posix()
        for path in code.rglob("*")
        if "__pycache__" not in path.parts
        if path.suffix in {".py", ".pyc"} or ".so" in path.suffixes
    }
    reasons = BUDGETS["loaded_by_none"]
    in_vain = {
        file
        for file in bundled - run.files
        if not any(fnmatch.fnmatchcase(file, pattern) for pattern in reasons)
    }
    assert sorted(in_vain) == []
