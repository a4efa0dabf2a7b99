"""Cancelling: before the pivot it wins and undoes everything, after it the order stands."""

from tests.chaos.ground import Ground
from tests.support.shop import Customer, Shop, problem

NOBODY = "00000000-0000-7000-8000-000000000000"


def test_a_cancellation_before_the_pivot_wins(
    shop: Shop, ground: Ground, customer: Customer
) -> None:
    # The charge fails then, and is undone. (The whole undo, from the pivot back, is in
    # test_left_behind.py.)
    sku = shop.stock(1)
    with ground.held(sku, customer=customer, token="tok_timeout") as order_id:
        answer = shop.cancel(order_id)

    assert answer.status_code == 202, answer.text
    assert answer.json()["status"] == "PLACED"
    order = shop.closed(order_id)
    assert (order["status"], order["reason"]) == ("CANCELLED", "CUSTOMER_REQUEST")
    assert "as you asked" in shop.told(customer, "cancelled")
    shop.can_buy_exactly(sku, 1)


def test_the_answer_to_a_cancellation_is_kept_whoever_wins_the_race(shop: Shop) -> None:
    sku = shop.stock(1)
    order_id = shop.place({sku: 1})

    answer = shop.cancel(order_id)

    status = shop.closed(order_id)["status"]
    assert (answer.status_code, status) in {(202, "CANCELLED"), (409, "CONFIRMED")}
    shop.can_buy_exactly(sku, 1 if status == "CANCELLED" else 0)


def test_a_cancellation_after_the_pivot_is_refused(shop: Shop) -> None:
    order_id = shop.buy({shop.stock(1): 1})["order_id"]

    assert problem(shop.cancel(order_id), 409)["status_of_order"] == "CONFIRMED"
    assert shop.order(order_id)["status"] == "CONFIRMED"


def test_an_order_that_was_rejected_cannot_be_cancelled(shop: Shop) -> None:
    order_id = shop.buy({shop.stock(1): 2})["order_id"]

    assert problem(shop.cancel(order_id), 409)["status_of_order"] == "REJECTED"


def test_cancelling_twice_cancels_once(shop: Shop, ground: Ground, customer: Customer) -> None:
    sku = shop.stock(1)
    with ground.held(sku, customer=customer, token="tok_error") as order_id:
        answers = [shop.cancel(order_id), shop.cancel(order_id)]

    assert [answer.status_code for answer in answers] == [202, 202]
    assert shop.closed(order_id)["status"] == "CANCELLED"
    assert shop.cancel(order_id).status_code == 202, "what was asked for has happened"
    shop.told(customer, "cancelled")
    shop.can_buy_exactly(sku, 1)


def test_an_order_that_does_not_exist_cannot_be_cancelled(shop: Shop) -> None:
    problem(shop.cancel(NOBODY), 404)
    problem(shop.cancel("no-uuid"), 404)
