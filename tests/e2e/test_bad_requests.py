"""Whatever is sent to `POST /orders`: a 4xx that names every faulty field, and never a 5xx."""

import json
from typing import Any

import httpx
import pytest

from tests.support.shop import Answer, Customer, Shop, order_body, problem

LIMIT = 64 * 1024


def post(shop: Shop, content: bytes, **headers: str) -> httpx.Response:
    return shop.request(
        "POST",
        "/orders",
        content=content,
        headers={"Content-Type": "application/json", **headers},
    )


def valid() -> Answer:
    return order_body({"no-such-sku": 1}, Customer("somebody"))


def line(**changes: Any) -> list[Any]:
    return [{"sku": "no-such-sku", "quantity": 1} | changes]


@pytest.mark.parametrize(
    ("changes", "fields"),
    [
        ({"customer_id": ""}, ["customer_id"]),
        ({"customer_id": None}, ["customer_id"]),
        ({"customer_id": 7}, ["customer_id"]),
        ({"customer_id": "x" * 65}, ["customer_id"]),
        ({"customer_id": "a\x00b"}, ["customer_id"]),
        ({"customer_id": "a\n"}, ["customer_id"]),
        ({"customer_id": ["a"]}, ["customer_id"]),
        ({"email": "nobody"}, ["email"]),
        ({"email": "a@b@example.com"}, ["email"]),
        ({"email": "a\x00@example.com"}, ["email"]),
        ({"email": "a@example.com\nBcc: b@example.com"}, ["email"]),
        ({"email": "a" * 250 + "@example.com"}, ["email"]),
        ({"email": {}}, ["email"]),
        ({"currency": "XXX"}, ["currency"]),
        ({"currency": "eur"}, ["currency"]),
        ({"currency": 978}, ["currency"]),
        ({"payment_token": ""}, ["payment_token"]),
        ({"payment_token": True}, ["payment_token"]),
        ({"lines": []}, ["lines"]),
        ({"lines": {}}, ["lines"]),
        ({"lines": None}, ["lines"]),
        ({"lines": "sku"}, ["lines"]),
        ({"lines": [{"sku": f"s{n}", "quantity": 1} for n in range(51)]}, ["lines"]),
        ({"lines": [7]}, ["lines[0]"]),
        ({"lines": [[]]}, ["lines[0]"]),
        ({"lines": line(quantity=0)}, ["lines[0].quantity"]),
        ({"lines": line(quantity=-1)}, ["lines[0].quantity"]),
        ({"lines": line(quantity=1000)}, ["lines[0].quantity"]),
        ({"lines": line(quantity=10**30)}, ["lines[0].quantity"]),
        ({"lines": line(quantity=1.5)}, ["lines[0].quantity"]),
        ({"lines": line(quantity="1")}, ["lines[0].quantity"]),
        ({"lines": line(quantity=True)}, ["lines[0].quantity"]),
        ({"lines": line(quantity=None)}, ["lines[0].quantity"]),
        ({"lines": line(sku="a\x00b")}, ["lines[0].sku"]),
        ({"lines": line(sku="a b")}, ["lines[0].sku"]),
        ({"lines": line() + line()}, ["lines[1].sku"]),
    ],
    ids=lambda value: json.dumps(value)[:50],
)
def test_a_faulty_field_is_named(shop: Shop, changes: Answer, fields: list[str]) -> None:
    answer = problem(post(shop, json.dumps(valid() | changes).encode()), 400)

    assert [error["field"] for error in answer["errors"]] == fields
    assert all(error["message"] for error in answer["errors"])


def test_every_fault_is_named_at_once(shop: Shop) -> None:
    body = {
        "email": "nobody",
        "currency": "XXX",
        "lines": [
            {"sku": "good", "quantity": 0},
            {"quantity": 1},
            {"sku": "a b", "quantity": 1000},
        ],
    }

    answer = problem(post(shop, json.dumps(body).encode(), **{"Idempotency-Key": "a b"}), 400)

    assert {error["field"] for error in answer["errors"]} == {
        "customer_id",
        "email",
        "currency",
        "lines[0].quantity",
        "lines[1].sku",
        "lines[2].sku",
        "lines[2].quantity",
        "payment_token",
        "Idempotency-Key",
    }


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b" ",
        b"{",
        b"nonsense",
        b"null",
        b"[]",
        b"7",
        b'"text"',
        b"{}{}",
        b"\x00",
        b"\xff\xfe\x00",
        b'{"customer_id": "\xff"}',
        b'{"customer_id": NaN}',
        b"[" * 30_000,
        b'{"a":' * 10_000,
        b"9" * 60_000,
    ],
    ids=lambda content: repr(content[:12]),
)
def test_what_is_no_order_at_all_is_refused(shop: Shop, content: bytes) -> None:
    answer = problem(post(shop, content), 400)

    assert answer["errors"]


@pytest.mark.parametrize("field", ["customer_id", "email", "currency", "payment_token"])
@pytest.mark.parametrize("text", [r"\ud800", r"\udfff\ud800", r"a\u0000", r"\ud83d@example.com"])
def test_a_lone_surrogate_or_a_nul_is_refused(shop: Shop, field: str, text: str) -> None:
    content = json.dumps(valid() | {field: "HERE"}).replace("HERE", text).encode()

    answer = problem(post(shop, content), 400)

    # JSON with half a character may be refused as a whole.
    assert [error["field"] for error in answer["errors"]] in ([field], ["body"])


def test_a_body_over_64_kb_is_too_large(shop: Shop) -> None:
    body = json.dumps(valid()).encode()

    problem(post(shop, body.ljust(LIMIT + 1)), 413)
    problem(post(shop, body.ljust(LIMIT)), 422)  # read, and its sku is unknown
    problem(post(shop, json.dumps(valid() | {"email": "ä" * LIMIT}).encode()), 413)


def test_an_order_of_fifty_lines_of_999_is_within_the_limits(shop: Shop) -> None:
    lines = {f"no-such-sku-{number}": 999 for number in range(50)}

    answer = shop.try_to_place(lines)

    assert problem(answer, 422)["unknown_skus"] == list(lines)


@pytest.mark.parametrize("key", ["", "a b", "x" * 256], ids=["empty", "blank", "long"])
def test_a_faulty_idempotency_key_is_named(shop: Shop, key: str) -> None:
    answer = problem(post(shop, json.dumps(valid()).encode(), **{"Idempotency-Key": key}), 400)

    assert [error["field"] for error in answer["errors"]] == ["Idempotency-Key"]


@pytest.mark.parametrize(
    "media_type", ["text/plain", "application/octet-stream", "application/x-www-form-urlencoded"]
)
def test_another_content_type_is_never_our_fault(shop: Shop, media_type: str) -> None:
    answer = post(shop, json.dumps(valid()).encode(), **{"Content-Type": media_type})

    assert answer.status_code in {400, 415, 422}


def test_fields_that_nobody_knows_are_ignored(shop: Shop) -> None:
    problem(post(shop, json.dumps(valid() | {"newer": [1]}).encode()), 422)
