"""The saga's steps on a real Postgres: whole or not at all, once, and side by side."""

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from typing import Any
from uuid import uuid4

import pytest
import sqlalchemy as sa

from inventory.adapters.books import SqlBooks, SqlPage
from inventory.adapters.tables import outbox, reservations, stock
from inventory.domain import (
    CancelShipment,
    Command,
    DeliveredProduct,
    Delivery,
    Listing,
    Outcome,
    Reason,
    Release,
    Reserve,
    Ship,
    tracking_of,
)
from inventory.use_cases import Done, cancel_shipment, receive_stock, release, reserve, ship
from shared.errors import TransientFault
from tests.support.postgres import second

MUG = Listing("Mug", 900, "EUR")
REFUSED_FOR_STOCK = Outcome("refused", Reason.OUT_OF_STOCK)


Step = Callable[[SqlBooks], Done]


def step(command: Command) -> Step:
    """Return what takes the command's step on given books."""
    match command:
        case Reserve():
            return lambda books: reserve(command, books=books)
        case Release():
            return lambda books: release(command, books=books)
        case Ship():
            return lambda books: ship(command, books=books)
        case CancelShipment():
            return lambda books: cancel_shipment(command, books=books)


class Unannounced:
    """Leaves everything in the outbox."""

    def flush(self, skus: object) -> None:
        """Publish nothing."""


def put(postgres: sa.Engine, *quantities: int) -> list[str]:
    """Put new skus on the shelf, of the given quantities; return them in order."""
    run = uuid4().hex
    skus = [f"{run}-{at}" for at in range(len(quantities))]
    products = (DeliveredProduct(sku, MUG, n) for sku, n in zip(skus, quantities, strict=True))
    receive_stock(
        Delivery(run, tuple(products)), books=SqlBooks(postgres), announcements=Unannounced()
    )
    return skus


def shelf(postgres: sa.Engine, sku: str) -> tuple[int, ...]:
    """Return how many are available, reserved and shipped."""
    columns = (stock.c.available, stock.c.reserved, stock.c.shipped)
    with postgres.connect() as connection:
        return tuple(connection.execute(sa.select(*columns).where(stock.c.sku == sku)).one())


def together(postgres: sa.Engine, steps: list[Step]) -> list[Outcome]:
    """Take steps at the same moment, each in an execution environment of its own."""
    start = threading.Barrier(len(steps))
    with ExitStack() as stack, ThreadPoolExecutor(len(steps)) as pool:
        books = [SqlBooks(stack.enter_context(second(postgres))) for _ in steps]

        def take(one: Step, own: SqlBooks) -> Outcome:
            start.wait(10)
            return one(own).outcome

        return list(pool.map(take, steps, books))


def test_a_reservation_of_several_lines_is_all_or_nothing(postgres: sa.Engine) -> None:
    plenty, few = put(postgres, 10, 1)
    books = SqlBooks(postgres)
    refused = reserve(Reserve(uuid4(), {plenty: 3, few: 2}), books=books)
    assert refused.outcome == REFUSED_FOR_STOCK
    assert shelf(postgres, plenty) == (10, 0, 0)
    assert shelf(postgres, few) == (1, 0, 0)
    taken = reserve(Reserve(uuid4(), {plenty: 3, few: 1}), books=books)
    assert taken.outcome == Outcome("reserved")
    assert shelf(postgres, plenty) == (7, 3, 0)
    assert shelf(postgres, few) == (0, 1, 0)


def test_an_unknown_sku_refuses_the_whole_order(postgres: sa.Engine) -> None:
    (sku,) = put(postgres, 10)
    answer = reserve(Reserve(uuid4(), {sku: 1, "no such": 1}), books=SqlBooks(postgres))
    assert answer.outcome == Outcome("refused", Reason.UNKNOWN_SKU)
    assert shelf(postgres, sku) == (10, 0, 0)


def test_a_quantity_beyond_any_database_number_is_out_of_stock(postgres: sa.Engine) -> None:
    (sku,) = put(postgres, 10)
    answer = reserve(Reserve(uuid4(), {sku: 10**30}), books=SqlBooks(postgres))
    assert answer.outcome == REFUSED_FOR_STOCK


def test_a_refused_reservation_stays_refused(postgres: sa.Engine) -> None:
    (sku,) = put(postgres, 1)
    books, order = SqlBooks(postgres), uuid4()
    for _ in range(2):
        assert reserve(Reserve(order, {sku: 2}), books=books).outcome == REFUSED_FOR_STOCK
    assert release(Release(order), books=books).outcome == Outcome("released")
    assert reserve(Reserve(order, {sku: 2}), books=books).outcome == REFUSED_FOR_STOCK
    assert shelf(postgres, sku) == (1, 0, 0)


def test_reserving_twice_takes_the_stock_once(postgres: sa.Engine) -> None:
    (sku,) = put(postgres, 10)
    command = Reserve(uuid4(), {sku: 3})
    for _ in range(2):
        assert reserve(command, books=SqlBooks(postgres)).outcome == Outcome("reserved")
    assert shelf(postgres, sku) == (7, 3, 0)


def test_releasing_twice_returns_the_stock_once(postgres: sa.Engine) -> None:
    (sku,) = put(postgres, 10)
    books, order = SqlBooks(postgres), uuid4()
    reserve(Reserve(order, {sku: 3}), books=books)
    reserve(Reserve(uuid4(), {sku: 3}), books=books)
    for _ in range(2):
        assert release(Release(order), books=books).outcome == Outcome("released")
    assert shelf(postgres, sku) == (7, 3, 0)


def test_a_release_before_its_reservation_refuses_the_late_one(postgres: sa.Engine) -> None:
    (sku,) = put(postgres, 10)
    books, order = SqlBooks(postgres), uuid4()
    assert release(Release(order), books=books).outcome == Outcome("released")
    late = reserve(Reserve(order, {sku: 3}), books=books)
    assert late.outcome == Outcome("refused", Reason.RELEASED)
    assert shelf(postgres, sku) == (10, 0, 0)


def test_shipping_twice_ships_once_under_one_tracking_number(postgres: sa.Engine) -> None:
    (sku,) = put(postgres, 10)
    books, order = SqlBooks(postgres), uuid4()
    reserve(Reserve(order, {sku: 3}), books=books)
    for _ in range(2):
        shipped = ship(Ship(order), books=books).outcome
        assert shipped == Outcome("shipped", tracking=tracking_of(order))
    assert shelf(postgres, sku) == (7, 0, 3)


def test_cancelling_a_shipment_twice_brings_it_back_once(postgres: sa.Engine) -> None:
    (sku,) = put(postgres, 10)
    books, order, other = SqlBooks(postgres), uuid4(), uuid4()
    for each in (order, other):
        reserve(Reserve(each, {sku: 3}), books=books)
        ship(Ship(each), books=books)
    for _ in range(2):
        cancelled = cancel_shipment(CancelShipment(order), books=books)
        assert cancelled.outcome == Outcome("cancelled")
    assert shelf(postgres, sku) == (4, 3, 3)
    assert ship(Ship(order), books=books).outcome == Outcome("refused", Reason.CANCELLED)
    release(Release(order), books=books)
    assert shelf(postgres, sku) == (7, 0, 3)


def test_a_cancellation_before_its_shipment_refuses_the_late_one(postgres: sa.Engine) -> None:
    (sku,) = put(postgres, 10)
    books, order = SqlBooks(postgres), uuid4()
    reserve(Reserve(order, {sku: 3}), books=books)
    cancelled = cancel_shipment(CancelShipment(order), books=books)
    assert cancelled.outcome == Outcome("cancelled")
    assert ship(Ship(order), books=books).outcome == Outcome("refused", Reason.CANCELLED)
    assert shelf(postgres, sku) == (7, 3, 0)


def test_a_shipment_of_too_many_units_is_refused_and_stays_refused(postgres: sa.Engine) -> None:
    one, other = put(postgres, 900, 900)
    books, order = SqlBooks(postgres), uuid4()
    reserve(Reserve(order, {one: 500, other: 501}), books=books)
    too_large = Outcome("refused", Reason.SHIPMENT_TOO_LARGE)
    for _ in range(2):
        assert ship(Ship(order), books=books).outcome == too_large
    assert shelf(postgres, one) == (400, 500, 0)
    release(Release(order), books=books)
    assert shelf(postgres, one) == (900, 0, 0)


def test_shipping_what_was_never_reserved_is_refused(postgres: sa.Engine) -> None:
    books, order = SqlBooks(postgres), uuid4()
    for _ in range(2):
        assert ship(Ship(order), books=books).outcome == Outcome("refused", Reason.NOT_RESERVED)


def test_releasing_what_is_on_its_way_is_a_bug_and_changes_nothing(postgres: sa.Engine) -> None:
    (sku,) = put(postgres, 10)
    books, order = SqlBooks(postgres), uuid4()
    reserve(Reserve(order, {sku: 3}), books=books)
    ship(Ship(order), books=books)
    with pytest.raises(RuntimeError, match="shipment still stands"):
        release(Release(order), books=books)
    assert shelf(postgres, sku) == (7, 0, 3)


def test_of_two_buyers_of_the_last_item_exactly_one_gets_it(postgres: sa.Engine) -> None:
    for _ in range(20):
        (sku,) = put(postgres, 1)
        buyers = [step(Reserve(uuid4(), {sku: 1})) for _ in range(2)]
        outcomes = together(postgres, buyers)
        assert sorted(outcome.code for outcome in outcomes) == ["refused", "reserved"]
        assert shelf(postgres, sku) == (0, 1, 0)


def test_one_command_delivered_to_many_at_once_takes_effect_once(postgres: sa.Engine) -> None:
    (sku,) = put(postgres, 10)
    order = uuid4()
    for command, after in (
        (Reserve(order, {sku: 3}), (7, 3, 0)),
        (Ship(order), (7, 0, 3)),
        (CancelShipment(order), (7, 3, 0)),
        (Release(order), (10, 0, 0)),
    ):
        assert len(set(together(postgres, [step(command)] * 4))) == 1
        assert shelf(postgres, sku) == after


def test_a_step_and_its_undo_at_the_same_moment_leave_nothing_behind(postgres: sa.Engine) -> None:
    for _ in range(20):
        (sku,) = put(postgres, 10)
        order = uuid4()
        together(postgres, [step(Reserve(order, {sku: 3})), step(Release(order))])
        assert shelf(postgres, sku) == (10, 0, 0)


def test_orders_with_the_same_skus_in_opposite_order_never_deadlock(postgres: sa.Engine) -> None:
    skus = put(postgres, *[1000] * 8)
    forward = dict.fromkeys(skus, 1)
    backward = dict.fromkeys(reversed(skus), 1)

    def many(wanted: dict[str, int]) -> Step:
        def run(books: SqlBooks) -> Done:
            # Released every other time, so that undos cross the path of steps as well.
            for at in range(25):
                order = uuid4()
                done = reserve(Reserve(order, wanted), books=books)
                if at % 2:
                    release(Release(order), books=books)
            return done

        return run

    outcomes = together(postgres, [many(forward), many(backward), many(forward), many(backward)])
    assert {outcome.code for outcome in outcomes} == {"reserved"}
    assert shelf(postgres, skus[0]) == (948, 52, 0)


def test_a_low_stock_fact_commits_with_the_reservation(postgres: sa.Engine) -> None:
    enough, low = put(postgres, 10, 10)
    books = SqlBooks(postgres)
    done = reserve(Reserve(uuid4(), {enough: 4, low: 5}), books=books)
    assert done.announced == (low,)
    reserve(Reserve(uuid4(), {low: 1}), books=books)
    assert [fact["data"] for fact in facts(postgres, "stock.low.v1", enough, low)] == [
        {"sku": low, "version": 2, "available": 5, "threshold": 5},
        {"sku": low, "version": 3, "available": 4, "threshold": 5},
    ]


def test_a_refused_reservation_tells_of_nothing(postgres: sa.Engine) -> None:
    low, none = put(postgres, 5, 0)
    reserve(Reserve(uuid4(), {low: 1, none: 1}), books=SqlBooks(postgres))
    assert facts(postgres, "stock.low.v1", low, none) == []


def test_what_fails_before_the_commit_leaves_no_marker_no_stock_and_no_fact(
    postgres: sa.Engine,
) -> None:
    (sku,) = put(postgres, 5)
    order = uuid4()

    class CrashError(Exception):
        """The process dies at the last moment before the commit."""

    class Crashing(SqlBooks):
        @contextmanager
        def open(self) -> Iterator[SqlPage]:
            with super().open() as page:
                yield page
                raise CrashError

    with pytest.raises(CrashError):
        reserve(Reserve(order, {sku: 1}), books=Crashing(postgres))
    assert shelf(postgres, sku) == (5, 0, 0)
    assert facts(postgres, "stock.low.v1", sku) == []
    with postgres.connect() as connection:
        marker = sa.select(reservations).where(reservations.c.order_id == order)
        assert connection.execute(marker).first() is None


def test_stock_that_does_not_add_up_is_refused_by_the_database(postgres: sa.Engine) -> None:
    (sku,) = put(postgres, 5)
    for change in ({"available": 6}, {"received": 4}, {"available": -1, "reserved": 6}):
        with pytest.raises(sa.exc.IntegrityError), postgres.begin() as connection:
            connection.execute(sa.update(stock).where(stock.c.sku == sku).values(change))
    assert shelf(postgres, sku) == (5, 0, 0)


def test_a_row_that_stays_locked_is_a_transient_fault(postgres: sa.Engine) -> None:
    (sku,) = put(postgres, 5)
    order = uuid4()
    with second(postgres) as other, other.begin() as holder:
        holder.execute(sa.select(stock).where(stock.c.sku == sku).with_for_update())
        with second(postgres) as impatient:
            with impatient.connect() as connection:
                connection.execute(sa.text("SET lock_timeout = '100ms'"))
                connection.commit()
            with pytest.raises(TransientFault, match="lock timeout"):
                reserve(Reserve(order, {sku: 1}), books=SqlBooks(impatient))
    again = reserve(Reserve(order, {sku: 1}), books=SqlBooks(postgres))
    assert again.outcome == Outcome("reserved")


def facts(postgres: sa.Engine, type_: str, *skus: str) -> list[dict[str, Any]]:
    """Return the envelopes that wait in the outbox, in order of publication."""
    with postgres.connect() as connection:
        rows = connection.execute(
            sa.select(outbox.c.body)
            .where(outbox.c.type == type_, outbox.c.subject.in_(skus))
            .order_by(outbox.c.seq)
        )
        return list(rows.scalars())
