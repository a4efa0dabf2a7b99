"""What a crash leaves between a commit and what should follow it, the relay brings within minutes.

The crash is made by running the service's own code up to it, on the cloud's own database. The
relay runs once a minute, and leaves alone what is younger than ten seconds.
"""

from collections.abc import Iterator
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
from tests.support.cloud import Cloud, unique
from tests.support.polling import eventually
from tests.support.shop import Customer, Shop

WITHIN = 150


class NoAnswer:
    """Step Functions, on the day that it did not answer."""

    def start(self, name: str, document: dict[str, Any]) -> None:  # noqa: ARG002
        raise TransientFault("no answer")


@pytest.fixture(scope="module")
def databases(cloud: Cloud) -> Iterator[dict[str, sa.Engine]]:
    engines = {name: sa.create_engine(cloud.database_url(name)) for name in ("orders", "inventory")}
    yield engines
    for engine in engines.values():
        engine.dispose()


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


def test_a_saga_that_was_not_started_is_started(
    databases: dict[str, sa.Engine], shop: Shop, customer: Customer
) -> None:
    sku = shop.stock(1)
    order_id = place_and_crash(databases["orders"], sku, customer)
    assert shop.timeline(order_id) == []

    order = shop.closed(order_id, within=WITHIN)

    assert order["status"] == "CONFIRMED"
    assert sorted(shop.mails(customer, 2)) == ["confirmed", "received"]


def test_a_cancellation_before_the_pivot_undoes_everything(
    databases: dict[str, sa.Engine], shop: Shop, customer: Customer
) -> None:
    # Its saga starts after the cancellation: it goes up to the pivot, is refused there, and all
    # that it did is undone.
    sku = shop.stock(1)
    order_id = place_and_crash(databases["orders"], sku, customer)

    assert shop.cancel(order_id).status_code == 202
    order = shop.closed(order_id, within=WITHIN)

    assert (order["status"], order["reason"]) == ("CANCELLED", "CUSTOMER_REQUEST")
    steps = [(step["step"], step["outcome"]) for step in shop.timeline(order_id)]
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
    assert "confirmed" not in shop.mails(customer, 2)
    shop.can_buy_exactly(sku, 1)


def test_a_fact_of_orders_that_was_not_published_arrives(
    databases: dict[str, sa.Engine], cloud: Cloud, customer: Customer
) -> None:
    order_id = str(uuid7())
    fact = OrderPlaced(
        order_id, 1, customer.id, customer.email, "EUR", 250, (OrderLine("sku", 1, 250),)
    )
    row = fact_row(fact, source="orderflow.orders", subject=order_id)
    with databases["orders"].begin() as connection:
        connection.execute(sa.insert(orders_outbox), row)

    eventually(lambda: cloud.mails(customer.email), "the mail was sent", within=WITHIN)

    assert len(cloud.mails(customer.email)) == 1


def test_a_fact_of_inventory_that_was_not_published_arrives(
    databases: dict[str, sa.Engine], shop: Shop
) -> None:
    sku = unique("sku")
    row = fact_row(
        ProductListed(sku, 1, "Thing", 250, "EUR"), source="orderflow.inventory", subject=sku
    )
    with databases["inventory"].begin() as connection:
        connection.execute(sa.insert(inventory_outbox), row)

    eventually(lambda: shop.product(sku), "the product is listed", within=WITHIN)
