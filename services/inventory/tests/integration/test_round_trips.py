"""How often a warm command waits for its database, counted on the wire between the two.

BEGIN and COMMIT count too, where they are sent: one statement is a transaction by itself, whose
commit the server does before it answers.
"""

from collections.abc import Callable, Iterator
from typing import Any
from uuid import uuid4

import pytest
import sqlalchemy as sa

from inventory import bootstrap
from tests.support.environments import engines_of, fresh_module
from tests.support.postgres import url_of
from tests.support.relay import Relay, relay

from .conftest import FakeAws
from .test_handlers import Context, deliver, event, function, on_shelf

CALLS = 12


@pytest.fixture
def wire(postgres: sa.Engine, aws: FakeAws, monkeypatch: pytest.MonkeyPatch) -> Iterator[Relay]:
    """Return the relay through which functions reach Postgres from now on."""
    assert aws.server_port  # its settings stand before ours, and deliveries keep to them
    function("receive_stock")
    there = f"{postgres.url.host}:{postgres.url.port}"
    with relay(there) as between, engines_of(bootstrap):
        monkeypatch.setenv("DATABASE_URL", url_of(postgres).replace(there, between.address))
        yield between


@pytest.fixture
def command(aws: FakeAws, wire: Relay) -> Callable[..., dict[str, str]]:
    """Return `(name, order, sku) -> outcome`, in an environment that knows only the relay."""
    assert wire.address
    handler = fresh_module("inventory.handlers.handle_commands").handler

    def carry_out(name: str, order: str, sku: str) -> Any:
        assert handler(event(name, order=order, sku=sku), Context()) == {"batchItemFailures": []}
        return aws.replies[f"token-{order}"]

    return carry_out


def warm(wire: Relay, call: Callable[[], Any], statements: int) -> int:
    """Call often; return what a call costs, and check what preparing its statements adds.

    At its fifth call on a connection the driver prepares a statement, for one round trip more.
    """
    call()  # the environment's first opens its connection
    costs = []
    for _ in range(CALLS):
        before = wire.round_trips
        call()
        costs.append(wire.round_trips - before)
    assert sum(costs) <= CALLS * min(costs) + statements
    assert wire.connections == 1
    return min(costs)


def test_a_reservation_and_its_commit_are_one(
    command: Callable[..., dict[str, str]], wire: Relay, postgres: sa.Engine
) -> None:
    sku = deliver(1000)

    def reserve() -> None:
        assert command("reserve", str(uuid4()), sku) == {"outcome": "reserved"}

    assert warm(wire, reserve, statements=1) == 1
    assert on_shelf(postgres, sku) == (1000 - 2 * (CALLS + 1), 2 * (CALLS + 1), 0)


def test_a_refusal_is_looked_at_and_then_written_down(
    command: Callable[..., dict[str, str]], wire: Relay
) -> None:
    sku = deliver(1)

    def refuse() -> None:
        answer = {"outcome": "refused", "reason": "OUT_OF_STOCK"}
        assert command("reserve", str(uuid4()), sku) == answer

    # The look; then BEGIN, marker, stock, marker, COMMIT.
    assert warm(wire, refuse, statements=6) == 6


def test_the_other_steps_lock_and_move_at_once(
    command: Callable[..., dict[str, str]], wire: Relay
) -> None:
    sku = deliver(1000)
    orders = [str(uuid4()) for _ in range(CALLS + 1)]
    for order in orders:
        command("reserve", order, sku)
    # BEGIN and COMMIT, and between them: reservation, shipment, stock; for the undos a look at what
    # they undo, and a mark on it.
    for name, cost in (("ship", 5), ("cancel_shipment", 7), ("release", 7)):
        each = iter(orders)

        def step(name: str = name, each: Iterator[str] = each) -> None:
            command(name, next(each), sku)

        assert warm(wire, step, statements=5) == cost
