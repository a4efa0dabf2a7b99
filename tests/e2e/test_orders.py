"""How an order ends, and what its customer sees of it."""

import pytest

from tests.support.cloud import Cloud, unique
from tests.support.polling import eventually
from tests.support.shop import Customer, Shop, problem

FORWARD = ["Reserve Stock", "Charge Payment", "Create Shipment", "Confirm Order"]


def names(shop: Shop, order_id: str) -> list[str]:
    return [step["step"] for step in shop.timeline(order_id)]


def test_an_order_for_what_is_there_is_confirmed(
    cloud: Cloud, shop: Shop, customer: Customer
) -> None:
    tea, cup = shop.stock(10, unit_price=499), shop.stock(10, unit_price=1_250)

    placed = shop.try_to_place({tea: 3, cup: 2}, customer=customer)

    assert placed.status_code == 202
    order_id = placed.json()["order_id"]
    assert placed.json() == {
        "order_id": order_id,
        "status": "PLACED",
        "total": 3 * 499 + 2 * 1_250,
        "currency": "EUR",
    }
    assert placed.headers["location"] == f"/orders/{order_id}"
    order = shop.closed(order_id)
    assert order["status"] == "CONFIRMED"
    assert order["reason"] is None
    assert order["total"] == 3_997
    assert order["lines"] == [
        {"sku": tea, "quantity": 3, "unit_price": 499},
        {"sku": cup, "quantity": 2, "unit_price": 1_250},
    ]
    assert order["placed_at"] < order["closed_at"]
    assert "Total: 39.97 EUR" in shop.told(customer, "confirmed")
    eventually(lambda: cloud.sales(cup), "the sale is counted")
    assert cloud.sales(tea) == [{"units": 3, "orders": 1, "revenue_EUR": 1_497}]
    assert cloud.sales(cup) == [{"units": 2, "orders": 1, "revenue_EUR": 2_500}]
    shop.can_buy_exactly(tea, 7)


def test_the_timeline_tells_each_step_of_a_confirmed_order(shop: Shop) -> None:
    order_id = shop.buy({shop.stock(1): 1})["order_id"]

    # The execution's last events follow the order's last status.
    steps = eventually(
        lambda: (
            [step for step in shop.timeline(order_id) if step["ended_at"]][3:]
            and shop.timeline(order_id)
        ),
        "the saga has ended",
    )

    assert [step["step"] for step in steps] == FORWARD
    assert {step["kind"] for step in steps} == {"forward"}
    assert [step["outcome"] for step in steps] == ["reserved", "charged", "shipped", "confirmed"]
    assert all(step["attempts"] for step in steps)
    times = [time for step in steps for time in (step["started_at"], step["ended_at"])]
    assert times == sorted(times)


def test_an_order_for_more_than_the_shelf_holds_is_rejected(
    cloud: Cloud, shop: Shop, customer: Customer
) -> None:
    plenty, scarce = shop.stock(10), shop.stock(2)

    order = shop.buy({plenty: 1, scarce: 3}, customer=customer)

    assert (order["status"], order["reason"]) == ("REJECTED", "OUT_OF_STOCK")
    assert names(shop, order["order_id"]) == ["Reserve Stock", "Close Order"]
    assert "enough in stock" in shop.told(customer, "not accepted")
    assert cloud.sales(scarce) == []
    shop.can_buy_exactly(plenty, 10)


def test_an_unknown_sku_is_refused_at_once_by_its_name(shop: Shop, customer: Customer) -> None:
    known, unknown = shop.stock(1), unique("sku")

    answer = shop.try_to_place({known: 1, unknown: 1}, customer=customer)

    assert problem(answer, 422)["unknown_skus"] == [unknown]
    assert shop.get("/orders", customer_id=customer.id)["orders"] == []


def test_a_product_is_sold_only_in_its_own_currency(shop: Shop) -> None:
    sku = shop.stock(1, currency="GBP")

    answer = shop.try_to_place({sku: 1}, currency="EUR")

    assert problem(answer, 422)["other_currency_skus"] == [sku]
    assert shop.buy({sku: 1}, currency="GBP")["status"] == "CONFIRMED"


def test_an_order_keeps_the_price_of_the_moment_it_was_placed(shop: Shop) -> None:
    sku = shop.stock(2, unit_price=100)
    before = shop.place({sku: 1})

    shop.stock(0, unit_price=175, sku=sku)
    eventually(lambda: (shop.product(sku) or {})["unit_price"] == 175, "the new price is listed")

    assert shop.closed(before)["total"] == 100
    assert shop.buy({sku: 1})["total"] == 175


def test_a_declined_card_gives_the_stock_back(cloud: Cloud, shop: Shop, customer: Customer) -> None:
    sku = shop.stock(5)

    order = shop.buy({sku: 4}, customer=customer, token="tok_declined")

    assert (order["status"], order["reason"]) == ("REJECTED", "DECLINED")
    steps = shop.timeline(order["order_id"])
    assert [(step["step"], step["kind"], step["outcome"]) for step in steps] == [
        ("Reserve Stock", "forward", "reserved"),
        ("Charge Payment", "forward", "refused"),
        ("Release Stock", "undo", "released"),
        ("Close Order", "undo", "closed"),
    ]
    assert steps[1]["reason"] == "DECLINED"
    assert "card was declined" in shop.told(customer, "not accepted")
    assert cloud.sales(sku) == []
    shop.can_buy_exactly(sku, 5)


@pytest.mark.parametrize("token", ["tok_error", "tok_timeout"], ids=["before", "after"])
def test_a_gateway_that_fails_before_or_after_its_effect_leaves_nothing_charged(
    shop: Shop, token: str
) -> None:
    sku = shop.stock(3)

    order = shop.buy({sku: 3}, token=token)

    assert (order["status"], order["reason"]) == ("REJECTED", "PAYMENT_FAILED")
    steps = shop.timeline(order["order_id"])
    assert [step["step"] for step in steps] == [
        "Reserve Stock",
        "Charge Payment",
        "Refund Payment",
        "Release Stock",
        "Close Order",
    ]
    charge, refund = steps[1], steps[2]
    assert [attempt["error"] for attempt in charge["attempts"]] == ["TransientFault"] * 3
    assert refund["outcome"] == "refunded"
    # That the money is back is what the books say at the end: see conftest.py.
    shop.can_buy_exactly(sku, 3)


def test_a_shipment_that_is_too_large_is_refunded_and_released(
    shop: Shop, customer: Customer
) -> None:
    one, other = shop.stock(600), shop.stock(600)

    order = shop.buy({one: 600, other: 600}, customer=customer)

    assert (order["status"], order["reason"]) == ("REJECTED", "SHIPMENT_TOO_LARGE")
    assert names(shop, order["order_id"]) == [
        "Reserve Stock",
        "Charge Payment",
        "Create Shipment",
        "Refund Payment",
        "Release Stock",
        "Close Order",
    ]
    assert "too large" in shop.told(customer, "not accepted")
    shop.can_buy_exactly(one, 600)
    shop.can_buy_exactly(other, 600)


@pytest.mark.parametrize("buyers", [2, 8])
def test_of_several_buyers_for_the_last_item_one_wins(shop: Shop, buyers: int) -> None:
    sku = shop.stock(1)

    placed = [shop.place({sku: 1}) for _ in range(buyers)]

    ends = sorted((order["status"], order["reason"]) for order in map(shop.closed, placed))
    assert ends == [("CONFIRMED", None)] + [("REJECTED", "OUT_OF_STOCK")] * (buyers - 1)
