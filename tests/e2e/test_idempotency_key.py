"""A request that is sent again under its key is the same order."""

from concurrent.futures import ThreadPoolExecutor

from tests.support.cloud import unique
from tests.support.shop import Customer, Shop, order_body, problem


def test_a_replayed_request_gets_the_first_answer(shop: Shop, customer: Customer) -> None:
    sku, key = shop.stock(2), unique("key")
    first = shop.try_to_place({sku: 1}, customer=customer, key=key)

    while_open = shop.try_to_place({sku: 1}, customer=customer, key=key)
    shop.closed(first.json()["order_id"])
    once_closed = shop.try_to_place({sku: 1}, customer=customer, key=key)

    for answer in (while_open, once_closed):
        assert answer.status_code == 202
        assert answer.content == first.content
        assert answer.headers["location"] == first.headers["location"]
    assert len(shop.get("/orders", customer_id=customer.id)["orders"]) == 1
    shop.can_buy_exactly(sku, 1)


def test_the_same_request_in_another_spelling_is_the_same_request(
    shop: Shop, customer: Customer
) -> None:
    body = order_body({shop.stock(1): 1}, customer)
    headers = {"Idempotency-Key": unique("key")}
    backwards = dict(reversed(body.items()))

    first = shop.request("POST", "/orders", json=body, headers=headers)
    second = shop.request("POST", "/orders", json=backwards, headers=headers)

    assert second.json() == first.json()


def test_a_key_with_another_body_is_a_conflict(shop: Shop, customer: Customer) -> None:
    sku, key = shop.stock(3), unique("key")
    shop.place({sku: 1}, customer=customer, key=key)

    problem(shop.try_to_place({sku: 2}, customer=customer, key=key), 409)
    problem(shop.try_to_place({sku: 1}, customer=customer, key=key, token="tok_declined"), 409)

    assert len(shop.get("/orders", customer_id=customer.id)["orders"]) == 1


def test_a_key_belongs_to_its_customer(shop: Shop) -> None:
    sku, key = shop.stock(2), unique("key")

    assert shop.place({sku: 1}, key=key) != shop.place({sku: 1}, key=key)


def test_the_same_request_sent_side_by_side_is_one_order(shop: Shop, customer: Customer) -> None:
    sku, key = shop.stock(8), unique("key")

    with ThreadPoolExecutor(8) as pool:
        answers = list(
            pool.map(lambda _: shop.try_to_place({sku: 1}, customer=customer, key=key), range(8))
        )

    assert {answer.status_code for answer in answers} == {202}
    assert len({answer.content for answer in answers}) == 1
    assert len({answer.headers["location"] for answer in answers}) == 1
    orders = shop.get("/orders", customer_id=customer.id)["orders"]
    shop.closed(orders[0]["order_id"])
    assert len(orders) == 1
    shop.can_buy_exactly(sku, 7)


def test_of_two_requests_side_by_side_under_one_key_one_is_told_of_the_other(
    shop: Shop, customer: Customer
) -> None:
    sku, key = shop.stock(8), unique("key")

    with ThreadPoolExecutor(4) as pool:
        answers = list(
            pool.map(
                lambda at: shop.try_to_place({sku: 1 + at % 2}, customer=customer, key=key),
                range(4),
            )
        )

    (order,) = shop.get("/orders", customer_id=customer.id)["orders"]
    placed = order["lines"][0]["quantity"]
    for at, answer in enumerate(answers):
        if 1 + at % 2 == placed:
            assert answer.status_code == 202
            assert answer.json()["order_id"] == order["order_id"]
        else:
            problem(answer, 409)
    shop.closed(order["order_id"])
    shop.can_buy_exactly(sku, 8 - placed)
