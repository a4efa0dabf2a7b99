"""Placing: all of it commits or nothing does, once for each key."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from uuid import uuid4

import pytest
import sqlalchemy as sa

from orders.adapters.order_book import SqlOrderBook
from orders.adapters.tables import orders, outbox

from .conftest import World, an_order, at_once


def test_an_order_commits_with_its_fact_and_its_sagas_start(world: World) -> None:
    order = an_order()
    document = {"order_id": str(order.id), "total": 2**53 - 1, "lines": [{"sku": "é", "n": 1}]}
    assert world.book.place(order, document, "key", "hash")
    assert world.order(order.id) == order
    assert world.facts(order.id) == ["order.placed.v1", "saga.start"]
    start = sa.select(outbox.c.body).where(
        outbox.c.subject == str(order.id), outbox.c.destination == "saga"
    )
    # What the relay starts the saga with is what the request would have started it with.
    assert world.run(start).scalar_one() == document


@contextmanager
def broken_outbox(world: World, subject: str) -> Iterator[None]:
    world.run(
        sa.text(
            "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS"
            " $$ BEGIN RAISE EXCEPTION 'no room'; END $$"
        )
    )
    world.run(
        sa.text(
            "CREATE TRIGGER refuse BEFORE INSERT ON outbox FOR EACH ROW"
            f" WHEN (NEW.subject = '{subject}' AND NEW.destination = 'saga')"
            " EXECUTE FUNCTION refuse()"
        )
    )
    try:
        yield
    finally:
        world.run(sa.text("DROP TRIGGER refuse ON outbox"))
        world.run(sa.text("DROP FUNCTION refuse()"))


def test_an_order_whose_outbox_cannot_be_written_is_not_placed(world: World) -> None:
    order = an_order(customer=uuid4().hex)
    with broken_outbox(world, str(order.id)), pytest.raises(sa.exc.DatabaseError, match="no room"):
        world.book.place(order, {}, "key", "hash")
    assert world.book.get(order.id) is None
    assert world.facts(order.id) == []
    assert world.book.place(order, {}, "key", "hash")  # the key was not used up


def test_placing_twice_under_one_key_writes_once(world: World) -> None:
    first, second = an_order(customer="twice"), an_order(customer="twice")
    assert world.book.place(first, {}, "key", "hash")
    assert not world.book.place(second, {}, "key", "hash")
    assert world.book.get(second.id) is None
    assert world.facts(second.id) == []
    assert world.book.placed_under("twice", "key") == (first, "hash")


def test_a_key_belongs_to_its_customer(world: World) -> None:
    key = uuid4().hex
    for customer in ("ada", "bob"):
        assert world.book.place(an_order(customer=customer), {}, key, "hash")


def test_orders_without_a_key_never_collide(world: World) -> None:
    for _ in range(2):
        assert world.book.place(an_order(), {}, None, "hash")


def test_a_key_that_nobody_used_holds_nothing(world: World) -> None:
    assert world.book.placed_under("ada", "never") is None


def test_eight_requests_at_once_under_one_key_place_one_order(
    world: World, engines: list[sa.Engine]
) -> None:
    customer = uuid4().hex
    wanted = [an_order(customer=customer) for _ in engines]

    def request(place: int) -> bool:
        book = SqlOrderBook(engines[place])
        placed = book.place(wanted[place], {}, "key", "hash")
        held = book.placed_under(customer, "key")
        assert held
        return placed and held[0].id == wanted[place].id

    results = at_once(*(partial(request, place) for place in range(8)))
    assert sorted(results) == [False] * 7 + [True]
    assert len(world.book.page(customer, before=None, limit=9)) == 1
    assert sum(len(world.facts(order.id)) for order in wanted) == 2


@pytest.mark.parametrize("first_commits", [True, False])
def test_a_second_request_waits_for_the_outcome_of_the_first(
    world: World, engines: list[sa.Engine], *, first_commits: bool
) -> None:
    first, second = (an_order(customer=uuid4().hex) for _ in range(2))
    answers: list[bool] = []
    with engines[0].connect() as connection:
        connection.execute(
            sa.insert(orders).values(
                id=first.id,
                customer_id=second.customer_id,
                email="",
                lines=[],
                total=0,
                currency="EUR",
                status="PLACED",
                version=1,
                idempotency_key="key",
                request_hash="first",
                placed_at=first.placed_at,
            )
        )
        book = SqlOrderBook(engines[1])
        thread = threading.Thread(
            target=lambda: answers.append(book.place(second, {}, "key", "hash"))
        )
        thread.start()
        thread.join(0.3)
        assert answers == []  # nobody knows yet
        if first_commits:
            connection.commit()
        else:
            connection.rollback()
        thread.join(5)
    assert answers == [not first_commits]
    held = world.book.placed_under(second.customer_id, "key")
    assert held
    assert held[0].id == (first.id if first_commits else second.id)
