"""Every function runs from its zip, on a real Postgres, and no part of the zip is there in vain."""

import fnmatch
import json
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar

import pytest

from tests.artifacts.budgets import BUDGETS
from tests.artifacts.packages import RUNTIME, SERVICES, deployed, environment, functions, package
from tests.support.bulk import fill
from tests.support.postgres import auditor_url, database, url_of

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
    "ListExecutions": {"executions": []},
    "DescribeTable": {"Table": {"CreationDateTime": 1.0}},
    "Scan": {"Items": []},
}
PRICE_LIST = b"sku,name,unit_price,currency,quantity\nPEN,Pen,150,EUR,7\nINK,Ink,none,EUR,1\n"
REFUSALS = {"DescribeExecution": "ExecutionDoesNotExist"}


class Edge(BaseHTTPRequestHandler):
    """AWS as these functions see it: it takes everything, and remembers one attribute."""

    generation: ClassVar[dict[str, str] | None] = None

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        operation = self.headers.get("X-Amz-Target", "").rpartition(".")[2]
        refusal = REFUSALS.get(operation)
        if refusal:
            answer = json.dumps({"__type": refusal}).encode()
        elif operation:
            answer = json.dumps(self._answer(operation, json.loads(body))).encode()
        else:
            answer = SENT if b"Action=SendEmail" in body else PUBLISHED
        self.send_response(400 if refusal else 200)
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def _answer(self, operation: str, asked: Any) -> Any:
        if operation == "BatchGetItem":
            return {"Responses": {key: [] for key in asked["RequestItems"]}, "UnprocessedKeys": {}}
        if operation == "UpdateItem":
            Edge.generation = asked.get("ExpressionAttributeValues", {}).get(":new")
        if operation == "GetItem" and Edge.generation:
            return {"Item": {"building": Edge.generation}}
        return ANSWERS.get(operation, {})

    def do_GET(self) -> None:
        """Answer as S3: with a price list of one good row and one faulty one."""
        self.send_response(200)
        self.send_header("Content-Length", str(len(PRICE_LIST)))
        self.end_headers()
        self.wfile.write(PRICE_LIST)

    def do_PUT(self) -> None:
        """Take an object, as a versioned bucket does."""
        length = self.headers["Content-Length"] or self.headers["X-Amz-Decoded-Content-Length"]
        self.rfile.read(int(length))
        self.send_response(200)
        self.send_header("x-amz-version-id", "v-2")
        self.send_header("Content-Length", "0")
        self.end_headers()

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
    catalogue = run("updateCatalogue", captured("orders", "update_catalogue"))
    assert len(catalogue["batchItemFailures"]) == 1  # one of the messages is poison
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
    assert [order["order_id"] for order in run("listParked", {})["parked"]] == [second["order_id"]]
    assert run("resumeOrder", second)["outcome"] == "resumed"
    assert run("closeOrder", second)["outcome"] == "closed"
    for name in ("getOrder", "getTimeline"):
        assert run(name, {"pathParameters": first})["statusCode"] == 200
    asked = {"queryStringParameters": {"customer_id": "ada"}}
    assert len(json.loads(run("listOrders", asked)["body"])["orders"]) == 2
    for name in ("getDocs", "getOpenapi"):
        assert run(name, {})["statusCode"] == 200
    run("cleanUp", {})
    run("relayOutbox", {})


def inventory(run: Run) -> None:
    assert run("migrate", {})["revision"] != "empty"
    product = {"sku": "MUG", "name": "Mug", "unit_price": 900, "currency": "EUR", "quantity": 3}
    received = run("receiveStock", {"delivery_id": "d-1", "products": [product]})
    assert received["units"] == 3
    told = {"bucket": {"name": "imports"}, "object": {"key": "incoming/a.csv", "versionId": "v-1"}}
    run("importStock", {"Records": [{"s3": told}]})
    imported = run("getImport", {"key": "incoming/a.csv", "version": "v-1"})["outcome"]
    assert (imported["units"], imported["rejected"]) == (7, 1)
    for name in ("reserve", "ship", "cancel_shipment", "release", "batch_with_poison"):
        answer = run("handleCommands", captured("inventory", name))
        assert len(answer["batchItemFailures"]) == (name == "batch_with_poison")
    run("cleanUp", {})
    run("relayOutbox", {})


def notifications(run: Run) -> None:
    assert run("sendEmail", captured("notifications", "email_five_facts")) == {
        "batchItemFailures": []
    }
    assert run("countSales", captured("notifications", "analytics_one_order")) == {
        "batchItemFailures": []
    }
    tables = environment(deployed(run.packed, "countDay"))
    change = {
        "eventName": "INSERT",
        "eventSource": "aws:dynamodb",
        "eventSourceARN": f"arn:aws:dynamodb:x:x:table/{tables['SALES_TABLE']}/stream/x",
        "dynamodb": {
            "SequenceNumber": "1",
            "NewImage": {"day": {"S": "2026-11-24"}, "sku": {"S": "PEN"}, "units": {"N": "3"}},
        },
    }
    assert run("countDay", {"Records": [change]}) == {"batchItemFailures": []}
    assert run("getStats", {"queryStringParameters": None})["statusCode"] == 200
    assert run("rebuildStats", {})["done"]
    assert run("reportSales", {})["outcome"] == "mailed"


def operations(run: Run) -> None:
    audited = run("audit", {"effects": 0})["findings"]
    # The orders' effects are made up, and their consumers' tables are empty.
    assert sum(finding["count"] for finding in audited) > 0
    # One was placed and one is parked, and no saga of theirs runs.
    assert run("reconcile", {})["repaired"] == 2


CALLS = {
    "orders": orders,
    "inventory": inventory,
    "notifications": notifications,
    "operations": operations,
}


def captured(service: str, name: str) -> Any:
    return json.loads((EVENTS / service / f"tests/events/{name}.json").read_text())


@contextmanager
def databases(service: str) -> Iterator[dict[str, str]]:
    """Return the settings that name a service's databases: empty, or with all kinds of orders."""
    if service != "operations":
        with database(None) as engine:
            yield {"DATABASE_URL": url_of(engine)}
        return
    with (
        database(EVENTS / "orders/orders/migrations") as orders,
        database(EVENTS / "inventory/inventory/migrations") as inventory,
    ):
        an_hour_ago = datetime.now(UTC) - timedelta(hours=1)
        gap = timedelta(seconds=1)
        fill(orders, inventory, count=20, skus=20, last=an_hour_ago, gap=gap)
        yield {
            "ORDERS_DATABASE_URL": auditor_url(orders),
            "INVENTORY_DATABASE_URL": auditor_url(inventory),
        }


@pytest.fixture(scope="module", params=SERVICES)
def run(request: pytest.FixtureRequest) -> Iterator[Run]:
    """Return a service whose every function has run from its zip."""
    service = str(request.param)
    with ThreadingHTTPServer(("127.0.0.1", 0), Edge) as aws, databases(service) as settings:
        threading.Thread(target=aws.serve_forever, daemon=True).start()
        run = Run(service, {"AWS_ENDPOINT_URL": f"http://127.0.0.1:{aws.server_port}", **settings})
        CALLS[service](run)
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
    assert not in_vain, "\n".join(sorted(in_vain))
