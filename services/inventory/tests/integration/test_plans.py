"""No statement of this service reads a whole table that grows with orders and products."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import uuid4

import pytest
import sqlalchemy as sa

import orders
from inventory.adapters import books
from inventory.adapters.books import SqlBooks
from inventory.adapters.tables import outbox
from inventory.domain import (
    CancelShipment,
    DeliveredProduct,
    Delivery,
    Listing,
    Release,
    Reserve,
    Ship,
)
from inventory.use_cases import cancel_shipment, receive_stock, release, reserve, ship
from shared import outbox as shared_outbox
from shared.outbox import Outbox, Waiting
from tests.support.bulk import fill
from tests.support.plans import Heard, faults, listening, unheard
from tests.support.postgres import database

from .conftest import MIGRATIONS

SIZE = 20_000
GROWING = ("stock", "reservations", "shipments", "deliveries", "outbox")


@pytest.fixture(scope="module")
def filled() -> Iterator[sa.Engine]:
    """Return a database with many reservations and products in it."""
    other = Path(orders.__file__).parent / "migrations"
    with database(other) as theirs, database(MIGRATIONS) as ours:
        fill(theirs, ours, count=SIZE, skus=SIZE, last=datetime.now(UTC))
        yield ours


class Unannounced:
    """Leaves everything in the outbox."""

    def flush(self, skus: object) -> None:
        """Publish nothing."""


def refusing(rows: Sequence[Waiting]) -> Mapping[int, str]:
    """Accept every second row."""
    return {row.seq: "no" for row in rows[::2]}


@pytest.fixture(scope="module")
def heard(filled: sa.Engine) -> Heard:
    """Let the stores do all that they can."""
    store = SqlBooks(filled)
    with listening(filled) as heard:
        for price in (100, 120, 130):
            products = [
                DeliveredProduct(sku, Listing("Thing", price, "EUR"), 10) for sku in ("new", "next")
            ]
            receive_stock(
                Delivery(uuid4().hex, tuple(products)), books=store, announcements=Unannounced()
            )
        one, many, short = uuid4(), uuid4(), uuid4()
        for _ in range(2):
            reserve(Reserve(one, {"sku-1": 1, "sku-2": 1}), books=store)
        reserve(Reserve(many, {"new": 28, "next": 27}), books=store)
        reserve(Reserve(short, {"new": 28}), books=store)
        for _ in range(2):
            ship(Ship(one), books=store)
        for _ in range(2):
            cancel_shipment(CancelShipment(one), books=store)
        for _ in range(2):
            release(Release(one), books=store)
        waiting = Outbox(filled, outbox, refusing)
        waiting.flush_all(["new", "next"])
        waiting.relay(older_than=timedelta(), seconds=5)
    return heard


def test_no_statement_reads_a_whole_table_that_grows(filled: sa.Engine, heard: Heard) -> None:
    assert faults(filled, heard, GROWING, record="inventory") == []


def test_every_statement_that_the_stores_can_say_was_looked_at(heard: Heard) -> None:
    assert unheard(heard, [books, shared_outbox]) == []
