"""Deliveries on a real Postgres: counted once, listed with a version, side by side."""

from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from typing import Any
from uuid import uuid4

import sqlalchemy as sa

from inventory.adapters.books import SqlBooks
from inventory.adapters.tables import outbox, stock
from inventory.domain import DeliveredProduct, Delivery, Listing
from inventory.use_cases import receive_stock
from tests.support.postgres import second

MUG = Listing("Mug", 900, "EUR")


class Announced:
    """Notes what was to be published."""

    def __init__(self) -> None:
        self.skus: list[str] = []

    def flush(self, skus: Any) -> None:
        """Note it."""
        self.skus += skus


def receive(engine: sa.Engine, id_: str, *products: DeliveredProduct) -> dict[str, Any]:
    return receive_stock(Delivery(id_, products), books=SqlBooks(engine), announcements=Announced())


def row(postgres: sa.Engine, sku: str) -> Any:
    with postgres.connect() as connection:
        return connection.execute(sa.select(stock).where(stock.c.sku == sku)).one()


def listed(postgres: sa.Engine, sku: str) -> list[dict[str, Any]]:
    with postgres.connect() as connection:
        rows = connection.execute(
            sa.select(outbox.c.body["data"]).where(outbox.c.subject == sku).order_by(outbox.c.seq)
        )
        return list(rows.scalars())


def test_a_delivery_received_twice_counts_once(postgres: sa.Engine) -> None:
    sku, id_ = uuid4().hex, uuid4().hex
    first = receive(postgres, id_, DeliveredProduct(sku, MUG, 7))
    again = receive(postgres, id_, DeliveredProduct(sku, MUG, 7))
    assert first == {"delivery_id": id_, "products": 1, "units": 7, "duplicate": False}
    assert again == {**first, "duplicate": True}
    assert row(postgres, sku).received == row(postgres, sku).available == 7
    assert len(listed(postgres, sku)) == 1


def test_a_delivery_received_by_many_at_once_counts_once(postgres: sa.Engine) -> None:
    sku, id_ = uuid4().hex, uuid4().hex
    with ExitStack() as stack, ThreadPoolExecutor(4) as pool:
        engines = [stack.enter_context(second(postgres)) for _ in range(4)]
        answers = list(
            pool.map(lambda engine: receive(engine, id_, DeliveredProduct(sku, MUG, 7)), engines)
        )
    assert sorted(answer["duplicate"] for answer in answers) == [False, True, True, True]
    assert row(postgres, sku).received == 7


def test_a_product_is_listed_anew_only_when_what_customers_see_has_changed(
    postgres: sa.Engine,
) -> None:
    sku = uuid4().hex
    receive(postgres, uuid4().hex, DeliveredProduct(sku, MUG, 7))
    receive(postgres, uuid4().hex, DeliveredProduct(sku, MUG, 7))
    receive(postgres, uuid4().hex, DeliveredProduct(sku, Listing("Mug", 950, "EUR"), 0))
    assert listed(postgres, sku) == [
        {"sku": sku, "version": 1, "name": "Mug", "unit_price": 900, "currency": "EUR"},
        {"sku": sku, "version": 2, "name": "Mug", "unit_price": 950, "currency": "EUR"},
    ]
    assert (row(postgres, sku).received, row(postgres, sku).unit_price) == (14, 950)


def test_the_largest_delivery_fits(postgres: sa.Engine) -> None:
    run = uuid4().hex
    products = [DeliveredProduct(f"{run}-{n:04}", MUG, 10**6) for n in range(1000)]
    answer = receive(postgres, run, *products)
    assert (answer["products"], answer["units"]) == (1000, 10**9)


def test_deliveries_of_the_same_new_products_side_by_side_add_up(postgres: sa.Engine) -> None:
    run = uuid4().hex
    products = [DeliveredProduct(f"{run}-{n}", MUG, 2) for n in range(20)]
    with ExitStack() as stack, ThreadPoolExecutor(4) as pool:
        engines = [stack.enter_context(second(postgres)) for _ in range(4)]
        orders = [products, products[::-1], products[5:], products[:15][::-1]]
        list(pool.map(lambda e, p: receive(e, uuid4().hex, *p), engines, orders))
    assert row(postgres, f"{run}-0").received == 6
    assert row(postgres, f"{run}-10").received == 8
    assert [fact["version"] for fact in listed(postgres, f"{run}-10")] == [1]
