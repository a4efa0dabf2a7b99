"""Each consumer may get a message twice, late, or out of order: it takes effect once."""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from shared.contracts.inventory import ProductListed
from shared.contracts.orders import OrderConfirmed, OrderLine, OrderPlaced
from shared.envelope import wrap
from shared.ids import uuid7
from tests.support.cloud import CONSUMERS, Cloud, unique
from tests.support.polling import eventually
from tests.support.shop import Customer, Shop

TIMES = 3


def seen(cloud: Cloud, queue: str, count: int, **fields: Any) -> Callable[[], bool]:
    """Return a probe that is true once the consumer has logged so many lines with these fields."""
    since = datetime.now(UTC)
    return lambda: len(cloud.log_lines(CONSUMERS[queue], since, **fields)) >= count


def test_a_fact_that_comes_three_times_is_mailed_once(
    cloud: Cloud, customer: Customer, made_up: Callable[[str], str]
) -> None:
    order_id = made_up(str(uuid7()))
    fact = OrderPlaced(
        order_id, 1, customer.id, customer.email, "EUR", 250, (OrderLine("sku", 1, 250),)
    )
    envelope = wrap(fact, source="orderflow.orders", subject=order_id)
    dropped = seen(
        cloud, "notifications-email", TIMES - 1, message="mail_duplicate", fact_id=envelope["id"]
    )

    for _ in range(TIMES):
        cloud.publish("events", envelope)

    eventually(dropped, "the duplicates were seen", within=150)
    assert len(cloud.mails(customer.email)) == 1


def test_a_sale_that_comes_three_times_is_counted_once(
    cloud: Cloud, customer: Customer, made_up: Callable[[str], str]
) -> None:
    order_id, sku = made_up(str(uuid7())), made_up(unique("sku"))
    fact = OrderConfirmed(
        order_id, 2, customer.id, customer.email, "EUR", 500, (OrderLine(sku, 2, 250),)
    )
    envelope = wrap(fact, source="orderflow.orders", subject=order_id)
    dropped = seen(
        cloud,
        "notifications-analytics",
        TIMES - 1,
        message="sale_duplicate",
        fact_id=envelope["id"],
    )

    for _ in range(TIMES):
        cloud.publish("events", envelope)

    eventually(dropped, "the duplicates were seen", within=150)
    assert cloud.sales(sku) == [{"units": 2, "orders": 1, "revenue_EUR": 500}]


def test_a_listing_that_comes_late_does_not_bring_the_old_price_back(
    cloud: Cloud, shop: Shop, made_up: Callable[[str], str]
) -> None:
    sku = made_up(unique("sku"))
    old, new = (
        wrap(
            ProductListed(sku, version, "Thing", unit_price, "EUR"),
            source="orderflow.inventory",
            subject=sku,
        )
        for version, unit_price in ((4, 400), (5, 500))
    )
    ignored = seen(cloud, "orders-catalogue", 2, message="product_stale", sku=sku)

    cloud.publish("events", new)
    eventually(lambda: shop.product(sku), "the product is listed")
    cloud.publish("events", new)
    cloud.publish("events", old)

    eventually(ignored, "the repeated and the late listing were seen")
    listed = shop.product(sku)
    assert listed is not None
    assert listed["unit_price"] == 500


def test_a_delivery_that_comes_twice_is_on_the_shelf_once(cloud: Cloud, shop: Shop) -> None:
    sku = unique("sku")
    product = {"sku": sku, "name": "Thing", "unit_price": 1, "currency": "EUR", "quantity": 2}
    delivery = {"delivery_id": unique("delivery"), "products": [product]}

    received = [cloud.invoke("inventory-local-receiveStock", delivery) for _ in range(2)]

    assert [answer["duplicate"] for answer in received] == [False, True]
    eventually(lambda: shop.product(sku), "the product is listed")
    shop.can_buy_exactly(sku, 2)


def repeat_commands(cloud: Cloud, order_id: str) -> list[str]:
    """Send all commands of an order again, token and all; wait until they were answered."""
    commands = cloud.commands(order_id)
    late = seen(
        cloud,
        "inventory-commands",
        len(commands),
        message="command_answered_late",
        order_id=order_id,
    )
    for command in commands:
        cloud.publish("commands", command)
    eventually(late, "the repeated commands were answered")
    return [command["type"] for command in commands]


def test_a_confirmed_orders_commands_take_effect_once(cloud: Cloud, shop: Shop) -> None:
    sku = shop.stock(6)
    order_id = shop.buy({sku: 2})["order_id"]

    repeated = repeat_commands(cloud, order_id)

    assert repeated == ["inventory.reserve.v1", "inventory.ship.v1"]
    assert shop.order(order_id)["status"] == "CONFIRMED"
    shop.can_buy_exactly(sku, 4)


def test_a_rejected_orders_commands_take_effect_once(cloud: Cloud, shop: Shop) -> None:
    sku = shop.stock(6)
    order_id = shop.buy({sku: 2}, token="tok_declined")["order_id"]

    repeated = repeat_commands(cloud, order_id)

    assert repeated == ["inventory.reserve.v1", "inventory.release.v1"]
    assert shop.order(order_id)["status"] == "REJECTED"
    shop.can_buy_exactly(sku, 6)
