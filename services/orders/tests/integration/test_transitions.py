"""An order's status against the database: what may follow what, and who wins a race."""

from functools import partial
from itertools import product as pairs
from uuid import UUID

import psycopg
import pytest
import sqlalchemy as sa

from orders.adapters.order_book import SqlOrderBook
from orders.adapters.tables import orders, parked_orders
from orders.domain import TRANSITIONS, Status
from shared.ids import uuid7

from .conftest import World, an_order, at_once

ROUNDS = 12

Pair = tuple[Status, Status]


@pytest.mark.parametrize(("before", "after"), list(pairs(Status, Status)))
def test_the_database_allows_what_the_table_lists_and_refuses_the_rest(
    world: World, before: Status, after: Status
) -> None:
    order_id = world.standing(before)
    if after in TRANSITIONS[before] or after is before:
        world.set_status(order_id, after)
        assert world.order(order_id).status is after
    else:
        with pytest.raises(sa.exc.IntegrityError, match="cannot go from"):
            world.set_status(order_id, after)
        assert world.order(order_id).status is before


def test_the_database_and_the_code_hold_the_same_table(world: World) -> None:
    rows = world.run(sa.text("SELECT before, after FROM order_transitions"))
    listed = {(before, after) for before in Status for after in TRANSITIONS[before]}
    assert {(Status(row.before), Status(row.after)) for row in rows} == listed


_CLOSED_AT = "CASE WHEN :after IN ('PLACED', 'PARKED') THEN NULL ELSE now() END"
_A_ROW = "'{}'::jsonb, 0, 'EUR', 'PLACED', 1, '', now()"
_COLUMNS = (
    "id, customer_id, email, lines, total, currency, status, version, request_hash, placed_at"
)


@pytest.mark.parametrize(
    "statement",
    [
        f"UPDATE orders SET (closed_at, status) = (SELECT {_CLOSED_AT}, :after) WHERE id = :id",
        f"""UPDATE orders o SET status = s.status, closed_at = {_CLOSED_AT}
            FROM (VALUES (CAST(:after AS text))) AS s (status) WHERE o.id = :id""",
        f"""INSERT INTO orders ({_COLUMNS}) VALUES (:id, '', '', {_A_ROW})
            ON CONFLICT (id) DO UPDATE SET status = :after, closed_at = {_CLOSED_AT}""",
        f"""MERGE INTO orders o USING (VALUES (CAST(:id AS uuid))) AS s (id) ON o.id = s.id
            WHEN MATCHED THEN UPDATE SET status = :after, closed_at = {_CLOSED_AT}""",
        f"""WITH moved AS (UPDATE orders SET status = :after, closed_at = {_CLOSED_AT}
            WHERE id = :id RETURNING id) SELECT count(*) FROM moved""",
        # With others whose change is allowed: then none of them changes.
        f"""UPDATE orders SET status = :after, closed_at = {_CLOSED_AT}
            WHERE id IN (:id, :placed)""",
    ],
    ids=["row", "from", "upsert", "merge", "with", "many"],
)
def test_whatever_statement_tries_an_unlisted_change_it_is_refused(
    world: World, statement: str
) -> None:
    for before, after in pairs(Status, Status):
        if after in TRANSITIONS[before] or after is before:
            continue
        order_id, placed = world.standing(before), world.placed()
        values = {"id": order_id, "after": after.value}
        if ":placed" in statement:
            values["placed"] = placed
        with pytest.raises(sa.exc.IntegrityError, match="cannot go from"):
            world.run(sa.text(statement).bindparams(**values))
        assert world.order(order_id).status is before
        assert world.order(placed).status is Status.PLACED


@pytest.mark.parametrize("before", list(Status))
@pytest.mark.parametrize("unknown", ["SHIPPED", "placed", "", None])
def test_a_status_that_nobody_knows_is_refused(
    world: World, before: Status, unknown: str | None
) -> None:
    order_id = world.standing(before)
    statement = sa.update(orders).where(orders.c.id == order_id).values(status=unknown)
    with pytest.raises(sa.exc.IntegrityError):
        world.run(statement)
    assert world.order(order_id).status is before


def test_an_order_that_is_copied_in_begins_placed_too(world: World) -> None:
    with world.postgres.connect() as connection:
        raw = connection.connection.driver_connection
        assert raw
        line = f"{uuid7()},a,a,{{}},0,EUR,CONFIRMED,1,x,2026-11-24T00:00:00Z"
        with (
            pytest.raises(psycopg.errors.CheckViolation, match="begins PLACED"),
            raw.cursor() as cursor,
            cursor.copy(f"COPY orders ({_COLUMNS}) FROM STDIN WITH (FORMAT csv)") as copy,
        ):
            copy.write(f"{line}\n")
        raw.rollback()


@pytest.mark.parametrize("status", [each for each in Status if each is not Status.PLACED])
def test_no_order_begins_in_the_middle(world: World, status: Status) -> None:
    values = {
        "id": uuid7(),
        "customer_id": "ada",
        "email": "",
        "lines": [],
        "total": 0,
        "currency": "EUR",
        "status": status.value,
        "version": 1,
        "request_hash": "",
        "placed_at": sa.func.now(),
        "closed_at": sa.func.now(),
    }
    with pytest.raises(sa.exc.IntegrityError, match="begins PLACED"):
        world.run(sa.insert(orders).values(**values))


def test_a_closed_order_says_when_and_an_open_one_does_not(world: World) -> None:
    order_id = world.placed()
    for status, closed_at in (("CONFIRMED", None), ("PLACED", sa.func.now())):
        with pytest.raises(sa.exc.IntegrityError, match="orders_closed_at"):
            world.run(
                sa.update(orders)
                .where(orders.c.id == order_id)
                .values(status=status, closed_at=closed_at)
            )


P, C, R, X, K = Status.PLACED, Status.CONFIRMED, Status.REJECTED, Status.CANCELLED, Status.PARKED


@pytest.mark.parametrize(
    ("before", "after"), [(P, C), (C, C), (R, R), (X, X), (K, K)], ids=lambda each: each.value
)
def test_confirming_moves_a_placed_order_alone(world: World, before: Status, after: Status) -> None:
    order_id = world.standing(before)
    assert [world.book.confirm(order_id) for _ in range(2)] == [after] * 2
    assert world.facts(order_id).count("order.confirmed.v1") == (after is C)


@pytest.mark.parametrize(
    ("before", "after"), [(P, R), (C, C), (R, R), (X, X), (K, R)], ids=lambda each: each.value
)
def test_closing_moves_an_open_order_alone(world: World, before: Status, after: Status) -> None:
    order_id = world.standing(before)
    assert [world.book.close(order_id, "DECLINED") for _ in range(2)] == [after] * 2
    facts = world.facts(order_id)
    assert facts.count("order.rejected.v1") == (after is R)
    assert facts.count("order.cancelled.v1") == (after is X)
    assert world.order(order_id).status is after


@pytest.mark.parametrize(
    ("before", "after"), [(P, K), (C, C), (R, R), (X, X), (K, K)], ids=lambda each: each.value
)
def test_parking_moves_a_placed_order_alone_and_keeps_every_token(
    world: World, before: Status, after: Status
) -> None:
    order_id = world.standing(before)
    for token in ("one", "two"):
        assert world.book.park(order_id, "Refund Payment", "Oh", token) is after
    assert world.facts(order_id).count("order.parked.v1") == (after is K)
    parked = world.book.parked(order_id)
    assert parked
    assert (parked.step, parked.task_token) == ("Refund Payment", "two")


@pytest.mark.parametrize(
    ("before", "heard"), [(P, True), (C, False), (R, False), (X, False), (K, True)]
)
def test_cancelling_is_heard_while_the_order_is_open(
    world: World, before: Status, *, heard: bool
) -> None:
    order_id = world.standing(before)
    assert [world.book.request_cancel(order_id) for _ in range(2)] == [heard] * 2
    assert world.order(order_id).status is before  # the saga does the rest
    assert world.book.close(order_id, "DECLINED") is (X if heard else before)


@pytest.mark.parametrize("before", list(Status))
def test_withdrawing_changes_no_status_and_bars_a_late_confirmation(
    world: World, before: Status
) -> None:
    order_id = world.standing(before)
    assert [world.book.withdraw(order_id) for _ in range(2)] == [before] * 2
    assert world.book.confirm(order_id) is before


def test_there_is_nothing_to_withdraw_from_an_order_that_nobody_knows(world: World) -> None:
    assert world.book.withdraw(uuid7()) is None


def test_a_cancelled_wish_bars_the_pivot(world: World) -> None:
    order_id = world.placed()
    assert world.book.request_cancel(order_id)
    assert world.book.confirm(order_id) is P


def test_a_parked_order_that_the_customer_cancels_ends_cancelled(world: World) -> None:
    order_id = world.standing(K)
    assert world.book.request_cancel(order_id)
    assert world.book.close(order_id, "DECLINED") is X
    order = world.order(order_id)
    assert order.reason == "CUSTOMER_REQUEST"
    assert order.closed_at


def test_each_change_counts_the_version_that_its_fact_carries(world: World) -> None:
    order_id = world.standing(K)
    world.book.close(order_id, "DECLINED")
    bodies = world.run(
        sa.text(f"SELECT body FROM outbox WHERE subject = '{order_id}' ORDER BY seq")
    ).scalars()
    told = [(each["type"], each["data"]["version"]) for each in bodies if "type" in each]
    assert told == [("order.placed.v1", 1), ("order.parked.v1", 2), ("order.rejected.v1", 3)]


def test_an_order_that_was_never_placed_cannot_be_parked(world: World) -> None:
    with pytest.raises(sa.exc.IntegrityError):
        world.book.park(uuid7(), "Release Stock", "Oh", "token")


def test_forgetting_a_token_leaves_a_newer_one(world: World) -> None:
    order_id = world.standing(K)
    world.book.unpark(order_id, "another")
    assert world.book.parked(order_id)
    for _ in range(2):
        world.book.unpark(order_id, "token")
        assert world.book.parked(order_id) is None
    count = sa.select(sa.func.count()).where(parked_orders.c.order_id == order_id)
    assert world.run(count).scalar_one() == 0


def books(engines: list[sa.Engine]) -> list[SqlOrderBook]:
    return [SqlOrderBook(engine) for engine in engines]


def ending(world: World, order_id: UUID) -> list[str]:
    return [each for each in world.facts(order_id) if each not in {"order.placed.v1", "saga.start"}]


def test_confirming_and_cancelling_at_once_has_one_winner(
    world: World, engines: list[sa.Engine]
) -> None:
    one, two = books(engines)[:2]
    for _ in range(ROUNDS):
        order_id = world.placed()
        status, cancelled = at_once(
            partial(one.confirm, order_id), partial(two.request_cancel, order_id)
        )
        confirmed = status is C
        assert confirmed is not cancelled
        assert ending(world, order_id) == ["order.confirmed.v1"] * confirmed


def test_confirming_and_withdrawing_at_once_agree_on_the_outcome(
    world: World, engines: list[sa.Engine]
) -> None:
    one, two = books(engines)[:2]
    for _ in range(ROUNDS):
        order_id = world.placed()
        confirmed, withdrawn = at_once(
            partial(one.confirm, order_id),
            partial(two.withdraw, order_id),
        )
        assert confirmed is withdrawn is world.order(order_id).status
        # However late another try comes, it changes nothing.
        assert one.confirm(order_id) is confirmed


def test_confirming_and_closing_at_once_ends_the_order_once(
    world: World, engines: list[sa.Engine]
) -> None:
    one, two = books(engines)[:2]
    for _ in range(ROUNDS):
        order_id = world.placed()
        statuses = at_once(
            partial(one.confirm, order_id),
            partial(two.close, order_id, "DECLINED"),
        )
        assert statuses == [world.order(order_id).status] * 2
        assert len(ending(world, order_id)) == 1


def test_closing_eight_times_at_once_announces_one_end(
    world: World, engines: list[sa.Engine]
) -> None:
    order_id = world.placed()
    closed = at_once(
        *(lambda book=book: book.close(order_id, "DECLINED") for book in books(engines))
    )
    assert closed == [R] * 8
    assert ending(world, order_id) == ["order.rejected.v1"]


def test_closing_and_cancelling_at_once_tells_the_customer_the_truth(
    world: World, engines: list[sa.Engine]
) -> None:
    one, two = books(engines)[:2]
    for _ in range(ROUNDS):
        order_id = world.placed()
        status, heard = at_once(
            partial(one.close, order_id, "DECLINED"),
            partial(two.request_cancel, order_id),
        )
        assert status is (X if heard else R)


def test_an_order_reads_back_as_it_was_placed(world: World) -> None:
    order = an_order(customer="back", sku="Z.z_9-")
    world.book.place(order, {}, None, "hash")
    assert world.book.get(order.id) == order
    assert world.book.get(uuid7()) is None
