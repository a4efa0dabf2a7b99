"""What the nightly clean-up removes, and what it leaves alone."""

from collections.abc import Iterator
from uuid import UUID, uuid4

import pytest
import sqlalchemy as sa

from orders.adapters.cleaning import SqlAttic
from orders.domain import Status
from shared.cleaning import clean_up
from tests.support.postgres import second

from .conftest import World

LONG = 60.0
CLOSED = [Status.CONFIRMED, Status.REJECTED, Status.CANCELLED]
OPEN = [Status.PLACED, Status.PARKED]
_AGES = (
    """
    UPDATE orders SET placed_at = placed_at - make_interval(days => :days),
        closed_at = closed_at - make_interval(days => :days)
    WHERE id = :id
    """,
    """
    UPDATE outbox SET created_at = created_at - make_interval(days => :days),
        published_at = CASE WHEN :published THEN now() - make_interval(days => :days) END
    WHERE subject = CAST(:id AS uuid)::text
    """,
)


@pytest.fixture
def attic(world: World) -> SqlAttic:
    # An outbox is in the order of time; what other tests have left in this one is young.
    with world.postgres.begin() as connection:
        connection.execute(sa.text("DELETE FROM outbox"))
    return SqlAttic(world.postgres, key_days=30, outbox_days=90)


@pytest.fixture
def other(world: World) -> Iterator[sa.Engine]:
    """Return an engine as another execution environment has it."""
    with second(world.postgres) as engine:
        yield engine


def aged(world: World, order_id: UUID, days: int, *, published: bool = True) -> UUID:
    """Let an order have happened so long ago; return it."""
    with world.postgres.begin() as connection:
        for statement in _AGES:
            connection.execute(
                sa.text(statement), {"days": days, "id": order_id, "published": published}
            )
    return order_id


def rows(world: World, order_id: UUID) -> int:
    with world.postgres.connect() as connection:
        query = sa.text("SELECT count(*) FROM outbox WHERE subject = :id")
        return int(connection.execute(query, {"id": str(order_id)}).scalar_one())


@pytest.mark.parametrize("status", CLOSED)
def test_what_was_told_of_an_order_goes_when_it_is_long_closed(
    world: World, attic: SqlAttic, status: Status
) -> None:
    old = aged(world, world.standing(status), 91)
    young = aged(world, world.standing(status), 89)
    before = rows(world, young)
    attic.empty_outbox(seconds=LONG)
    assert rows(world, old) == 0
    assert rows(world, young) == before > 0
    assert world.order(old).status is status


@pytest.mark.parametrize("status", OPEN)
def test_what_was_told_of_an_open_order_stays_however_old(
    world: World, attic: SqlAttic, status: Status
) -> None:
    old = aged(world, world.standing(status), 1000)
    before = rows(world, old)
    attic.empty_outbox(seconds=LONG)
    assert rows(world, old) == before > 0


def test_what_nobody_has_taken_yet_stays(world: World, attic: SqlAttic) -> None:
    old = aged(world, world.standing(Status.CONFIRMED), 1000, published=False)
    before = rows(world, old)
    attic.empty_outbox(seconds=LONG)
    assert rows(world, old) == before > 0


def test_what_another_run_is_at_is_left_to_it_and_a_second_run_finds_nothing(
    world: World, attic: SqlAttic, other: sa.Engine
) -> None:
    held, free = (aged(world, world.standing(Status.CONFIRMED), 91) for _ in range(2))
    with other.begin() as connection:
        lock = sa.text("SELECT FROM outbox WHERE subject = :id FOR UPDATE")
        connection.execute(lock, {"id": str(held)})
        assert attic.empty_outbox(seconds=LONG) >= 1  # and does not wait
        assert rows(world, free) == 0
        assert rows(world, held) > 0
    assert attic.empty_outbox(seconds=LONG) == 3
    assert rows(world, held) == 0
    assert attic.empty_outbox(seconds=LONG) == 0


def test_an_expired_key_is_free_and_its_order_stays(world: World, attic: SqlAttic) -> None:
    customer = f"customer-{uuid4().hex}"
    old, young, unfinished = (
        world.placed(customer=customer, key=key) for key in ("old", "young", "open")
    )
    for order_id in (old, young):
        assert world.book.confirm(order_id) is Status.CONFIRMED
    aged(world, old, 31)
    aged(world, young, 29)
    aged(world, unfinished, 1000)
    assert attic.forget_keys(seconds=LONG) >= 1
    assert world.book.placed_under(customer, "old") is None
    assert world.book.placed_under(customer, "young")
    assert world.book.placed_under(customer, "open")
    assert world.order(old).status is Status.CONFIRMED
    again = world.placed(customer=customer, key="old")
    assert again != old
    assert attic.forget_keys(seconds=LONG) == 0


def test_a_run_goes_batch_by_batch_and_begins_none_when_its_time_is_up(
    world: World, attic: SqlAttic
) -> None:
    assert attic
    for _ in range(5):
        aged(world, world.standing(Status.CONFIRMED), 91)
    statement = (
        "DELETE FROM outbox WHERE seq IN (SELECT seq FROM outbox"
        " WHERE created_at < now() - interval '90 days' AND type = 'order.confirmed.v1'"
        " ORDER BY seq LIMIT :batch)"
    )
    times = iter([0.0, 1.0, 2.0, 11.0])
    removed = clean_up(
        world.postgres, statement, {}, seconds=10, batch=2, clock=lambda: next(times)
    )
    assert removed == 4
    assert clean_up(world.postgres, statement, {}, seconds=10, batch=2) == 1
