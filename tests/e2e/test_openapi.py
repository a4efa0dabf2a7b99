"""The API that runs is the one that its document describes: nothing more, nothing else.

Schemathesis makes requests of the document, good ones and bad ones, and holds every answer against
it. `make fuzz-api` is the same for longer, and from another seed each time.
"""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import httpx
import jsonschema
import pytest

from tests.chaos.ground import Ground
from tests.support.shop import Answer, Customer, Shop

ROOT = Path(__file__).parents[2]
SOURCE = ROOT / "services/orders/openapi.json"
DOCUMENT: Answer = json.loads(SOURCE.read_text())
CONFIG = Path(__file__).with_name("schemathesis.toml")
CALLS = {
    f"{method.upper()} {path}": call
    for path, item in DOCUMENT["paths"].items()
    for method, call in item.items()
}


@pytest.fixture(scope="module")
def examples_on_sale(shop: Shop) -> None:
    """Have what the document's examples order, at the prices that they show."""
    shown = CALLS["GET /orders/{order_id}"]["responses"]["200"]["content"]["application/json"]
    for line in shown["example"]["lines"]:
        shop.stock(100, sku=line["sku"], unit_price=line["unit_price"])


def is_as_promised(answer: httpx.Response, route: str) -> None:
    promise = CALLS[route]["responses"][str(answer.status_code)]
    content = promise["content"][answer.headers["content-type"]]
    jsonschema.validate(answer.json(), {**content["schema"], "components": DOCUMENT["components"]})


def test_the_document_is_served_as_it_is_committed(shop: Shop) -> None:
    answer = shop.request("GET", "/openapi.json")

    assert answer.headers["content-type"] == "application/json"
    assert answer.json() == DOCUMENT


def test_the_page_is_served_as_it_is_committed(shop: Shop) -> None:
    answer = shop.request("GET", "/docs")

    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    assert answer.headers["content-security-policy"].startswith("default-src 'none';")
    assert answer.content == (ROOT / "services/orders/docs.html").read_bytes()


@pytest.mark.usefixtures("examples_on_sale")
def test_the_documents_example_of_an_order_is_placed_and_followed(shop: Shop) -> None:
    place = CALLS["POST /orders"]
    body = place["requestBody"]["content"]["application/json"]["example"]
    shown = place["responses"]["202"]["content"]["application/json"]["example"]

    # As somebody else than everybody who tries the example, so that the list is short.
    answer = shop.request("POST", "/orders", json=body | {"customer_id": Customer().id})

    assert answer.status_code == httpx.codes.ACCEPTED, answer.text
    placed = answer.json()
    assert placed == shown | {"order_id": placed["order_id"]}
    is_as_promised(answer, "POST /orders")
    order = shop.closed(placed["order_id"])
    assert order["status"] == "CONFIRMED"
    for route, query in {
        "GET /orders/{order_id}": {},
        "GET /orders/{order_id}/timeline": {},
        "POST /orders/{order_id}/cancel": {},
        "GET /orders": {"customer_id": order["customer_id"]},
        "GET /products": {"limit": "100"},
    }.items():
        method, path = route.split()
        path = path.replace("{order_id}", placed["order_id"])
        is_as_promised(shop.request(method, path, params=query), route)


def test_an_order_that_is_cancelled_is_told_of_as_the_document_says(
    shop: Shop, ground: Ground
) -> None:
    with ground.held(shop.stock(1), token="tok_error") as order_id:
        cancelled = shop.cancel(order_id)

    assert cancelled.status_code == httpx.codes.ACCEPTED, cancelled.text
    is_as_promised(cancelled, "POST /orders/{order_id}/cancel")
    assert shop.closed(order_id)["status"] == "CANCELLED"
    for route in ("GET /orders/{order_id}", "GET /orders/{order_id}/timeline"):
        path = route.removeprefix("GET ").replace("{order_id}", order_id)
        is_as_promised(shop.request("GET", path), route)


@pytest.mark.usefixtures("examples_on_sale")
def test_no_request_that_the_document_suggests_has_an_answer_that_it_does_not(
    shop: Shop, tmp_path: Path
) -> None:
    done = subprocess.run(
        [
            str(Path(sys.executable).with_name("schemathesis")),
            *("--no-color", "--config-file", str(CONFIG), "run", str(SOURCE)),
            *("--url", shop.cloud.api_url, "--seed", "1", "--max-examples", "10"),
            *("--report", "json", "--report-json-path", str(tmp_path / "report.json")),
        ],
        cwd=tmp_path,  # where it remembers nothing of other runs
        capture_output=True,
        text=True,
        check=False,
        timeout=280,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    report = json.loads((tmp_path / "report.json").read_text())
    assert report["operations"]["tested"] == len(CALLS)
    assert report["test_cases"]["generated"] > 100
    # Refusals alone would prove little: of every call, its good answer was seen. (Whether a
    # cancellation is accepted is a race with the saga: its good answer is in the test before.)
    unseen = {route for route in CALLS if not accepted(report, route)}
    assert unseen <= {"POST /orders/{order_id}/cancel"}


def accepted(report: Answer, route: str) -> int:
    phases: dict[str, Any] = report["valid_rates"].get(route, {})
    return sum(phase["accepted"] for phase in phases.values())
