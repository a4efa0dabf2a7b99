"""What a crash leaves between a commit and what should follow it, the relay brings within minutes.

The crash is made by running the service's own code up to it, on the cloud's own database. The
relay runs once a minute, and leaves alone what is younger than ten seconds.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import pytest
import sqlalchemy as sa

from inventory.adapters.tables import outbox as inventory_outbox
from orders.adapters.catalogue import SqlCatalogue
from orders.adapters.order_book import SqlOrderBook
from orders.adapters.tables import outbox as orders_outbox
from orders.domain import WantedLine
from orders.use_cases import Placed, PlaceOrder, place_order
from shared.contracts.inventory import ProductListed
from shared.contracts.orders import OrderLine, OrderPlaced
from shared.errors import TransientFault
from shared.ids import uuid7
from shared.outbox import fact_row
from tests.chaos.cells import hold_rule
from tests.chaos.ground import Ground
from tests.support.cloud import Cloud, unique
from tests.support.polling import eventually
from tests.support.shop import Customer, Shop

WITHIN = 150


class NoAnswer:
    """Step Functions, on the day that it did not answer."""

    def start(self, name: str, document: dict[str, Any]) -> None:  # noqa: ARG002
        raise TransientFault("no answer")


def place_and_crash(database: sa.Engine, sku: str, customer: Customer) -> str:
    """Commit an order whose saga does not start; return its id."""
    placed = place_order(
        PlaceOrder(customer.id, customer.email, "EUR", (WantedLine(sku, 1),), "tok_visa"),
        catalogue=SqlCatalogue(database),
        orders=SqlOrderBook(database),
        saga=NoAnswer(),
        new_id=uuid7,
        now=lambda: datetime.now(UTC),
    )
    assert isinstance(placed, Placed)
    assert not placed.saga_started
    return str(placed.order.id)


@dataclass(frozen=True)
class Left:
    """What was left behind, all at once: the tests share the wait for the relay."""

    started_never: str
    cancelled_at_once: str
    buyer: Customer
    canceller: Customer
    not_mailed: Customer
    not_listed: str
    cancelled_sku: str


@pytest.fixture(scope="module")
def left(cloud: Cloud, shop: Shop, ground: Ground, made_up: Callable[[str], str]) -> Left:
    orders, inventory = (
        sa.create_engine(cloud.database_url(name), poolclass=sa.NullPool)
        for name in ("orders", "inventory")
    )
    buyer, canceller, not_mailed = Customer(), Customer(), Customer()
    not_listed, cancelled_sku = made_up(unique("sku")), shop.stock(1)
    started_never = place_and_crash(orders, shop.stock(1), buyer)
    with ground.faults.during(hold_rule(ground.saga, cancelled_sku)):  # should the relay be faster
        cancelled = place_and_crash(orders, cancelled_sku, canceller)
        assert shop.cancel(cancelled).status_code == 202
    order_id = made_up(str(uuid7()))
    lines = (OrderLine("sku", 1, 250),)
    placed = OrderPlaced(order_id, 1, not_mailed.id, not_mailed.email, "EUR", 250, lines)
    with orders.begin() as connection:
        row = fact_row(placed, source="orderflow.orders", subject=order_id)
        connection.execute(sa.insert(orders_outbox), row)
    listed = ProductListed(not_listed, 1, "Thing", 250, "EUR")
    with inventory.begin() as connection:
        row = fact_row(listed, source="orderflow.inventory", subject=not_listed)
        connection.execute(sa.insert(inventory_outbox), row)
    return Left(started_never, cancelled, buyer, canceller, not_mailed, not_listed, cancelled_sku)


def test_a_saga_that_was_not_started_is_started(left: Left, shop: Shop) -> None:
    order = shop.closed(left.started_never, within=WITHIN)

    assert order["status"] == "CONFIRMED"
    shop.told(left.buyer, "confirmed")


def test_a_cancellation_before_the_pivot_undoes_everything(left: Left, shop: Shop) -> None:
    # Its saga starts after the cancellation: it goes up to the pivot, is refused there, and all
    # that it did is undone.
    order = shop.closed(left.cancelled_at_once, within=WITHIN)

    assert (order["status"], order["reason"]) == ("CANCELLED", "CUSTOMER_REQUEST")
    steps = [(step["step"], step["outcome"]) for step in shop.timeline(order["order_id"])]
    assert steps == [
        ("Reserve Stock", "reserved"),
        ("Charge Payment", "charged"),
        ("Create Shipment", "shipped"),
        ("Confirm Order", "refused"),
        ("Cancel Shipment", "cancelled"),
        ("Refund Payment", "refunded"),
        ("Release Stock", "released"),
        ("Close Order", "closed"),
    ]
    shop.told(left.canceller, "cancelled")
    assert "confirmed" not in shop.mails(left.canceller, 1)
    shop.can_buy_exactly(left.cancelled_sku, 1)


def test_a_fact_of_orders_that_was_not_published_arrives_once(left: Left, cloud: Cloud) -> None:
    email = left.not_mailed.email

    eventually(lambda: cloud.mails(email), "the mail was sent", within=WITHIN)

    assert len(cloud.mails(email)) == 1


def test_a_fact_of_inventory_that_was_not_published_arrives(left: Left, shop: Shop) -> None:
    eventually(lambda: shop.product(left.not_listed), "the product is listed", within=WITHIN)
