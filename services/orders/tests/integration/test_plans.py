"""No statement of this service reads a whole table that grows with the orders."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import UUID

import pytest
import sqlalchemy as sa

import inventory
from orders.adapters import catalogue, order_book, payments, sandbox_gateway
from orders.adapters.catalogue import SqlCatalogue
from orders.adapters.order_book import SAGA, SqlOrderBook
from orders.adapters.payments import SqlPayments
from orders.adapters.sandbox_gateway import SandboxGateway
from orders.adapters.tables import orders as orders_table
from orders.adapters.tables import outbox
from orders.domain import Product
from shared import outbox as shared_outbox
from shared.outbox import EVENTS, Outbox, Waiting
from tests.support.bulk import fill
from tests.support.plans import Heard, faults, listening, unheard
from tests.support.postgres import database

from .conftest import MIGRATIONS, an_order

SIZE = 20_000
# Not parked_orders: what waits for an operator is few.
GROWING = ("orders", "payments", "catalogue", "outbox", "ledger")
MODULES = (catalogue, order_book, payments, sandbox_gateway, shared_outbox)


@pytest.fixture(scope="module")
def filled() -> Iterator[sa.Engine]:
    """Return a database with many orders and products in it."""
    stock = Path(inventory.__file__).parent / "migrations"
    with database(MIGRATIONS) as books, database(stock) as other:
        fill(books, other, count=SIZE, skus=SIZE, last=datetime.now(UTC))
        yield books


def refusing(rows: Sequence[Waiting]) -> Mapping[int, str]:
    """Accept every second row."""
    return {row.seq: "no" for row in rows[::2]}


@pytest.fixture(scope="module")
def heard(filled: sa.Engine) -> Heard:
    """Let the stores do all that they can."""
    with listening(filled) as heard:
        book, store = SqlOrderBook(filled), SqlCatalogue(filled)
        store.find(["sku-1", "sku-2"])
        store.page(after="", limit=20)
        store.upsert(Product("sku-1", "Thing", 100, "EUR", 9))

        def placed() -> UUID:
            order = an_order()
            assert book.place(order, {"order_id": str(order.id)}, order.id.hex, "hash")
            return order.id

        one, other, third, fourth = (placed() for _ in range(4))
        book.placed_under("ada", one.hex)
        book.get(one)
        book.page("customer-1", before=None, limit=20)
        book.page("customer-1", before=one, limit=20)
        book.request_cancel(other)
        book.confirm(one)
        book.confirm(other)
        book.withdraw(third)
        book.close(other, "DECLINED")
        book.park(fourth, "Release Stock", "Oh", "token")
        book.status(one)
        book.parked(fourth)
        book.waiting(after=None, limit=20)
        book.waiting(after=one, limit=20)
        book.unpark(fourth, "token")
        money = SqlPayments(filled)
        for _ in range(2):
            money.open(one, 1800, "EUR")
            money.settle(one, "charged", "ref")
        for _ in range(2):
            money.begin_refund(one)
            money.end_refund(one, captured=True)
        gateway = SandboxGateway(filled)
        gateway.charge(one.hex, amount=1800, currency="EUR", token="tok_visa")
        gateway.reverse(one.hex)
        Outbox(filled, outbox, refusing).flush(str(one), (EVENTS, SAGA))
        Outbox(filled, outbox, refusing).relay(older_than=timedelta(), seconds=5)
    return heard


def test_no_statement_reads_a_whole_table_that_grows(filled: sa.Engine, heard: Heard) -> None:
    assert faults(filled, heard, GROWING, record="orders") == []


def test_every_statement_that_the_stores_can_say_was_looked_at(heard: Heard) -> None:
    assert unheard(heard, MODULES) == []


def test_a_scan_of_a_whole_table_would_be_seen(filled: sa.Engine) -> None:
    with listening(filled) as heard, filled.begin() as connection:
        connection.execute(sa.select(orders_table.c.id).where(orders_table.c.email == "ada"))
        connection.execute(sa.select(sa.func.max(outbox.c.subject)))
    named = [fault for fault, _ in faults(filled, heard, GROWING, record="orders-seen")]
    assert "reads all of orders, with its values" in named
    assert "reads all of orders, prepared" in named
    assert "reads all of outbox, prepared" in named


def test_a_silent_statement_would_be_seen(filled: sa.Engine) -> None:
    with listening(filled) as heard:
        SqlCatalogue(filled).find([])
    silent = unheard(heard, [catalogue])
    assert [each.rsplit(" ", 1)[-1] for each in silent if "SqlCatalogue" in each] == [
        "SqlCatalogue.page",
        "SqlCatalogue.upsert",
    ]
    assert len(silent) == 4
