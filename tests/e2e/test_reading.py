"""Reading: pages of orders and products, and what does not exist."""

import httpx
import pytest

from tests.support.cloud import unique
from tests.support.shop import Answer, Customer, Shop, problem

NOBODY = "00000000-0000-7000-8000-000000000000"


def pages(shop: Shop, path: str, rows: str, **params: str) -> list[list[Answer]]:
    """Follow the cursors to the end."""
    found = []
    cursor: dict[str, str] = {}
    while True:
        page = shop.get(path, **params, **cursor)
        found.append(page[rows])
        if page["next_cursor"] is None:
            return found
        cursor = {"cursor": page["next_cursor"]}


def test_pages_hold_each_order_once_newest_first(shop: Shop, customer: Customer) -> None:
    sku = shop.stock(7)
    placed = [shop.place({sku: 1}, customer=customer) for _ in range(7)]
    shop.place({sku: 1})  # somebody else's

    found = pages(shop, "/orders", "orders", customer_id=customer.id, limit="3")

    assert [len(page) for page in found] == [3, 3, 1]
    assert [order["order_id"] for page in found for order in page] == placed[::-1]
    assert {order["customer_id"] for page in found for order in page} == {customer.id}


def test_an_order_placed_between_two_pages_moves_nothing(shop: Shop, customer: Customer) -> None:
    sku = shop.stock(5)
    placed = [shop.place({sku: 1}, customer=customer) for _ in range(4)]
    first = shop.get("/orders", customer_id=customer.id, limit="2")

    newest = shop.place({sku: 1}, customer=customer)
    second = shop.get("/orders", customer_id=customer.id, limit="2", cursor=first["next_cursor"])

    seen = [order["order_id"] for order in first["orders"] + second["orders"]]
    assert seen == placed[::-1]
    assert second["next_cursor"] is None
    everything = shop.get("/orders", customer_id=customer.id)
    assert everything["orders"][0]["order_id"] == newest


def test_a_page_that_is_just_full_is_the_last(shop: Shop, customer: Customer) -> None:
    sku = shop.stock(2)
    for _ in range(2):
        shop.place({sku: 1}, customer=customer)

    assert shop.get("/orders", customer_id=customer.id, limit="2")["next_cursor"] is None


def test_a_customer_without_orders_has_an_empty_page(shop: Shop, customer: Customer) -> None:
    answer = shop.get("/orders", customer_id=customer.id)

    assert answer == {"orders": [], "next_cursor": None}


def test_every_product_is_on_one_page(shop: Shop) -> None:
    mine = {shop.stock(0) for _ in range(3)}

    skus = [
        product["sku"]
        for page in pages(shop, "/products", "products", limit="100")
        for product in page
    ]

    assert mine <= set(skus)
    assert len(skus) == len(set(skus))


def test_a_product_shows_its_price(shop: Shop) -> None:
    sku = shop.stock(0, unit_price=1_999, currency="USD")

    assert shop.product(sku) == {
        "sku": sku,
        "name": f"Thing {sku}",
        "unit_price": 1_999,
        "currency": "USD",
    }


@pytest.mark.parametrize("order_id", [NOBODY, "no-uuid", "%00", "%ff", "1", "'; --"])
@pytest.mark.parametrize("rest", ["", "/timeline"])
def test_an_order_that_does_not_exist_is_not_found(shop: Shop, order_id: str, rest: str) -> None:
    problem(shop.request("GET", f"/orders/{order_id}{rest}"), 404)


@pytest.mark.parametrize(
    ("path", "params", "field"),
    [
        ("/orders", {}, "customer_id"),
        ("/orders", {"customer_id": ""}, "customer_id"),
        ("/orders", {"customer_id": "a\x00b"}, "customer_id"),
        ("/orders", {"customer_id": "x" * 65}, "customer_id"),
        ("/orders", {"customer_id": "c", "cursor": "nonsense"}, "cursor"),
        ("/orders", {"customer_id": "c", "cursor": "\x00"}, "cursor"),
        ("/orders", {"customer_id": "c", "cursor": ""}, "cursor"),
        ("/orders", {"customer_id": "c", "limit": "0"}, "limit"),
        ("/orders", {"customer_id": "c", "limit": "101"}, "limit"),
        ("/orders", {"customer_id": "c", "limit": "-1"}, "limit"),
        ("/orders", {"customer_id": "c", "limit": "ten"}, "limit"),
        ("/orders", {"customer_id": "c", "limit": "٣"}, "limit"),
        ("/products", {"limit": "1e2"}, "limit"),
        ("/products", {"cursor": "a\x00b"}, "cursor"),
        ("/products", {"cursor": "ä" * 65}, "cursor"),
    ],
)
def test_a_faulty_query_is_refused_by_the_name_of_its_field(
    shop: Shop, path: str, params: dict[str, str], field: str
) -> None:
    answer = problem(shop.request("GET", path, params=params), 400)

    assert [error["field"] for error in answer["errors"]] == [field]


def test_every_fault_of_a_query_is_named(shop: Shop) -> None:
    answer = problem(shop.request("GET", "/orders?limit=0&cursor=x"), 400)

    fields = {error["field"] for error in answer["errors"]}
    assert fields == {"customer_id", "limit", "cursor"}


def test_bytes_that_are_no_utf8_are_never_our_fault(shop: Shop) -> None:
    for path in ("/orders?customer_id=%ff", "/products?cursor=%ff%fe", "/orders?%00=%00"):
        assert shop.request("GET", path).status_code in range(200, 500)


def test_what_the_api_does_not_have_is_a_clients_mistake(shop: Shop) -> None:
    answers: list[httpx.Response] = [
        shop.request("GET", f"/{unique('nowhere')}"),
        shop.request("DELETE", f"/orders/{NOBODY}"),
        shop.request("PUT", "/orders"),
    ]

    assert all(400 <= answer.status_code < 500 for answer in answers)
