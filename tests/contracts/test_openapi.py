"""The API keeps what its document promised, and the document is that of the code."""

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from copy import deepcopy
from html.parser import HTMLParser
from typing import Any

import jsonschema
import pytest
import schemathesis

from orders import requests
from tests.support.templates import load
from tools import openapi, openapi_page
from tools.openapi_breaks import breaks

Node = dict[str, Any]

GENERATED = openapi.generate()
RELEASED = openapi.load(openapi.RELEASED)


def test_the_committed_document_and_page_are_those_of_the_code() -> None:
    assert openapi.DOCUMENT.read_text() == openapi.text(GENERATED), "run: make openapi"
    assert openapi.PAGE.read_text() == openapi_page.render(GENERATED), "run: make openapi"


def test_the_document_is_valid_openapi() -> None:
    schemathesis.openapi.from_dict(deepcopy(GENERATED)).validate()


def test_nothing_that_the_last_release_promised_was_broken() -> None:
    faults = breaks(RELEASED, GENERATED)
    assert not faults, "\n".join(faults)


def routes() -> dict[str, str]:
    """Return the deployed routes, with the function that answers each."""
    functions = load(openapi.SERVICE / "serverless.yml")["functions"]
    return {
        f"{event['http']['method'].upper()} {event['http']['path']}": name
        for name, function in functions.items()
        for event in function.get("events", [])
        if "http" in event
    }


def calls(document: Node) -> Iterator[tuple[str, Node]]:
    for path, item in document["paths"].items():
        for method, call in item.items():
            yield f"{method.upper()} {path}", call


def test_every_route_is_in_the_document_under_its_functions_name_and_the_reverse() -> None:
    assert {route: call["operationId"] for route, call in calls(GENERATED)} == routes()


def test_the_examples_of_requests_are_understood() -> None:
    seen = 0
    for _, call in calls(GENERATED):
        if "requestBody" in call:
            example = call["requestBody"]["content"]["application/json"]["example"]
            order = requests.place_order_request(json.dumps(example).encode(), {})
            assert order.lines
            seen += 1
        query = {
            parameter["name"]: str(parameter["example"])
            for parameter in call["parameters"]
            if parameter["in"] == "query" and "example" in parameter
        }
        if call["operationId"] == "listOrders":
            assert requests.list_orders_request(query).customer_id == "ada"
            seen += 1
        if call["operationId"] == "listProducts":
            assert requests.list_products_request(query).limit == 20
            seen += 1
    assert seen == 3


def test_the_examples_of_answers_are_as_their_schemas_say() -> None:
    seen = 0
    for _, call in calls(GENERATED):
        for answer in call["responses"].values():
            for content in answer.get("content", {}).values():
                if "example" in content:
                    validate(content["example"], content["schema"])
                    seen += 1
    assert seen == 6


def validate(value: Any, schema: Node) -> None:
    jsonschema.validate(value, {**schema, "components": GENERATED["components"]})


def test_patterns_mean_the_same_outside_python() -> None:
    """A newline at the end, which `$` lets through in Python alone, is no way around them."""
    text = json.dumps(GENERATED)
    assert r"\\Z" not in text
    assert '"pattern"' in text


def test_the_document_is_generated_the_same_in_every_process() -> None:
    program = "from tools import openapi; print(openapi.text(openapi.generate()))"
    outputs = {
        subprocess.run(
            [sys.executable, "-c", program],
            cwd=openapi.SERVICE.parents[1],
            env={"PYTHONHASHSEED": seed, "PYTHONPATH": str(openapi.SERVICE)},
            capture_output=True,
            check=True,
        ).stdout
        for seed in ("1", "2")
    }
    assert len(outputs) == 1


# The page


class Fetches(HTMLParser):
    """Collects what makes a browser fetch, and where links lead."""

    def __init__(self) -> None:
        super().__init__()
        self.fetched: list[str] = []
        self.links: list[str] = []
        self.ids: set[str] = set()
        self.tags: set[str] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        for name, value in attrs:
            if name == "id":
                self.ids.add(str(value))
            elif tag == "a" and name == "href":
                self.links.append(str(value))
            elif name in {"src", "href", "srcset", "data", "action", "poster", "style"}:
                self.fetched.append(str(value))


@pytest.fixture
def page() -> Fetches:
    found = Fetches()
    found.feed(openapi.PAGE.read_text())
    return found


def test_the_page_fetches_nothing_at_all(page: Fetches) -> None:
    assert page.fetched == ["data:,"]
    assert page.tags.isdisjoint({"script", "iframe", "img", "object", "embed", "form", "base"})
    style = openapi.PAGE.read_text().partition("<style>")[2].partition("</style>")[0]
    assert "url(" not in style
    assert "@import" not in style


def test_every_link_of_the_page_leads_somewhere_on_it_or_to_the_document(page: Fetches) -> None:
    assert {link[1:] for link in page.links if link.startswith("#")} <= page.ids
    assert {link for link in page.links if not link.startswith("#")} == {"openapi.json"}


def test_the_page_tells_of_every_call_and_every_schema(page: Fetches) -> None:
    told = {call["operationId"] for _, call in calls(GENERATED)}
    told |= {f"schema-{name}" for name in GENERATED["components"]["schemas"]}
    assert told | {"anywhere"} == page.ids
    text = openapi.PAGE.read_text()
    for name, answer in GENERATED["components"]["responses"].items():
        assert f"<code>{name}</code></td><td>{answer['description']}" in text


def test_what_the_document_holds_is_text_on_the_page() -> None:
    document = deepcopy(GENERATED)
    document["info"]["description"] = "<script>alert(1)</script>"
    document["paths"]["/orders"]["post"]["requestBody"]["content"]["application/json"][
        "example"
    ] = {"a": "</pre><script>"}
    assert "<script>" not in openapi_page.render(document)


# The comparison itself, on samples

Change = Callable[[Node], Any]


def place(document: Node) -> Node:
    return dict(document["paths"]["/orders"]["post"])


def schema(document: Node, name: str) -> Node:
    found: Node = document["components"]["schemas"][name]
    return found


def field(document: Node, name: str, key: str) -> Node:
    found: Node = schema(document, name)["properties"][key]
    return found


def changed(change: Change) -> Node:
    document = deepcopy(GENERATED)
    change(document)
    return document


def parameter(document: Node, name: str) -> Node:
    found: Node
    (found,) = (
        each for each in document["paths"]["/orders"]["get"]["parameters"] if each["name"] == name
    )
    return found


BODY = "POST /orders body"
NULL = {"type": "null"}

BREAKS: dict[str, tuple[Change, str]] = {
    "a path": (lambda d: d["paths"].pop("/products"), "GET /products was removed"),
    "a method": (lambda d: d["paths"]["/orders"].pop("get"), "GET /orders was removed"),
    "an answer": (
        lambda d: place(d)["responses"].pop("409"),
        "POST /orders 409: the answer was removed",
    ),
    "an answer's media type": (
        lambda d: place(d)["responses"]["400"]["content"].clear(),
        "POST /orders 400: application/problem+json was removed",
    ),
    "what any call may answer": (
        lambda d: d["components"]["responses"]["Unavailable"]["content"].clear(),
        "GET /products 503: application/problem+json was removed",
    ),
    "an answer's header": (
        lambda d: place(d)["responses"]["202"]["headers"].clear(),
        "POST /orders 202: header Location was removed",
    ),
    "an answer's header that may be missing": (
        lambda d: place(d)["responses"]["202"]["headers"]["Location"].update(required=False),
        "POST /orders 202: header Location is no longer always there",
    ),
    "an answer's field": (
        lambda d: schema(d, "Order")["properties"].pop("total"),
        "GET /orders/{order_id} 200: field total was removed",
    ),
    "an answer's field in a list in a list": (
        lambda d: schema(d, "OrderLine")["properties"].pop("unit_price"),
        "GET /orders 200.orders[].lines[]: field unit_price was removed",
    ),
    "a field of what may be null": (
        lambda d: schema(d, "Parked")["properties"].pop("since"),
        "GET /orders/{order_id} 200.parked: field since was removed",
    ),
    "an answer's field that may be missing": (
        lambda d: schema(d, "Placed")["required"].remove("total"),
        "POST /orders 202: field total is no longer always there",
    ),
    "an answer's field that may be null": (
        lambda d: schema(d, "Placed")["properties"].update(
            total={"anyOf": [{"type": "integer", "minimum": 0}, NULL]}
        ),
        "POST /orders 202.total: null may come now",
    ),
    "an answer's type": (
        lambda d: field(d, "Placed", "total").update(type="string"),
        "POST /orders 202.total: type integer became string",
    ),
    "an answer's wider type": (
        lambda d: field(d, "Placed", "total").update(type="number"),
        "POST /orders 202.total: type integer became number",
    ),
    "an answer's new value": (
        lambda d: schema(d, "Status")["enum"].append("SHIPPED"),
        "GET /orders/{order_id} 200.status: enum",
    ),
    "an answer's lost bound": (
        lambda d: field(d, "Placed", "total").pop("minimum"),
        "POST /orders 202.total: minimum 0 became nothing",
    ),
    "an answer's lost format": (
        lambda d: field(d, "Placed", "order_id").pop("format"),
        'POST /orders 202.order_id: format "uuid" became nothing',
    ),
    "a request's field": (
        lambda d: schema(d, "OrderBody")["properties"].pop("email"),
        f"{BODY}: field email was removed",
    ),
    "a request's new required field": (
        lambda d: schema(d, "LineBody").update(
            properties={**schema(d, "LineBody")["properties"], "gift": {"type": "boolean"}},
            required=["sku", "quantity", "gift"],
        ),
        f"{BODY}.lines[]: new field gift is required",
    ),
    "a request's narrower number": (
        lambda d: field(d, "LineBody", "quantity").update(maximum=500),
        f"{BODY}.lines[].quantity: maximum 999 became 500",
    ),
    "a request's new bound": (
        lambda d: field(d, "OrderBody", "customer_id").update(minLength=3),
        f"{BODY}.customer_id: minLength nothing became 3",
    ),
    "a request's shorter list": (
        lambda d: field(d, "OrderBody", "lines").update(maxItems=10),
        f"{BODY}.lines: maxItems 50 became 10",
    ),
    "a request's lost value": (
        lambda d: field(d, "OrderBody", "currency")["enum"].remove("GBP"),
        f"{BODY}.currency: enum",
    ),
    "a request's type": (
        lambda d: field(d, "LineBody", "quantity").update(type="string"),
        f"{BODY}.lines[].quantity: type integer became string",
    ),
    "a request's pattern": (
        lambda d: field(d, "OrderBody", "payment_token").update(pattern="^tok_"),
        f"{BODY}.payment_token: pattern",
    ),
    "a request's media type": (
        lambda d: place(d)["requestBody"].update(
            content={"text/xml": {"schema": {"type": "object"}}}
        ),
        f"{BODY}: application/json is not taken any more",
    ),
    "a parameter": (
        lambda d: d["paths"]["/orders"]["get"]["parameters"].remove(parameter(d, "limit")),
        "GET /orders: query parameter limit was removed",
    ),
    "a parameter that became required": (
        lambda d: parameter(d, "cursor").update(required=True),
        "GET /orders: query parameter cursor became required",
    ),
    "a parameter's narrower type": (
        lambda d: parameter(d, "limit")["schema"].update(maximum=50),
        "GET /orders: query parameter limit: maximum 100 became 50",
    ),
    "a new required parameter": (
        lambda d: d["paths"]["/products"]["get"]["parameters"].append(
            {"name": "shop", "in": "query", "required": True, "schema": {"type": "string"}}
        ),
        "GET /products: new query parameter shop is required",
    ),
    "a new required body": (
        lambda d: d["paths"]["/orders/{order_id}/cancel"]["post"].update(
            requestBody=place(d)["requestBody"]
        ),
        "POST /orders/{order_id}/cancel body: is required now",
    ),
}


@pytest.mark.parametrize(("change", "fault"), BREAKS.values(), ids=BREAKS)
def test_what_breaks_a_client_is_named(change: Change, fault: str) -> None:
    faults = breaks(GENERATED, changed(change))
    assert [each for each in faults if each.startswith(fault)], faults


def test_a_field_that_became_required_is_named() -> None:
    loose = changed(lambda d: schema(d, "OrderBody")["required"].remove("email"))
    assert breaks(loose, GENERATED) == [f"{BODY}: field email became required"]


WELCOME: dict[str, Change] = {
    "nothing": lambda _: None,
    "a path": lambda d: d["paths"].update({"/stats": d["paths"]["/products"]}),
    "an optional parameter": lambda d: d["paths"]["/products"]["get"]["parameters"].append(
        {"name": "shop", "in": "query", "required": False, "schema": {"type": "string"}}
    ),
    "an answer": lambda d: place(d)["responses"].update({"415": place(d)["responses"]["400"]}),
    "an answer in place of a reference": lambda d: place(d)["responses"].update(
        {"503": d["components"]["responses"]["Unavailable"]}
    ),
    "an answer's field": lambda d: schema(d, "Placed")["properties"].update(
        since={"type": "string"}
    ),
    "an answer that is always there": lambda d: schema(d, "Order")["properties"].update(
        reason={"type": "string"}
    ),
    "an answer's lost value": lambda d: schema(d, "Status")["enum"].remove("PARKED"),
    "a request's optional field": lambda d: schema(d, "OrderBody")["properties"].update(
        note={"type": "string", "maxLength": 9}
    ),
    "a request's field that may be left out": lambda d: schema(d, "OrderBody")["required"].remove(
        "email"
    ),
    "a request's new value": lambda d: field(d, "OrderBody", "currency")["enum"].append("CHF"),
    "a request's wider number": lambda d: field(d, "LineBody", "quantity").update(
        maximum=10_000, type="number"
    ),
    "a request's field that may be null": lambda d: schema(d, "OrderBody")["properties"].update(
        email={"anyOf": [field(d, "OrderBody", "email"), NULL]}
    ),
    "a request's lost pattern": lambda d: field(d, "OrderBody", "customer_id").pop("pattern"),
    "other words": lambda d: schema(d, "Order").update(description="Said better."),
}


@pytest.mark.parametrize("change", WELCOME.values(), ids=WELCOME)
def test_what_breaks_nobody_is_welcome(change: Change) -> None:
    assert breaks(GENERATED, changed(change)) == []


def test_a_schema_that_the_comparison_cannot_judge_does_not_pass_unseen() -> None:
    with pytest.raises(ValueError, match="not"):
        breaks(GENERATED, changed(lambda d: field(d, "Placed", "total").update({"not": {}})))
