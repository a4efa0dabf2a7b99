"""The functions with captured events, a real Postgres, and AWS as one small server."""

import json
import logging
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from importlib import import_module
from pathlib import Path
from time import monotonic
from typing import Any
from uuid import UUID, uuid4

import jsonschema
import pytest
import sqlalchemy as sa

from orders.adapters.order_book import SqlOrderBook
from orders.adapters.tables import parked_orders
from orders.domain import Status
from orders.requests import InvalidRequest
from shared.contracts.saga import undo_document
from shared.database import engine
from shared.ids import uuid7
from tests.support.invocation import Invocation

from .conftest import FakeAws, World

EVENTS = Path(__file__).parents[1] / "events"
HISTORIES = Path(__file__).parents[1] / "histories"
DOCUMENT = json.loads((Path(__file__).parents[2] / "openapi.json").read_text())

# What the captured events hold, and each test replaces.
ORDER, SKUS, KEY, CUSTOMER = (
    "0199a3b2-7c41-7d52-8e5f-3a6b9c0d1e2f",
    ("CUP-BLUE", "CUP-RED"),
    "7d1f3c0e-key",
    "ada",
)

pytestmark = pytest.mark.usefixtures("aws")


def invoke(name: str, event: Any) -> Any:
    """Call a function as Lambda does; its module's import is the init phase."""
    return import_module(f"orders.handlers.{name}").handler(event, Invocation())


def captured(name: str, **replaced: str) -> Any:
    text = (EVENTS / f"{name}.json").read_text()
    for old, new in replaced.items():
        text = text.replace(globals()[old], new)
    return json.loads(text)


def call(name: str, event: Any) -> tuple[int, Any]:
    """Call an API function; return its status and body, both as the API's document says."""
    answer = invoke(name, event)
    assert set(answer) == {"statusCode", "headers", "body"}
    expected = "application/json" if answer["statusCode"] < 400 else "application/problem+json"
    assert answer["headers"]["Content-Type"] == expected
    status, body = answer["statusCode"], json.loads(answer["body"])
    promised = documented(name, status)
    assert promised.get("headers", {}).keys() == answer["headers"].keys() - {"Content-Type"}
    validate(body, promised["content"][expected]["schema"])
    return status, body


def documented(name: str, status: int) -> Any:
    """Return what the document says of a function's answer."""
    words = name.split("_")
    function = words[0] + "".join(word.capitalize() for word in words[1:])
    (call,) = (
        call
        for path in DOCUMENT["paths"].values()
        for call in path.values()
        if call["operationId"] == function
    )
    answer = call["responses"][str(status)]
    if "$ref" in answer:
        answer = DOCUMENT["components"]["responses"][answer["$ref"].rsplit("/", 1)[1]]
    return answer


def validate(body: Any, schema: dict[str, Any]) -> None:
    """Check a body against its schema; a field that the schema does not know fails too."""
    closed = json.loads(json.dumps(DOCUMENT["components"]))
    for each in closed["schemas"].values():
        if "properties" in each:
            each["additionalProperties"] = False
    jsonschema.validate(
        body,
        {**schema, "components": closed},
        format_checker=jsonschema.FormatChecker(["uuid", "date"]),
    )


@pytest.fixture
def skus() -> list[str]:
    """List two products; return their skus."""
    found = [uuid4().hex for _ in SKUS]
    assert invoke("update_catalogue", listing(found)) == {
        "batchItemFailures": [{"itemIdentifier": "059f36b4-87a3-44ab-83d2-661975890002"}]
    }
    return found


def listing(skus: list[str]) -> Any:
    text = (EVENTS / "update_catalogue.json").read_text()
    for old, new in zip(SKUS, skus, strict=True):
        text = text.replace(old, new)
    return json.loads(text)


def placing(skus: list[str], *, key: str | None = None, **changes: Any) -> Any:
    event = captured("place_order", KEY=key or uuid4().hex)
    body = json.loads(event["body"]) | {"lines": [{"sku": skus[0], "quantity": 2}]} | changes
    return event | {"body": json.dumps(body)}


# The API


def test_a_good_order_is_accepted_and_its_saga_runs(
    skus: list[str], aws: FakeAws, world: World
) -> None:
    answer = invoke("place_order", placing(skus))
    body = json.loads(answer["body"])
    assert answer["statusCode"] == 202
    assert body["status"] == "PLACED"
    assert body["total"] == 1800
    assert answer["headers"]["Location"] == f"/orders/{body['order_id']}"
    assert json.loads(aws.executions[body["order_id"]])["payment_token"] == "tok_visa"
    assert world.facts(UUID(body["order_id"])) == ["order.placed.v1", "saga.start"]


def test_the_same_request_twice_has_the_same_answer_and_one_saga(
    skus: list[str], aws: FakeAws
) -> None:
    event = placing(skus)
    started = len(aws.executions)
    answers = [invoke("place_order", event) for _ in range(2)]
    assert answers[0] == answers[1]
    assert len(aws.executions) == started + 1


def test_a_replay_answers_as_at_first_though_the_order_is_closed(
    skus: list[str], world: World
) -> None:
    event = placing(skus)
    first = invoke("place_order", event)
    world.set_status(UUID(json.loads(first["body"])["order_id"]), Status.CONFIRMED)
    assert invoke("place_order", event) == first


def test_an_order_is_accepted_while_sagas_cannot_start(
    skus: list[str], aws: FakeAws, world: World
) -> None:
    aws.saga_is_gone = True
    status, body = call("place_order", placing(skus))
    assert status == 202
    assert body["order_id"] not in aws.executions
    # The relay does it later.
    aws.saga_is_gone = False
    order_id = UUID(body["order_id"])
    world.age(order_id)
    assert invoke("relay_outbox", {})["relayed"] >= 2
    assert body["order_id"] in aws.executions
    assert aws.facts(order_id) == ["order.placed.v1"]


def test_another_body_under_the_same_key_is_a_conflict(skus: list[str]) -> None:
    key = uuid4().hex
    assert call("place_order", placing(skus, key=key))[0] == 202
    assert call("place_order", placing(skus, key=key, email="bob@example.com"))[0] == 409


def test_skus_that_are_not_sold_are_named(skus: list[str]) -> None:
    gone = [{"sku": "never-listed", "quantity": 1}]
    status, body = call("place_order", placing(skus, lines=gone))
    assert (status, body["unknown_skus"]) == (422, ["never-listed"])
    status, body = call("place_order", placing(skus, currency="USD"))
    assert (status, body["other_currency_skus"]) == (422, [skus[0]])


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (None, 400),
        ("{", 400),
        ('{"email": "\\u0000"}', 400),
        ('{"email": "\\ud800"}', 400),
        ("[" * 60_000, 400),
        ("9" * 60_000, 400),
        ("x" * 65_537, 413),
    ],
)
def test_a_bad_body_is_the_clients_fault(body: str | None, status: int) -> None:
    assert call("place_order", captured("place_order") | {"body": body})[0] == status


def test_a_body_that_claims_to_be_base64_and_is_not_is_the_clients_fault() -> None:
    event = captured("place_order") | {"body": "é", "isBase64Encoded": True}
    assert call("place_order", event)[0] == 400


def test_an_order_can_be_read_and_cancelled_twice(skus: list[str], world: World) -> None:
    order_id = call("place_order", placing(skus))[1]["order_id"]
    status, order = call("get_order", captured("get_order", ORDER=order_id))
    assert status == 200
    assert order["lines"] == [{"sku": skus[0], "quantity": 2, "unit_price": 900}]
    assert (order["status"], order["reason"], order["closed_at"]) == ("PLACED", None, None)
    cancel = captured("cancel_order", ORDER=order_id)
    assert [call("cancel_order", cancel)[0] for _ in range(2)] == [202, 202]
    assert world.book.confirm(UUID(order_id)) is Status.PLACED


@pytest.mark.parametrize(
    ("standing", "status"),
    [
        (Status.PLACED, 202),
        (Status.PARKED, 202),
        (Status.CANCELLED, 202),
        (Status.CONFIRMED, 409),
        (Status.REJECTED, 409),
    ],
)
def test_cancelling_answers_by_where_the_order_stands(
    world: World, standing: Status, status: int
) -> None:
    order_id = str(world.standing(standing))
    answer, body = call("cancel_order", captured("cancel_order", ORDER=order_id))
    assert answer == status
    assert body["status" if status == 202 else "status_of_order"] == standing.value


def test_an_order_shows_that_it_waits_for_an_operator_and_not_why(world: World) -> None:
    placed, parked = world.placed(customer="eve"), world.standing(Status.PARKED)
    for order_id, step in ((placed, None), (parked, "Release Stock")):
        _, order = call("get_order", captured("get_order", ORDER=str(order_id)))
        _, page = call("list_orders", captured("list_orders", CUSTOMER=order["customer_id"]))
        (listed,) = (each for each in page["orders"] if each["order_id"] == str(order_id))
        assert listed == order
        assert (order["parked"] or {}).get("step") == step
        assert (order["parked"] or {}).keys() == ({"step", "since"} if step else set())


@pytest.mark.parametrize("name", ["get_order", "cancel_order", "get_timeline"])
@pytest.mark.parametrize(
    "named", ["0199a3b2-7c41-7d52-8e5f-000000000000", "none", "", "\\u0000", "x" * 2000]
)
def test_an_address_of_nothing_is_not_found(name: str, named: str) -> None:
    assert call(name, captured(name, ORDER=named))[0] == 404


def test_the_timeline_is_read_from_the_execution(world: World, aws: FakeAws) -> None:
    order_id = str(world.placed())
    event = captured("get_timeline", ORDER=order_id)
    status, body = call("get_timeline", event)
    assert (status, body) == (200, {"order_id": order_id, "status": "PLACED", "steps": []})
    history = json.loads((HISTORIES / "confirmed.json").read_text())
    # In Step Functions' own JSON times are seconds; the client library makes them times.
    aws.histories[order_id] = [each | {"timestamp": 1791278048.5} for each in history]
    status, body = call("get_timeline", event)
    assert [step["outcome"] for step in body["steps"]] == [
        "reserved",
        "charged",
        "shipped",
        "confirmed",
    ]
    assert {step["started_at"] for step in body["steps"]} == {"2026-10-06T09:14:08.500000Z"}


def test_the_timeline_goes_on_with_the_repairs(world: World, aws: FakeAws) -> None:
    order_id = str(world.standing(Status.REJECTED))
    at = {"timestamp": 1791278048.5}
    lost = json.loads((HISTORIES / "declined.json").read_text())[:8]
    aws.histories[order_id] = [each | at for each in [*lost, {"type": "ExecutionAborted"}]]
    for number, step in enumerate(("Withdraw Confirmation", "Release Stock"), 1):
        entered = {"type": "TaskStateEntered", "stateEnteredEventDetails": {"name": step}}
        aws.histories[f"{order_id}-undo-{number}"] = [entered | at, {"type": "Over"} | at]
    _, body = call("get_timeline", captured("get_timeline", ORDER=order_id))
    assert [(step["step"], step["kind"]) for step in body["steps"]] == [
        ("Reserve Stock", "forward"),
        ("Withdraw Confirmation", "undo"),
        ("Release Stock", "undo"),
    ]


def test_a_timeline_that_cannot_be_read_now_may_be_asked_for_again(
    world: World, aws: FakeAws
) -> None:
    aws.saga_is_gone = True
    assert call("get_timeline", captured("get_timeline", ORDER=str(world.placed())))[0] == 503


def test_a_customers_orders_come_in_pages(world: World) -> None:
    customer = uuid4().hex
    placed = [str(world.placed(customer=customer)) for _ in range(5)]
    event = captured("list_orders")
    event["queryStringParameters"]["customer_id"] = customer
    seen: list[str] = []
    sizes: list[int] = []
    while True:
        status, body = call("list_orders", event)
        assert status == 200
        sizes.append(len(body["orders"]))
        seen += [order["order_id"] for order in body["orders"]]
        if body["next_cursor"] is None:
            break
        event["queryStringParameters"]["cursor"] = body["next_cursor"]
    assert seen == placed[::-1]
    assert sizes == [2, 2, 1]


@pytest.mark.parametrize(
    "query", [None, {"customer_id": "a b"}, {"customer_id": "ada", "limit": "0"}, {"limit": "2"}]
)
def test_a_bad_query_is_the_clients_fault(query: Any) -> None:
    event = captured("list_orders") | {"queryStringParameters": query}
    assert call("list_orders", event)[0] == 400


def test_products_come_in_pages(skus: list[str]) -> None:
    event = captured("list_products") | {"queryStringParameters": {"limit": "1"}}
    seen: dict[str, Any] = {}
    for _ in range(1000):
        status, body = call("list_products", event)
        assert status == 200
        (product,) = body["products"]
        seen[product["sku"]] = product
        if body["next_cursor"] is None:
            break
        event["queryStringParameters"]["cursor"] = body["next_cursor"]
    assert seen[skus[0]] == {
        "sku": skus[0],
        "name": "Cup, blue",
        "unit_price": 900,
        "currency": "EUR",
    }
    assert call("list_products", captured("list_products"))[0] == 200


def test_without_a_database_the_answer_is_to_try_again(monkeypatch: pytest.MonkeyPatch) -> None:
    nowhere = engine("postgresql+psycopg://orders@127.0.0.1:1/orders")
    handler = import_module("orders.handlers.get_order")
    monkeypatch.setattr(handler, "orders", SqlOrderBook(nowhere))
    assert call("get_order", captured("get_order"))[0] == 503


# The catalogue's queue


def test_products_delivered_twice_are_stored_once_and_old_news_changes_nothing(
    skus: list[str],
) -> None:
    old = listing(skus)
    newer = json.loads(json.dumps(old).replace('\\"version\\": 1', '\\"version\\": 2'))
    newer = json.loads(json.dumps(newer).replace('\\"unit_price\\": 900', '\\"unit_price\\": 950'))
    for event in (newer, newer, old):
        invoke("update_catalogue", event)
    assert call("place_order", placing(skus))[1]["total"] == 1900


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('\\"unit_price\\": 900', '\\"unit_price\\": -1'),
        ('\\"unit_price\\": 900', '\\"unit_price\\": 9223372036854775808'),
        ('\\"version\\": 1', '\\"version\\": 2147483648'),
        ("Cup, blue", "\\\\u0000"),
        ("product.listed.v1", "stock.low.v1"),
    ],
)
def test_a_product_that_cannot_be_stored_fails_alone(old: str, new: str) -> None:
    skus = [uuid4().hex, uuid4().hex]
    event = listing(skus)
    first = json.loads(json.dumps(event["Records"][0]).replace(old, new))
    assert first != event["Records"][0]
    failed = invoke("update_catalogue", {"Records": [first, event["Records"][2]]})
    assert failed == {"batchItemFailures": [{"itemIdentifier": first["messageId"]}]}
    # Its batch-mate is on sale.
    assert call("place_order", placing(skus[1:]))[0] == 202


def test_a_product_that_cannot_be_stored_is_logged_with_its_cause(
    caplog: pytest.LogCaptureFixture,
) -> None:
    invoke("update_catalogue", listing(["a", "b"]))
    (failure,) = [each for each in caplog.records if each.levelno == logging.ERROR]
    assert failure.getMessage() == "product_not_stored"


# The saga's steps


def command(order_id: UUID, **more: Any) -> dict[str, Any]:
    return {"order_id": str(order_id), **more}


def charging(order_id: UUID, token: str = "tok_visa") -> dict[str, Any]:  # noqa: S107
    return command(order_id, amount=1800, currency="EUR", payment_token=token)


def test_the_first_own_step_publishes_the_placing_and_settles_the_sagas_start(
    world: World, aws: FakeAws
) -> None:
    order_id = world.placed()
    assert invoke("charge_payment", charging(order_id)) == {"outcome": "charged"}
    assert aws.facts(order_id) == ["order.placed.v1"]
    assert world.waiting(order_id) == []
    assert str(order_id) not in aws.executions  # it runs: that is how the step came to be called


def test_a_saga_that_ends_well_publishes_its_facts_in_order_and_once(
    world: World, aws: FakeAws
) -> None:
    order_id = world.placed()
    for _ in range(2):
        assert invoke("charge_payment", charging(order_id)) == {"outcome": "charged"}
    for _ in range(2):
        assert invoke("confirm_order", command(order_id)) == {"outcome": "confirmed"}
    assert aws.facts(order_id) == ["order.placed.v1", "order.confirmed.v1"]


def test_a_saga_that_is_undone_publishes_its_facts_in_order_and_once(
    world: World, aws: FakeAws
) -> None:
    order_id = world.placed()
    refused = {"outcome": "refused", "reason": "DECLINED"}
    assert invoke("charge_payment", charging(order_id, "tok_declined")) == refused
    document = command(order_id, reserve={"outcome": "reserved"}, charge=refused)
    for _ in range(2):
        closed = invoke("close_order", document)
        assert closed == {"outcome": "closed", "status": "REJECTED"}
    assert aws.facts(order_id) == ["order.placed.v1", "order.rejected.v1"]
    assert world.order(order_id).reason == "DECLINED"


def test_an_order_that_was_never_flushed_tells_its_whole_story_at_its_end(
    world: World, aws: FakeAws
) -> None:
    order_id = world.placed()
    assert world.book.request_cancel(order_id)
    assert invoke("close_order", command(order_id))["status"] == "CANCELLED"
    assert aws.facts(order_id) == ["order.placed.v1", "order.cancelled.v1"]


def test_refunding_and_withdrawing_answer_the_same_twice(world: World) -> None:
    order_id = world.placed()
    invoke("charge_payment", charging(order_id))
    for _ in range(2):
        assert invoke("refund_payment", command(order_id)) == {"outcome": "refunded"}
        assert invoke("withdraw_confirmation", command(order_id)) == {"outcome": "withdrawn"}
    late = invoke("confirm_order", command(order_id))
    assert late["outcome"] == "refused"


@pytest.mark.parametrize("status", [Status.PLACED, Status.PARKED, Status.REJECTED])
def test_a_repair_closes_what_is_open_and_forgets_the_saga_that_is_gone(
    world: World, aws: FakeAws, status: Status
) -> None:
    order_id = world.standing(status)
    token = "token" if status is Status.PARKED else None
    document = undo_document(str(order_id), token)
    assert invoke("withdraw_confirmation", document) == {"outcome": "withdrawn"}
    for _ in range(2):
        assert invoke("close_order", document) == {"outcome": "closed", "status": "REJECTED"}
    reason = "DECLINED" if status is Status.REJECTED else "ABANDONED"
    assert world.order(order_id).reason == reason
    assert world.book.parked(order_id) is None
    assert aws.facts(order_id).count("order.rejected.v1") == 1


def test_a_repair_of_an_order_that_nobody_knows_learns_it(aws: FakeAws) -> None:  # noqa: ARG001
    document = undo_document(str(uuid4()))
    assert invoke("withdraw_confirmation", document) == {"outcome": "unknown_order"}


def test_closing_a_confirmed_order_announces_nothing(world: World, aws: FakeAws) -> None:
    order_id = world.placed()
    invoke("confirm_order", command(order_id))
    assert invoke("close_order", command(order_id))["status"] == "CONFIRMED"
    assert aws.facts(order_id) == ["order.placed.v1", "order.confirmed.v1"]


def parking(order_id: UUID, token: str) -> dict[str, Any]:
    fault = {"Error": "OperationalError", "Cause": "{}"}
    return command(order_id, step="Refund Payment", fault=fault, task_token=token)


def test_a_parked_order_is_told_once_and_resumed_with_its_newest_token(
    world: World, aws: FakeAws
) -> None:
    order_id = world.placed()
    aws.tokens |= {f"two-{order_id}": None}
    for token in ("one", "two"):
        assert invoke("park_order", parking(order_id, f"{token}-{order_id}")) is None
    assert aws.facts(order_id) == ["order.placed.v1", "order.parked.v1"]
    answers = [invoke("resume_order", command(order_id))["outcome"] for _ in range(2)]
    assert answers == ["resumed", "not_waiting"]
    assert aws.tokens[f"two-{order_id}"] == {"outcome": "resumed"}
    # What it goes on with.
    assert invoke("refund_payment", command(order_id)) == {"outcome": "refunded"}
    assert invoke("close_order", command(order_id))["status"] == "REJECTED"
    assert invoke("resume_order", command(order_id))["outcome"] == "not_parked"


def test_parking_an_order_that_turns_out_confirmed_leaves_it_confirmed_and_resumable(
    world: World, aws: FakeAws
) -> None:
    order_id = world.standing(Status.CONFIRMED)
    aws.tokens[f"t-{order_id}"] = None
    invoke("park_order", parking(order_id, f"t-{order_id}"))
    assert world.order(order_id).status is Status.CONFIRMED
    assert "order.parked.v1" not in world.facts(order_id)
    assert invoke("resume_order", command(order_id)) == {
        "order_id": str(order_id),
        "outcome": "resumed",
        "step": "Refund Payment",
        "status": "CONFIRMED",
    }


def test_a_token_that_is_gone_is_reported_and_its_order_no_longer_shown_as_waiting(
    world: World,
) -> None:
    order_id = world.placed()
    invoke("park_order", parking(order_id, "never-waited"))
    assert invoke("resume_order", command(order_id))["outcome"] == "not_waiting"
    rows = sa.select(sa.func.count()).where(parked_orders.c.order_id == order_id)
    assert world.run(rows).scalar_one() == 0


def shown(order_id: UUID) -> list[Any]:
    """Return the order as `GET /orders/{id}` shows it, and as the list does."""
    _, order = call("get_order", captured("get_order", ORDER=str(order_id)))
    _, page = call("list_orders", captured("list_orders", CUSTOMER=order["customer_id"]))
    return [order, *(each for each in page["orders"] if each["order_id"] == str(order_id))]


@pytest.mark.parametrize("status", [Status.PLACED, Status.CONFIRMED, Status.REJECTED])
def test_an_order_says_that_it_waits_for_an_operator_and_not_why_until_it_is_resumed(
    world: World, aws: FakeAws, status: Status
) -> None:
    order_id = world.standing(status)
    assert [each["parked"] for each in shown(order_id)] == [None, None]
    aws.tokens[f"t-{order_id}"] = None
    invoke("park_order", parking(order_id, f"t-{order_id}"))
    standing = Status.PARKED if status is Status.PLACED else status
    for each in shown(order_id):
        assert each["status"] == standing
        assert each["parked"].keys() == {"step", "since"}
        assert each["parked"]["step"] == "Refund Payment"
        waits = datetime.now(UTC) - datetime.fromisoformat(each["parked"]["since"])
        assert timedelta() <= waits < timedelta(minutes=1)
    invoke("resume_order", command(order_id))
    assert [(each["status"], each["parked"]) for each in shown(order_id)] == [(standing, None)] * 2


def test_an_order_and_a_page_cost_one_round_trip(world: World) -> None:
    order_id = world.standing(Status.PARKED)
    statements: list[str] = []
    listen = (world.postgres, "before_cursor_execute", lambda *args: statements.append(args[2]))
    sa.event.listen(*listen)
    try:
        assert world.order(order_id).parked
        assert world.book.page("ada", before=None, limit=1)
    finally:
        sa.event.remove(*listen)
    assert len(statements) == 2


def test_an_operator_sees_every_order_that_waits_page_by_page_with_its_cause(
    world: World,
) -> None:
    placed = [world.placed() for _ in range(3)]
    for order_id in placed:
        invoke("park_order", parking(order_id, "t"))
    seen: dict[str, Any] = {}
    after = None
    while True:
        page = invoke("list_parked", {"limit": 2, "after": after})
        assert len(page["parked"]) <= 2
        seen |= {each["order_id"]: each for each in page["parked"]}
        after = page["next"]
        if after is None:
            break
    assert {str(order_id) for order_id in placed} <= seen.keys()
    mine = seen[str(placed[0])]
    assert (mine["status"], mine["step"]) == ("PARKED", "Refund Payment")
    assert mine["cause"] == "OperationalError: {}"
    assert datetime.fromisoformat(mine["since"]).tzinfo


@pytest.mark.parametrize(
    ("wanted", "field"),
    [({"limit": 0}, "limit"), ({"limit": "x"}, "limit"), ({"after": "x"}, "after"), ([], "object")],
)
def test_a_list_of_waiting_orders_that_cannot_be_is_refused_by_name(
    wanted: Any, field: str
) -> None:
    with pytest.raises(InvalidRequest, match=field):
        invoke("list_parked", wanted)


def test_an_order_that_is_not_parked_or_not_there_is_said(world: World) -> None:
    assert invoke("resume_order", command(world.placed()))["outcome"] == "not_parked"
    assert invoke("resume_order", command(uuid7()))["outcome"] == "unknown_order"


# When publishing fails


def test_a_topic_that_is_gone_fails_no_step_and_the_relay_catches_up(
    world: World, aws: FakeAws
) -> None:
    order_id = world.placed()
    aws.topic_is_gone = True
    assert invoke("confirm_order", command(order_id)) == {"outcome": "confirmed"}
    assert world.waiting(order_id) == ["order.placed.v1", "order.confirmed.v1"]
    aws.topic_is_gone = False
    world.age(order_id)
    for _ in range(2):
        invoke("relay_outbox", {})
    assert aws.facts(order_id) == ["order.placed.v1", "order.confirmed.v1"]


def test_a_topic_that_never_answers_does_not_outlive_the_functions_time(
    world: World, aws: FakeAws
) -> None:
    order_id = world.placed()
    aws.topic_answers.clear()
    # Lambda would end the function after 10 s, and the saga would not know that it confirmed.
    start = monotonic()
    assert invoke("confirm_order", command(order_id)) == {"outcome": "confirmed"}
    assert monotonic() - start < 10
    assert world.order(order_id).status is Status.CONFIRMED
    assert "order.confirmed.v1" in world.waiting(order_id)


@pytest.fixture
def no_outbox(world: World) -> Iterator[None]:
    """Let marking rows as published fail, as a lost connection does."""
    world.run(
        sa.text(
            "CREATE FUNCTION refuse_marks() RETURNS trigger LANGUAGE plpgsql AS"
            " $$ BEGIN RAISE EXCEPTION 'connection lost'; END $$"
        )
    )
    world.run(
        sa.text(
            "CREATE TRIGGER refuse_marks BEFORE UPDATE ON outbox FOR EACH ROW"
            " EXECUTE FUNCTION refuse_marks()"
        )
    )
    yield
    world.run(sa.text("DROP TRIGGER refuse_marks ON outbox"))
    world.run(sa.text("DROP FUNCTION refuse_marks()"))


@pytest.mark.usefixtures("no_outbox")
def test_a_database_fault_while_publishing_fails_no_committed_step(world: World) -> None:
    order_id = world.placed()
    assert invoke("charge_payment", charging(order_id)) == {"outcome": "charged"}
    assert invoke("confirm_order", command(order_id)) == {"outcome": "confirmed"}
    assert len(world.waiting(order_id)) == 3


# The relay


def test_the_relay_starts_lost_sagas_and_publishes_lost_facts_once(
    world: World, aws: FakeAws
) -> None:
    lost = [world.placed() for _ in range(3)]
    world.age(*lost)
    for _ in range(2):
        invoke("relay_outbox", {})
    for order_id in lost:
        assert json.loads(aws.executions[str(order_id)]) == {"order_id": str(order_id)}
        assert aws.facts(order_id) == ["order.placed.v1"]
        assert world.waiting(order_id) == []


def test_the_relay_leaves_young_rows_to_those_who_wrote_them(world: World, aws: FakeAws) -> None:
    order_id = world.placed()
    invoke("relay_outbox", {})
    assert aws.facts(order_id) == []
    assert len(world.waiting(order_id)) == 2


def test_a_saga_that_runs_already_is_not_started_again(world: World, aws: FakeAws) -> None:
    order_id = world.placed()
    # Under another input, as Step Functions would refuse it.
    aws.executions[str(order_id)] = "{}"
    world.age(order_id)
    invoke("relay_outbox", {})
    assert aws.executions[str(order_id)] == "{}"
    assert world.waiting(order_id) == []


def test_sagas_that_cannot_start_hold_no_facts_back(world: World, aws: FakeAws) -> None:
    lost = [world.placed() for _ in range(3)]
    world.age(*lost)
    aws.saga_is_gone = True
    invoke("relay_outbox", {})
    for order_id in lost:
        assert aws.facts(order_id) == ["order.placed.v1"]
        assert world.waiting(order_id) == ["saga.start"]
    aws.saga_is_gone = False
    invoke("relay_outbox", {})
    assert all(str(order_id) in aws.executions for order_id in lost)


def test_the_relay_works_through_more_than_one_batch(world: World, aws: FakeAws) -> None:
    lost = [world.placed() for _ in range(120)]
    world.age(*lost)
    assert invoke("relay_outbox", {})["relayed"] >= 240
    assert all(aws.facts(order_id) == ["order.placed.v1"] for order_id in lost)


def test_migrating_what_is_migrated_changes_nothing() -> None:
    assert invoke("migrate", {}) == {"revision": "0002"}
