"""A message that nobody can read ends in its queue's dead letters, and hurts nobody else.

Three receipts, each followed by the queue's 60 s of invisibility: this file takes three minutes,
nearly all of it waiting. One test waits for all queues at once.
"""

import json
from collections.abc import Callable
from typing import Any

from shared.contracts.inventory import ProductListed
from shared.contracts.orders import OrderConfirmed, OrderLine, OrderPlaced, Quantity, ReserveStock
from shared.envelope import wrap
from shared.ids import uuid7
from tests.support.cloud import CONSUMERS, Cloud, unique
from tests.support.polling import eventually
from tests.support.shop import Customer, Shop


def order_fact(contract: type[Any], customer: Customer, sku: str) -> str:
    order_id = str(uuid7())
    fact = contract(order_id, 1, customer.id, customer.email, "EUR", 250, (OrderLine(sku, 1, 250),))
    return json.dumps(wrap(fact, source="orderflow.orders", subject=order_id))


def listing(sku: str) -> str:
    fact = ProductListed(sku, 1, "Thing", 250, "EUR")
    return json.dumps(wrap(fact, source="orderflow.inventory", subject=sku))


def reservation(order_id: str, sku: str) -> str:
    command = ReserveStock(order_id, (Quantity(sku, 1),))
    envelope = wrap(command, source="orderflow.orders", subject=order_id)
    return json.dumps(envelope | {"tasktoken": unique("nobody-waits")})


def poisons(good: str) -> list[str]:
    """Return three unreadable messages, each with a mark of its own to find it by."""
    envelope = json.loads(good)
    return [
        f"no JSON {unique('poison')}",
        json.dumps({"poison": unique("poison")}),
        json.dumps(envelope | {"id": unique("poison"), "data": {"nothing": "of use"}}),
    ]


def mark(poison: str) -> str:
    at = poison.index("poison-")
    return poison[at : at + len(unique("poison"))]


def test_poison_ends_in_the_dead_letters_and_its_batch_mates_take_effect(
    cloud: Cloud, shop: Shop, made_up: Callable[[str], str]
) -> None:
    first, second = Customer(), Customer()
    sold, listed = ([made_up(unique("sku")) for _ in range(2)] for _ in range(2))
    shelf, held = shop.stock(2), [str(uuid7()), str(uuid7())]
    told = [order_fact(OrderPlaced, who, "sku") for who in (first, second)]
    for fact in told:
        made_up(json.loads(fact)["subject"])
    mates = {
        "notifications-email": told,
        "notifications-analytics": [order_fact(OrderConfirmed, Customer(), sku) for sku in sold],
        "orders-catalogue": [listing(sku) for sku in listed],
        "inventory-commands": [reservation(order_id, shelf) for order_id in held],
    }
    assert mates.keys() == CONSUMERS.keys()

    marks = {}
    for queue, (before, after) in mates.items():
        poison = poisons(before)
        marks[queue] = [mark(text) for text in poison]
        cloud.send(queue, [before, *poison, after])

    effects: dict[str, Callable[[], object]] = {
        "both mails were sent": lambda: (
            len(cloud.mails(first.email)) == len(cloud.mails(second.email)) == 1
        ),
        "both sales were counted": lambda: all(cloud.sales(sku) for sku in sold),
        "both products are listed": lambda: all(shop.product(sku) for sku in listed),
        "both units are set aside": lambda: shop.buy({shelf: 1})["reason"] == "OUT_OF_STOCK",
    }
    for what, effect in effects.items():
        # Less than the time after which they would come again.
        eventually(effect, what, within=40)
    for order_id in held:
        cloud.release(order_id)

    def missing() -> list[str]:
        return [
            f"{queue}: {text}"
            for queue, texts in marks.items()
            for text in texts
            if not cloud.lies_in(f"{queue}-dlq", text)
        ]

    eventually(lambda: not missing(), "all poison lies in the dead letters", within=240, every=2)
    shop.can_buy_exactly(shelf, 2)
    assert [len(cloud.mails(who.email)) for who in (first, second)] == [1, 1]
    assert [cloud.sales(sku)[0]["units"] for sku in sold] == [1, 1]
    in_queues = [
        text for queue, texts in marks.items() for text in texts if cloud.lies_in(queue, text)
    ]
    assert in_queues == []
