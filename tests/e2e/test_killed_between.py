"""A function that is killed between its commit and what should follow it loses nothing.

The process is killed for real, by the local cloud, at the moment of the AWS call that follows the
commit. The relay, once a minute, brings what is left; the tests share the wait for it.
"""

from dataclasses import dataclass
from typing import Any

import httpx
import pytest

from tests.chaos.faults import Faults
from tests.chaos.ground import Ground
from tests.support.cloud import Cloud, unique
from tests.support.polling import eventually
from tests.support.shop import Customer, Shop, order_body

WITHIN = 150
"""Seconds: the relay leaves alone what is younger than ten seconds, and comes once a minute."""


@dataclass(frozen=True)
class Left:
    """What the killed functions left behind."""

    body: dict[str, Any]
    key: str
    buyer: Customer
    first_answer: int
    not_listed: str
    delivery: dict[str, Any]
    untold: str
    untold_to: Customer


@pytest.fixture(scope="module")
def left(cloud: Cloud, shop: Shop, ground: Ground) -> Left:
    faults = ground.faults
    buyer, untold_to = Customer(), Customer()
    key, body = unique("key"), order_body({shop.stock(1): 1}, buyer)
    killed = {"function": "orders-local-placeOrder", "where": {"body.customer_id": buyer.id}}
    with faults.during({**killed, "at": "stepfunctions:StartExecution", "do": "kill", "times": 1}):
        answer = httpx.post(
            f"{cloud.api_url}/orders", json=body, headers={"Idempotency-Key": key}, timeout=60
        )
    not_listed = unique("sku")
    delivery = {
        "delivery_id": unique("delivery"),
        "products": [
            {
                "sku": not_listed,
                "name": "Thing",
                "unit_price": 250,
                "currency": "EUR",
                "quantity": 1,
            }
        ],
    }
    _deliver_and_be_killed(cloud, faults, delivery)
    return Left(
        body,
        key,
        buyer,
        answer.status_code,
        not_listed,
        delivery,
        _close_with_the_topic_gone(shop, ground, untold_to),
        untold_to,
    )


def _deliver_and_be_killed(cloud: Cloud, faults: Faults, delivery: dict[str, Any]) -> None:
    rule = {
        "function": "inventory-local-receiveStock",
        "where": {"delivery_id": delivery["delivery_id"]},
        "at": "sns:PublishBatch",
        "do": "kill",
        "times": 1,
    }
    with (
        faults.during(rule),
        pytest.raises(AssertionError, match="Runtime exited with error: signal: killed"),
    ):
        cloud.invoke("inventory-local-receiveStock", delivery)


def _close_with_the_topic_gone(shop: Shop, ground: Ground, customer: Customer) -> str:
    """Let an order be declined while its last step cannot reach the topic; return its id."""
    sku = shop.stock(1)
    with ground.held(sku, token="tok_declined", customer=customer) as order_id:
        rule = {
            "function": "orders-local-closeOrder",
            "where": {"order_id": order_id},
            "at": "sns:PublishBatch",
            "do": "error",
            "times": None,
        }
        fault = ground.faults.add(rule)
    try:
        assert shop.closed(order_id)["status"] == "REJECTED"
        eventually(lambda: ground.execution(order_id) == "SUCCEEDED", "its saga ends")
        assert ground.faults.all()[fault]["hits"] >= 1
    finally:
        ground.faults.remove(fault)
    return order_id


def test_an_order_whose_process_dies_before_the_saga_starts_is_fulfilled(
    left: Left, shop: Shop
) -> None:
    assert left.first_answer >= httpx.codes.INTERNAL_SERVER_ERROR
    found = eventually(
        lambda: [
            order
            for order in shop.get("/orders", customer_id=left.buyer.id)["orders"]
            if order["status"] == "CONFIRMED"
        ],
        "the relay has started the saga",
        within=WITHIN,
    )
    assert len(found) == 1
    shop.told(left.buyer, "confirmed")


def test_the_client_that_got_no_answer_asks_again_and_gets_the_same_order(
    left: Left, shop: Shop
) -> None:
    again = [
        shop.request(
            "POST", "/orders", json=left.body, headers={"Idempotency-Key": left.key}
        ).json()["order_id"]
        for _ in range(2)
    ]
    orders = shop.get("/orders", customer_id=left.buyer.id)["orders"]
    assert again == [orders[0]["order_id"]] * 2
    assert len(orders) == 1


def test_a_delivery_whose_process_dies_before_it_is_published_is_listed(
    left: Left, cloud: Cloud, shop: Shop
) -> None:
    eventually(lambda: shop.product(left.not_listed), "the product is listed", within=WITHIN)
    assert cloud.invoke("inventory-local-receiveStock", left.delivery)["duplicate"]
    shop.can_buy_exactly(left.not_listed, 1)


def test_a_fact_that_the_topic_did_not_take_is_told_once(left: Left, shop: Shop) -> None:
    shop.told(left.untold_to, "not accepted")


@pytest.mark.parametrize("function", ["chargePayment", "confirmOrder"])
def test_a_step_that_dies_between_its_commit_and_its_facts_takes_effect_once(
    ground: Ground, shop: Shop, function: str
) -> None:
    sku = shop.stock(1)
    customer = Customer()
    with ground.held(sku, customer=customer) as order_id:
        rule = {
            "function": f"orders-local-{function}",
            "where": {"order_id": order_id},
            "at": "sns:PublishBatch",
            "do": "kill",
            "times": 1,
        }
        fault = ground.faults.add(rule)
    assert shop.closed(order_id)["status"] == "CONFIRMED"
    assert ground.faults.all()[fault]["hits"] == 1
    ground.faults.remove(fault)
    shop.told(customer, "confirmed")
    shop.can_buy_exactly(sku, 0)
