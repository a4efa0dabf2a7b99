"""The OpenAPI 3.1 document of the API, made of the models that read requests and write answers.

    make openapi            write services/orders/openapi.json, and docs.html, its page
    make openapi-release    and keep the document as what the last release promised

`tests/contracts` compares the three: models, committed document, and that of the last release.
What the models cannot say stands here: which route has which models, prose, and examples. The
examples are instances of the models, so that they cannot lie about a shape.
"""

import json
import sys
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from http import HTTPStatus
from pathlib import Path
from typing import Any

import msgspec

from orders import answers, requests
from orders.domain import Status
from tools import openapi_breaks, openapi_page

SERVICE = Path(__file__).parents[1] / "services/orders"
DOCUMENT = SERVICE / "openapi.json"
RELEASED = SERVICE / "released/openapi.json"
PAGE = SERVICE / "docs.html"

Node = dict[str, Any]

_SCHEMA = "#/components/schemas/{name}"
_RESPONSE = "#/components/responses/{name}"


class GatewayMessage(msgspec.Struct, frozen=True):
    """What API Gateway itself answers where no function of ours has the word."""

    message: str


@dataclass(frozen=True)
class Reply:
    """A good answer: its model, or the media type of what has none; an example where it helps."""

    status: int
    model: Any = None
    example: msgspec.Struct | None = None
    media_type: str = "application/json"
    headers: Mapping[str, str] = field(default_factory=dict)
    links: tuple[str, ...] = ()


@dataclass(frozen=True)
class Operation:
    """One call of the API; `function` is the name of the Lambda function that answers it."""

    route: str
    function: str
    summary: str
    good: Reply
    description: str = ""
    query: type[msgspec.Struct] | None = None
    keyed: bool = False
    body: msgspec.Struct | None = None  # an example, which has the model
    problems: tuple[type[answers.Problem], ...] = ()
    reaches_the_database: bool = True

    @property
    def method(self) -> str:
        """Return the method as OpenAPI spells it."""
        return self.route.split()[0].lower()

    @property
    def path(self) -> str:
        """Return the path, with `{order_id}` where it has one."""
        return self.route.split()[1]


ORDER_ID = uuid.UUID("0199a3b2-7c41-7d52-8e5f-3a6b9c0d1e2f")
# The demo's products: after `make demo` the examples can be sent as they are.
BODY = requests.OrderBody(
    customer_id="ada",
    email="ada@example.com",
    currency="EUR",
    lines=(requests.LineBody("MUG-BLUE", 2), requests.LineBody("TEAPOT-IRON", 1)),
    payment_token="tok_visa",  # noqa: S106 - a name in the sandbox, not a secret
)


def _at(second: int) -> datetime:
    return datetime(2026, 11, 24, 16, 2, second, tzinfo=UTC)


def _order(status: Status, closed: datetime | None) -> answers.Order:
    return answers.Order(
        order_id=ORDER_ID,
        customer_id="ada",
        status=status,
        reason=None,
        currency="EUR",
        total=7300,
        lines=(
            answers.OrderLine("MUG-BLUE", 2, 1250),
            answers.OrderLine("TEAPOT-IRON", 1, 4800),
        ),
        placed_at=_at(25),
        closed_at=closed,
        parked=None,
    )


_CONFIRMED = _order(Status.CONFIRMED, _at(27))
_REACHES_ORDER = ("getOrder", "getTimeline", "cancelOrder")

OPERATIONS = (
    Operation(
        "POST /orders",
        "placeOrder",
        "Place an order",
        Reply(
            202,
            answers.Placed,
            answers.Placed(ORDER_ID, "PLACED", 7300, "EUR"),
            headers={"Location": "The path of the order, under the API's base URL."},
            links=_REACHES_ORDER,
        ),
        "Committed once it is answered; its saga then confirms or rejects it. A sku may stand on"
        " one line only. Sent again with the same Idempotency-Key and body, it has the same answer"
        " and no second effect. The sandbox's payment tokens: `tok_visa`, `tok_declined`,"
        " `tok_error`, `tok_timeout`.",
        keyed=True,
        body=BODY,
        problems=(
            answers.InvalidRequest,
            answers.KeyReused,
            answers.TooLarge,
            answers.NotInCatalogue,
        ),
    ),
    Operation(
        "GET /orders",
        "listOrders",
        "A customer's orders, newest first",
        Reply(200, answers.OrdersPage, answers.OrdersPage((_CONFIRMED,), None)),
        "`cursor` is the `next_cursor` of the page before.",
        query=requests.OrdersQuery,
        problems=(answers.InvalidRequest,),
    ),
    Operation(
        "GET /orders/{order_id}",
        "getOrder",
        "One order as it stands",
        Reply(200, answers.Order, _CONFIRMED),
        problems=(answers.NotFound,),
    ),
    Operation(
        "GET /orders/{order_id}/timeline",
        "getTimeline",
        "What the order's saga did",
        Reply(
            200,
            answers.Timeline,
            answers.Timeline(
                ORDER_ID,
                Status.PLACED,
                [
                    answers.Step(
                        step="Reserve Stock",
                        kind="forward",
                        started_at=_at(25),
                        ended_at=_at(26),
                        outcome="reserved",
                        reason=None,
                        attempts=[
                            answers.Attempt(started_at=_at(25), ended_at=_at(26), error=None)
                        ],
                    )
                ],
            ),
        ),
        problems=(answers.NotFound,),
    ),
    Operation(
        "POST /orders/{order_id}/cancel",
        "cancelOrder",
        "Ask for cancellation",
        Reply(202, answers.Order, _order(Status.PLACED, None)),
        "Accepted while it can still win: the saga undoes what it did, and the order ends"
        " `CANCELLED`. Asking twice is asking once.",
        problems=(answers.NotFound, answers.TooLate),
    ),
    Operation(
        "GET /products",
        "listProducts",
        "The catalogue",
        Reply(
            200,
            answers.ProductsPage,
            answers.ProductsPage((answers.Product("MUG-BLUE", "Blue mug", 1250, "EUR"),), None),
        ),
        "`cursor` is the `next_cursor` of the page before.",
        query=requests.ProductsQuery,
        problems=(answers.InvalidRequest,),
    ),
    Operation(
        "GET /openapi.json",
        "getOpenapi",
        "This document",
        Reply(200, dict[str, Any]),
        reaches_the_database=False,
    ),
    Operation(
        "GET /docs",
        "getDocs",
        "This document as a page",
        Reply(200, str, media_type="text/html; charset=utf-8"),
        reaches_the_database=False,
    ),
)

# What any call may answer, described once: whoever reaches the database, and everybody.
_OURS_ANYWHERE = (answers.InternalError, answers.Unavailable)
_GATEWAYS_ANYWHERE = {
    HTTPStatus.TOO_MANY_REQUESTS: "Too many requests at once; API Gateway's own answer.",
    HTTPStatus.BAD_GATEWAY: "The function ended without an answer; API Gateway's own answer.",
    HTTPStatus.GATEWAY_TIMEOUT: "The function took too long to answer; API Gateway's own answer.",
}
_ORDER_ID_PARAMETER = {
    "name": "order_id",
    "in": "path",
    "required": True,
    "description": "What is no UUID names no order: 404.",
    "schema": {"type": "string", "format": "uuid"},
    "example": str(ORDER_ID),
}
_PARAMETER_EXAMPLES = {"customer_id": "ada", "limit": 20}


def generate() -> Node:
    """Return the whole document."""
    models = [*dict.fromkeys(_models())]
    schemas, components = msgspec.json.schema_components(models, ref_template=_SCHEMA)
    of = dict(zip(models, schemas, strict=True))
    queries = {operation.query.__name__ for operation in OPERATIONS if operation.query}
    paths: dict[str, Node] = {}
    for operation in OPERATIONS:
        paths.setdefault(operation.path, {})[operation.method] = _operation(
            operation, of, components
        )
    document = {
        "openapi": "3.1.1",
        "info": {
            "title": "Orderflow",
            "version": "1",
            "description": "Orders, placed and followed. Money is in minor units of its currency,"
            " times are UTC. New fields may appear in an answer at any time: ignore those that you"
            " do not know.",
            "license": {"name": "MIT", "identifier": "MIT"},
        },
        # Relative to this document's own address, which differs by stage.
        "servers": [{"url": "."}],
        "paths": paths,
        "components": {
            "schemas": {
                name: _told_whole(name, schema)
                for name, schema in components.items()
                if name not in queries
            },
            "responses": dict(_anywhere(of)),
        },
    }
    return dict(json.loads(json.dumps(_portable(document))))


def _models() -> Iterator[Any]:
    for operation in OPERATIONS:
        yield operation.good.model
        if operation.query:
            yield operation.query
        if operation.body is not None:
            yield type(operation.body)
        yield from operation.problems
    yield from (*_OURS_ANYWHERE, requests.IdempotencyKey, GatewayMessage)


def _operation(
    operation: Operation, of: Mapping[Any, Node], components: Mapping[str, Node]
) -> Node:
    return {
        "operationId": operation.function,
        "summary": operation.summary,
        **({"description": operation.description} if operation.description else {}),
        "parameters": [*_parameters(operation, of, components)],
        **(_request_body(operation.body, of) if operation.body is not None else {}),
        "responses": dict(sorted(_responses(operation, of))),
    }


def _parameters(
    operation: Operation, of: Mapping[Any, Node], components: Mapping[str, Node]
) -> Iterator[Node]:
    if "{order_id}" in operation.path:
        yield _ORDER_ID_PARAMETER
    if operation.query:
        model = components[operation.query.__name__]
        for name, schema in model["properties"].items():
            yield {
                "name": name,
                "in": "query",
                "required": name in model["required"],
                "schema": schema,
                **_example(name),
            }
    if operation.keyed:
        yield {
            "name": requests.IDEMPOTENCY_KEY,
            "in": "header",
            "required": False,
            "description": "Makes the request safe to send again; a new one for each order.",
            "schema": of[requests.IdempotencyKey],
        }


def _example(name: str) -> Node:
    return {"example": _PARAMETER_EXAMPLES[name]} if name in _PARAMETER_EXAMPLES else {}


def _request_body(example: msgspec.Struct, of: Mapping[Any, Node]) -> Node:
    content = {"schema": of[type(example)], "example": msgspec.to_builtins(example)}
    return {"requestBody": {"required": True, "content": {"application/json": content}}}


def _responses(operation: Operation, of: Mapping[Any, Node]) -> Iterator[tuple[str, Node]]:
    yield str(operation.good.status), _good(operation, of)
    for problem in operation.problems:
        yield str(_status(problem)), _problem(problem, of)
    anywhere = {_name(status): int(status) for status in _GATEWAYS_ANYWHERE}
    if operation.reaches_the_database:
        anywhere |= {problem.__name__: _status(problem) for problem in _OURS_ANYWHERE}
    for name, status in anywhere.items():
        yield str(status), {"$ref": _RESPONSE.format(name=name)}


def _anywhere(of: Mapping[Any, Node]) -> Iterator[tuple[str, Node]]:
    for problem in _OURS_ANYWHERE:
        yield problem.__name__, _problem(problem, of)
    for status, description in _GATEWAYS_ANYWHERE.items():
        content = {"application/json": {"schema": of[GatewayMessage]}}
        yield _name(status), {"description": description, "content": content}


def _name(status: HTTPStatus) -> str:
    return status.phrase.replace(" ", "")


def _problem(problem: type[answers.Problem], of: Mapping[Any, Node]) -> Node:
    return {
        "description": (problem.__doc__ or "").strip(),
        "content": {"application/problem+json": {"schema": of[problem]}},
    }


def _status(problem: type[answers.Problem]) -> int:
    (status,) = (
        field.default for field in msgspec.structs.fields(problem) if field.name == "status"
    )
    return int(status)


def _good(operation: Operation, of: Mapping[Any, Node]) -> Node:
    good = operation.good
    content: Node = {"schema": of[good.model]}
    if good.example is not None:
        content["example"] = msgspec.to_builtins(good.example)
    reply: Node = {
        "description": HTTPStatus(good.status).phrase + ".",
        "content": {good.media_type: content},
    }
    if good.headers:
        reply["headers"] = {
            name: {"description": text, "required": True, "schema": {"type": "string"}}
            for name, text in good.headers.items()
        }
    if good.links:
        reply["links"] = {
            function: {
                "operationId": function,
                "parameters": {"order_id": "$response.body#/order_id"},
            }
            for function in good.links
        }
    return reply


_OURS = {name for name, model in vars(answers).items() if isinstance(model, type)}


def _told_whole(name: str, schema: Node) -> Node:
    """Say of an answer that it has all its fields: a default is for the code that fills it in."""
    if name not in _OURS or "properties" not in schema:
        return schema
    fields = {
        key: {word: value for word, value in each.items() if word != "default"}
        for key, each in schema["properties"].items()
    }
    return {**schema, "properties": fields, "required": [*fields]}


def _portable(node: Any) -> Any:
    """Write patterns in JSON Schema's dialect, where `$` is what `Z` with a backslash is here."""
    if isinstance(node, dict):
        return {
            key: value.removesuffix(r"\Z") + "$"
            if key == "pattern" and isinstance(value, str) and value.endswith(r"\Z")
            else _portable(value)
            for key, value in node.items()
        }
    if isinstance(node, list | tuple):
        return [_portable(each) for each in node]
    return node


def text(document: Node) -> str:
    """Return the document as it is committed and served."""
    return json.dumps(document, indent=1, ensure_ascii=False) + "\n"


def load(path: Path) -> Node:
    """Return a committed document."""
    return dict(json.loads(path.read_text()))


def main(arguments: list[str]) -> None:
    """Write the document and its page; with `release`, refuse what breaks the last release."""
    if arguments not in ([], ["release"]):
        sys.exit(__doc__)
    document = generate()
    DOCUMENT.write_text(text(document))
    PAGE.write_text(openapi_page.render(document))
    if arguments == ["release"]:
        faults = openapi_breaks.breaks(load(RELEASED), document) if RELEASED.exists() else []
        if faults:
            sys.exit("\n".join(faults))
        RELEASED.parent.mkdir(exist_ok=True)
        RELEASED.write_text(text(document))


if __name__ == "__main__":
    main(sys.argv[1:])
