"""Functions that are killed half way, really: a process each, and SIGKILL where it hurts.

What the dead one left is what its next try, the customer's repeated request, or the relay finds.
"""

import json
import signal
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from uuid import UUID, uuid4

import pytest
import sqlalchemy as sa

from orders.adapters.tables import catalogue
from tests.support.polling import eventually
from tests.support.postgres import second

from .conftest import FakeAws, World
from .environment import start
from .test_handlers import call, command, invoke, placing

pytestmark = pytest.mark.usefixtures("aws")


def killed_by_aws(
    aws: FakeAws, name: str, event: Any, *, at: str, done: bool
) -> "subprocess.Popen[bytes]":
    """Call a function that is killed as it calls AWS, or once AWS has `done` as it was told."""
    processes: list[subprocess.Popen[bytes]] = []

    def kill(called: str) -> None:
        if called == at and processes:
            processes[0].kill()
            processes[0].wait(10)
            if not done:
                raise ConnectionAbortedError("nobody is there to be answered")

    setattr(aws, "after" if done else "before", kill)
    processes.append(start(name, event))
    assert processes[0].wait(60) == -signal.SIGKILL
    aws.heal()
    return processes[0]


@contextmanager
def locked(postgres: sa.Engine, table: str) -> Iterator[Callable[[], int]]:
    """Hold everybody off a table; yield what counts who waits for it."""
    waiting = sa.text(
        "SELECT count(*) FROM pg_locks WHERE NOT granted AND relation = CAST(:t AS regclass)"
    )
    with second(postgres) as other, other.connect() as connection:
        connection.execute(sa.text(f"LOCK TABLE {table} IN ACCESS EXCLUSIVE MODE"))
        yield lambda: int(connection.execute(waiting, {"t": table}).scalar_one())
        connection.rollback()


def killed_while_it_waits_for(postgres: sa.Engine, table: str, event: Any) -> None:
    """Call placeOrder, and kill it while its statement on the table is under way."""
    with locked(postgres, table) as waiters:
        process = start("place_order", event)
        eventually(waiters, f"somebody waits for {table}", within=60, every=0.05)
        process.kill()
        assert process.wait(10) == -signal.SIGKILL
    # The server does not know that nobody listens: the statement that waited goes on.
    eventually(lambda: not idle_less(postgres), "the server is done with it", within=20)


def idle_less(postgres: sa.Engine) -> list[Any]:
    """Return the backends that are still at work for somebody else."""
    with postgres.connect() as connection:
        return list(
            connection.execute(
                sa.text(
                    "SELECT pid FROM pg_stat_activity WHERE datname = current_database()"
                    " AND pid <> pg_backend_pid() AND state = 'active'"
                )
            )
        )


@pytest.fixture
def sku(world: World) -> str:
    """List a product; return its sku."""
    sku = uuid4().hex
    row = {"sku": sku, "name": "Cup", "unit_price": 900, "currency": "EUR", "version": 1}
    world.run(sa.insert(catalogue).values(**row))
    return sku


@pytest.fixture
def customer() -> str:
    return uuid4().hex


def orders_of(world: World, customer: str) -> list[UUID]:
    return [order.id for order in world.book.page(customer, before=None, limit=99)]


def settled_by_replay_and_relay(
    world: World, aws: FakeAws, event: Any, customer: str, *, left: list[UUID]
) -> None:
    """Check that the repeated request and the relay make one order and one saga of what is left."""
    first, again = (invoke("place_order", event) for _ in range(2))
    assert first == again
    assert first["statusCode"] == 202
    (order_id,) = orders_of(world, customer)
    assert json.loads(first["body"])["order_id"] == str(order_id)
    assert left in ([order_id], [])
    world.age(order_id)
    for _ in range(2):
        invoke("relay_outbox", {})
    assert str(order_id) in aws.executions
    assert aws.facts(order_id) == ["order.placed.v1"]
    assert world.waiting(order_id) == []
    # And the key still tells another request apart.
    other = json.loads(event["body"]) | {"payment_token": "tok_declined"}
    assert call("place_order", event | {"body": json.dumps(other)})[0] == 409


def test_killed_before_its_commit_a_request_has_left_nothing_and_its_repetition_places_the_order(
    world: World, aws: FakeAws, postgres: sa.Engine, sku: str, customer: str
) -> None:
    event = placing([sku], customer_id=customer)
    killed_while_it_waits_for(postgres, "catalogue", event)
    assert orders_of(world, customer) == []
    settled_by_replay_and_relay(world, aws, event, customer, left=[])


def test_killed_while_it_commits_a_request_and_its_repetition_are_one_order(
    world: World, aws: FakeAws, postgres: sa.Engine, sku: str, customer: str
) -> None:
    event = placing([sku], customer_id=customer)
    killed_while_it_waits_for(postgres, "orders", event)
    left = orders_of(world, customer)
    assert len(left) == 1  # committed, and nobody heard of it
    settled_by_replay_and_relay(world, aws, event, customer, left=left)


@pytest.mark.parametrize("started", [False, True], ids=["before the saga", "before the answer"])
def test_killed_after_its_commit_a_request_is_answered_by_its_repetition_and_its_saga_starts(
    world: World, aws: FakeAws, sku: str, customer: str, *, started: bool
) -> None:
    event = placing([sku], customer_id=customer)
    killed_by_aws(aws, "place_order", event, at="StartExecution", done=started)
    left = orders_of(world, customer)
    assert len(left) == 1
    assert (str(left[0]) in aws.executions) is started
    settled_by_replay_and_relay(world, aws, event, customer, left=left)


@pytest.mark.parametrize("published", [False, True], ids=["before SNS took it", "after"])
def test_killed_between_commit_and_publication_a_step_is_repeated_and_its_facts_arrive(
    world: World, aws: FakeAws, *, published: bool
) -> None:
    order_id = world.placed()
    killed_by_aws(aws, "confirm_order", command(order_id), at="PublishBatch", done=published)
    told = ["order.placed.v1", "order.confirmed.v1"]
    assert world.facts(order_id)[-1] == "order.confirmed.v1"
    assert len(world.waiting(order_id)) == 3  # not marked, whether they left or not
    world.age(order_id)
    for _ in range(2):
        invoke("relay_outbox", {})
    assert aws.facts(order_id) == told * (2 if published else 1)
    ids = [each["id"] for each in aws.published if each["subject"] == str(order_id)]
    assert len(set(ids)) == 2  # the same messages again, which consumers know by their ids
    assert invoke("confirm_order", command(order_id)) == {"outcome": "confirmed"}
    assert world.facts(order_id).count("order.confirmed.v1") == 1


@pytest.mark.parametrize("published", [False, True], ids=["before SNS took it", "after"])
def test_a_relay_that_is_killed_publishes_again_what_it_had_not_marked(
    world: World, aws: FakeAws, *, published: bool
) -> None:
    lost = [world.placed() for _ in range(3)]
    world.age(*lost)
    killed_by_aws(aws, "relay_outbox", {}, at="PublishBatch", done=published)
    assert all(len(world.waiting(order_id)) == 2 for order_id in lost)
    for _ in range(2):
        invoke("relay_outbox", {})
    for order_id in lost:
        assert aws.facts(order_id) == ["order.placed.v1"] * (2 if published else 1)
        ids = {each["id"] for each in aws.published if each["subject"] == str(order_id)}
        assert len(ids) == 1
        # The killed one had started the sagas; a second start under the same name is none.
        assert json.loads(aws.executions[str(order_id)]) == {"order_id": str(order_id)}
        assert world.waiting(order_id) == []
