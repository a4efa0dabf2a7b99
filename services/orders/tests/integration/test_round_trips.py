"""How often a warm call waits for its database, counted on the wire between the two.

BEGIN and COMMIT count too, where they are sent: one statement is a transaction by itself, whose
commit the server does before it answers.
"""

import json
from collections import Counter
from collections.abc import Callable, Iterator
from importlib import import_module
from typing import Any
from uuid import uuid4

import pytest
import sqlalchemy as sa

from orders import bootstrap
from orders.domain import Status
from tests.support.environments import engines_of, fresh_module
from tests.support.postgres import url_of
from tests.support.relay import Relay, relay

from .conftest import FakeAws, World
from .test_handlers import Context, captured, listing

SKUS = ["RED-CUP", "BLUE-CUP"]
CALLS = 12
PREPARED_AT = 5
"""At its fifth call on a connection the driver prepares a statement, for one round trip more."""


@pytest.fixture(autouse=True)
def products(aws: FakeAws) -> None:
    """List two products."""
    assert aws.server_port
    import_module("orders.handlers.update_catalogue").handler(listing(SKUS), Context())


@pytest.fixture
def wire(postgres: sa.Engine, monkeypatch: pytest.MonkeyPatch) -> Iterator[Relay]:
    """Return the relay through which functions reach Postgres from now on."""
    there = f"{postgres.url.host}:{postgres.url.port}"
    with relay(there) as between, engines_of(bootstrap):
        monkeypatch.setenv("DATABASE_URL", url_of(postgres).replace(there, between.address))
        yield between


@pytest.fixture
def function(wire: Relay) -> Callable[[str], Any]:
    """Return `name -> handler`, in an environment of its own that knows only the relay."""
    assert wire.address
    return lambda name: fresh_module(f"orders.handlers.{name}").handler


def placing(**changes: Any) -> Any:
    event = captured("place_order", KEY=uuid4().hex)
    lines = [{"sku": sku, "quantity": 1} for sku in SKUS]
    return event | {"body": json.dumps(json.loads(event["body"]) | {"lines": lines} | changes)}


def each_call(wire: Relay, call: Callable[[], Any], *, statements: int = 1) -> int:
    """Call often; return what a warm call costs, and check what preparing its statements adds."""
    call()  # the environment's first opens its connection
    costs = []
    for _ in range(CALLS):
        before = wire.round_trips
        call()
        costs.append(wire.round_trips - before)
    warm = min(costs)
    assert Counter(costs)[warm] >= CALLS - statements
    assert sum(costs) <= CALLS * warm + statements
    assert wire.connections == 1
    return warm


def succeeding(handler: Any, event: Callable[[], Any], status: int) -> Callable[[], Any]:
    def call() -> Any:
        answer = handler(event(), Context())
        assert answer["statusCode"] == status
        return json.loads(answer["body"])

    return call


def test_placing_asks_for_prices_and_commits_the_order_with_its_outbox(
    function: Callable[[str], Any], wire: Relay, world: World
) -> None:
    call = succeeding(function("place_order"), placing, 202)
    assert each_call(wire, call, statements=2) == 2
    # Order and outbox were written by one transaction.
    writers = sa.text(
        "SELECT count(*), count(DISTINCT xmin::text) FROM ("
        " SELECT xmin FROM orders WHERE id = CAST(:id AS uuid)"
        " UNION ALL SELECT xmin FROM outbox WHERE subject = :id) written"
    )
    assert world.run(writers.bindparams(id=call()["order_id"])).one() == (3, 1)


def test_a_replayed_order_takes_one_more_look(function: Callable[[str], Any], wire: Relay) -> None:
    event = placing()
    call = succeeding(function("place_order"), lambda: event, 202)
    assert each_call(wire, call, statements=3) == 3


def test_an_order_is_read_in_one(function: Callable[[str], Any], wire: Relay, world: World) -> None:
    order_id = str(world.standing(Status.PARKED))
    event = {"pathParameters": {"order_id": order_id}}
    call = succeeding(function("get_order"), lambda: event, 200)
    assert each_call(wire, call) == 1
    assert call()["parked"]["step"] == "Release Stock"


def test_a_page_of_orders_is_read_in_one(
    function: Callable[[str], Any], wire: Relay, world: World
) -> None:
    customer = uuid4().hex
    for _ in range(3):
        world.placed(customer=customer)
    event = {"queryStringParameters": {"customer_id": customer, "limit": "2"}}
    call = succeeding(function("list_orders"), lambda: event, 200)
    assert each_call(wire, call) == 1
    assert len(call()["orders"]) == 2


def test_a_page_of_products_is_read_in_one(function: Callable[[str], Any], wire: Relay) -> None:
    call = succeeding(function("list_products"), lambda: {"queryStringParameters": None}, 200)
    assert each_call(wire, call) == 1
