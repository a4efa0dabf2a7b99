"""Whatever a client sends is understood or refused by name, never a fault of ours."""

import json
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from orders.domain import WantedLine
from orders.requests import (
    MAX_LINES,
    Fault,
    InvalidRequest,
    ListOrders,
    list_orders_request,
    list_products_request,
    place_order_request,
)
from orders.use_cases import PlaceOrder

GOOD: dict[str, Any] = {
    "customer_id": "ada",
    "email": "ada@example.com",
    "currency": "EUR",
    "lines": [{"sku": "CUP", "quantity": 2}, {"sku": "MUG", "quantity": 1}],
    "payment_token": "tok_visa",
}


def read(body: Any, **headers: str) -> PlaceOrder:
    return place_order_request(json.dumps(body).encode(), headers)


def faults_of(body: Any, **headers: str) -> dict[str, str]:
    with pytest.raises(InvalidRequest) as caught:
        read(body, **headers)
    return {fault.field: fault.message for fault in caught.value.faults}


def without(field: str) -> dict[str, Any]:
    return {name: value for name, value in GOOD.items() if name != field}


def test_a_good_body_is_read_whole() -> None:
    assert read(GOOD, **{"idempotency-key": "k-1"}) == PlaceOrder(
        customer_id="ada",
        email="ada@example.com",
        currency="EUR",
        lines=(WantedLine("CUP", 2), WantedLine("MUG", 1)),
        payment_token="tok_visa",
        idempotency_key="k-1",
    )


def test_fields_that_nobody_knows_are_ignored() -> None:
    assert read(GOOD | {"note": "ring twice", "total": 1}) == read(GOOD)


@pytest.mark.parametrize("field", list(GOOD))
def test_a_missing_field_is_named(field: str) -> None:
    assert faults_of(without(field)) == {field: "is required"}


def test_every_faulty_field_is_named_at_once() -> None:
    bad = {
        "customer_id": "a b",
        "email": "ada",
        "currency": "XXX",
        "lines": [{"sku": "", "quantity": 0}, {"quantity": "2"}],
        "payment_token": None,
    }
    assert set(faults_of(bad, **{"idempotency-key": "two words"})) == {
        "customer_id",
        "email",
        "currency",
        "lines[0].sku",
        "lines[0].quantity",
        "lines[1].sku",
        "lines[1].quantity",
        "payment_token",
        "Idempotency-Key",
    }


def test_a_sku_on_two_lines_is_named_where_it_is_repeated() -> None:
    lines = [{"sku": "CUP", "quantity": 1}, {"sku": "MUG", "quantity": 1}] * 2
    assert set(faults_of(GOOD | {"lines": lines})) == {"lines[2].sku", "lines[3].sku"}


@pytest.mark.parametrize("quantity", [1, 999])
def test_the_ends_of_the_range_of_quantities_are_inside(quantity: int) -> None:
    assert read(GOOD | {"lines": [{"sku": "CUP", "quantity": quantity}]})


@pytest.mark.parametrize("quantity", [0, 1000, -1, 1.0, 1.5, True, "1", None, 2**63, 10**400, []])
def test_any_other_quantity_is_a_fault(quantity: Any) -> None:
    # A number of 400 digits is refused by the reader, before there are fields.
    assert set(faults_of(GOOD | {"lines": [{"sku": "CUP", "quantity": quantity}]})) & {
        "lines[0].quantity",
        "body",
    }


@pytest.mark.parametrize(("count", "good"), [(0, False), (1, True), (MAX_LINES, True), (51, False)])
def test_an_order_has_one_to_fifty_lines(count: int, *, good: bool) -> None:
    body = GOOD | {"lines": [{"sku": f"s{n}", "quantity": 1} for n in range(count)]}
    if good:
        assert len(read(body).lines) == count
    else:
        assert set(faults_of(body)) == {"lines"}


NOT_NAMES = ["", "a b", "a\n", "\na", "a\0", "é", "a" * 65, "a/b", "\ud800", 1, None, [], {}]


@pytest.mark.parametrize("field", ["customer_id", "payment_token"])
@pytest.mark.parametrize("value", NOT_NAMES)
def test_what_is_no_identifier_is_a_fault(field: str, value: Any) -> None:
    assert set(faults_of(GOOD | {field: value})) <= {field, "body"}


@pytest.mark.parametrize(
    "email",
    [
        "ada",
        "ada@",
        "@example.com",
        "a@b",
        "a b@example.com",
        "ada@example.com\n",
        "a\x00@b.com",
        "ada@example.com\r\nBcc: eve@example.com",
        "a@b@c.com",
        "a" * 250 + "@b.com",
        7,
    ],
)
def test_what_is_no_email_is_a_fault(email: Any) -> None:
    assert set(faults_of(GOOD | {"email": email})) == {"email"}


@pytest.mark.parametrize("key", ["", " ", "a b", "a\n", "é", "\0", "k" * 256])
def test_what_is_no_idempotency_key_is_a_fault(key: str) -> None:
    assert set(faults_of(GOOD, **{"idempotency-key": key})) == {"Idempotency-Key"}


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"null",
        b"[]",
        b"1",
        b'"text"',
        b"\xff\xfe",
        b"{'a': 1}",
        b"NaN",
        b"1" * 60000,
        b"[" * 30000,
        b'{"a":' * 10000,
        b'"\\ud800"',
        b'{"lines": {"0": []}}',
        b"\xed\xa0\x80",
    ],
)
def test_what_is_no_json_object_is_a_fault(body: bytes) -> None:
    with pytest.raises(InvalidRequest):
        place_order_request(body, {})


def test_the_same_order_has_the_same_fingerprint_however_it_is_written() -> None:
    spaced = json.dumps(dict(reversed(GOOD.items())), indent=4).encode()
    assert place_order_request(spaced, {}).fingerprint() == read(GOOD).fingerprint()


@pytest.mark.parametrize(
    "change",
    [
        {"customer_id": "bob"},
        {"email": "bob@example.com"},
        {"currency": "USD"},
        {"payment_token": "tok_other"},
        {"lines": [{"sku": "CUP", "quantity": 3}, {"sku": "MUG", "quantity": 1}]},
        {"lines": [{"sku": "CUP", "quantity": 2}]},
    ],
)
def test_another_order_has_another_fingerprint(change: dict[str, Any]) -> None:
    assert read(GOOD | change).fingerprint() != read(GOOD).fingerprint()


_text = st.text(st.characters(), max_size=300)  # NUL and lone surrogates too
_value = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | _text
    | st.integers(-(10**30), 10**30),
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(_text, inner, max_size=5),
    max_leaves=10,
)
_line = st.fixed_dictionaries({}, optional={"sku": _value, "quantity": _value}) | _value
_body = st.fixed_dictionaries(
    {},
    optional={
        "customer_id": st.just("ada") | _value,
        "email": st.just("ada@example.com") | st.emails() | _value,
        "currency": st.sampled_from(["EUR", "XXX"]) | _value,
        "lines": st.just(GOOD["lines"]) | st.lists(_line, max_size=4) | _value,
        "payment_token": st.just("tok_visa") | _value,
    },
)


def understood_or_refused(body: bytes, headers: dict[str, str]) -> None:
    refused: tuple[Fault, ...] = ()
    try:
        order = place_order_request(body, headers)
    except InvalidRequest as invalid:
        refused = invalid.faults
    else:
        stored = f"{order.customer_id}{order.email}{order.payment_token}"
        assert "\0" not in stored
        assert stored.encode()
        assert order.fingerprint()
        return
    assert refused
    # What goes into an answer must be text that can be sent.
    assert all((fault.field + fault.message).encode() for fault in refused)


@given(_body | _value, st.dictionaries(st.sampled_from(["idempotency-key", "x"]), _text))
def test_any_json_is_understood_or_refused_by_name(body: Any, headers: dict[str, str]) -> None:
    understood_or_refused(json.dumps(body).encode(), headers)


@given(st.binary(max_size=2000))
@example(b"\xed\xa0\x80")
def test_any_bytes_are_understood_or_refused_by_name(body: bytes) -> None:
    understood_or_refused(body, {})


@given(st.dictionaries(st.sampled_from(["customer_id", "limit", "cursor", "other"]), _text))
def test_any_query_is_understood_or_refused_by_name(query: dict[str, str]) -> None:
    for reads in (list_orders_request, list_products_request):
        with suppress(InvalidRequest):
            assert 1 <= reads(query).limit <= 100


def test_a_page_has_twenty_orders_unless_asked_otherwise() -> None:
    assert list_orders_request({"customer_id": "ada"}) == ListOrders("ada", 20, None)


@pytest.mark.parametrize("limit", ["0", "101", "-1", "1.0", "", "x", "१०", "1" * 5000, " 1"])
def test_a_limit_outside_one_to_a_hundred_is_a_fault(limit: str) -> None:
    for reads in (list_orders_request, list_products_request):
        with pytest.raises(InvalidRequest, match="limit"):
            reads({"customer_id": "ada", "limit": limit})


def test_a_cursor_that_was_never_given_is_a_fault() -> None:
    with pytest.raises(InvalidRequest, match="cursor"):
        list_orders_request({"customer_id": "ada", "cursor": "next"})
    with pytest.raises(InvalidRequest, match="cursor"):
        list_products_request({"cursor": "a\0b"})
