"""Pages that miss nothing and repeat nothing, and a catalogue that never goes back in time."""

from functools import partial
from uuid import uuid4

import pytest
import sqlalchemy as sa

from orders.adapters.catalogue import SqlCatalogue
from orders.domain import Product
from shared.ids import uuid7

from .conftest import World, at_once


@pytest.fixture
def catalogue(postgres: sa.Engine) -> SqlCatalogue:
    return SqlCatalogue(postgres)


def test_pages_hold_every_order_once_newest_first(world: World) -> None:
    customer = uuid4().hex
    placed = [world.placed(customer=customer) for _ in range(7)]
    world.placed(customer="another")
    seen, before = [], None
    while page := world.book.page(customer, before=before, limit=3):
        assert len(page) <= 3
        seen += [order.id for order in page]
        before = seen[-1]
    assert seen == sorted(placed, reverse=True)


def test_an_order_placed_while_pages_are_read_disturbs_no_page(world: World) -> None:
    customer = uuid4().hex
    placed = [world.placed(customer=customer) for _ in range(4)]
    first = world.book.page(customer, before=None, limit=2)
    world.placed(customer=customer)
    rest = world.book.page(customer, before=first[-1].id, limit=9)
    assert [order.id for order in (*first, *rest)] == sorted(placed, reverse=True)


def test_a_cursor_of_nobody_is_a_place_like_any_other(world: World) -> None:
    customer = uuid4().hex
    order_id = world.placed(customer=customer)
    assert [order.id for order in world.book.page(customer, before=uuid7(), limit=9)] == [order_id]


def product(sku: str, version: int, unit_price: int = 900) -> Product:
    return Product(sku, "Mug", unit_price, "EUR", version)


def test_a_product_is_found_by_its_sku(catalogue: SqlCatalogue) -> None:
    sku = uuid4().hex
    assert catalogue.find([sku]) == {}
    assert catalogue.upsert(product(sku, 1))
    assert catalogue.find([sku, "unknown"]) == {sku: product(sku, 1)}
    assert catalogue.find([]) == {}


@pytest.mark.parametrize("late", [1, 2])
def test_a_late_fact_does_not_overwrite_a_newer_price(catalogue: SqlCatalogue, late: int) -> None:
    sku = uuid4().hex
    assert catalogue.upsert(product(sku, 2, 1000))
    assert not catalogue.upsert(product(sku, late, 5))
    assert catalogue.find([sku])[sku].unit_price == 1000
    assert catalogue.upsert(product(sku, 3, 1100))
    assert catalogue.find([sku])[sku].unit_price == 1100


def test_facts_at_once_leave_the_newest(catalogue: SqlCatalogue, engines: list[sa.Engine]) -> None:
    sku = uuid4().hex
    at_once(
        *(
            partial(SqlCatalogue(engine).upsert, product(sku, version, version * 100))
            for version, engine in enumerate(engines, start=1)
        )
    )
    assert catalogue.find([sku]) == {sku: product(sku, 8, 800)}


def test_products_come_in_pages_of_sku_order(catalogue: SqlCatalogue) -> None:
    mark = uuid4().hex
    skus = [f"{mark}{end}" for end in ("-a", "-B", ".c", "_d", "0")]
    for sku in skus:
        catalogue.upsert(product(sku, 1))
    seen, after = [], ""
    while page := catalogue.page(after=after, limit=2):
        seen += [each.sku for each in page if each.sku.startswith(mark)]
        after = page[-1].sku
    assert sorted(seen) == sorted(skus)
    assert len(set(seen)) == len(seen)
