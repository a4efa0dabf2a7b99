"""What an order costs, how it may end, and why."""

from itertools import product as pairs

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orders.domain import (
    MAX_UNIT_PRICE,
    TRANSITIONS,
    Line,
    NotInCatalogue,
    Product,
    Status,
    WantedLine,
    price,
    reason_of,
    total,
)
from orders.requests import MAX_LINES, MAX_QUANTITY
from shared.contracts.saga import undo_document

FINAL = {Status.CONFIRMED, Status.REJECTED, Status.CANCELLED}


def sold(sku: str, unit_price: int = 900, currency: str = "EUR") -> Product:
    return Product(sku, sku.title(), unit_price, currency, 1)


def test_each_line_gets_the_price_of_its_own_sku() -> None:
    lines = price(
        [WantedLine("cup", 2), WantedLine("mug", 3)],
        "EUR",
        {"mug": sold("mug", 700), "cup": sold("cup", 900)},
    )
    assert lines == (Line("cup", 2, 900), Line("mug", 3, 700))


def test_the_total_adds_every_line_once() -> None:
    assert total([Line("cup", 2, 900), Line("mug", 3, 700), Line("pin", 1, 0)]) == 3900


def test_a_refusal_names_every_sku_that_stands_in_the_way() -> None:
    refused = price(
        [WantedLine("cup", 1), WantedLine("gone", 1), WantedLine("tea", 1), WantedLine("lost", 1)],
        "EUR",
        {"cup": sold("cup"), "tea": sold("tea", currency="GBP")},
    )
    assert refused == NotInCatalogue(unknown=("gone", "lost"), other_currency=("tea",))


def test_the_dearest_order_still_has_an_exact_total_in_every_json_reader() -> None:
    dearest = total([Line(f"s{n}", MAX_QUANTITY, MAX_UNIT_PRICE) for n in range(MAX_LINES)])
    assert dearest < 2**53


@pytest.mark.parametrize("unit_price", [-1, MAX_UNIT_PRICE + 1, 2**63])
def test_a_price_that_no_order_could_be_made_with_is_no_product(unit_price: int) -> None:
    with pytest.raises(ValueError, match="unit price"):
        sold("cup", unit_price)


@pytest.mark.parametrize(("before", "after"), list(pairs(Status, Status)))
def test_nothing_follows_a_final_status(before: Status, after: Status) -> None:
    if before in FINAL:
        assert after not in TRANSITIONS[before]


def test_every_status_has_its_line_in_the_table() -> None:
    assert set(TRANSITIONS) == set(Status)


def test_a_parked_order_can_no_longer_be_confirmed() -> None:
    assert Status.CONFIRMED not in TRANSITIONS[Status.PARKED]


OK = {"reserve": {"outcome": "reserved"}, "charge": {"outcome": "charged"}}
FAULT = {"Error": "States.Timeout", "Cause": ""}


@pytest.mark.parametrize(
    ("saga", "reason"),
    [
        ({"reserve": {"outcome": "refused", "reason": "OUT_OF_STOCK"}}, "OUT_OF_STOCK"),
        ({"reserve": FAULT}, "RESERVE_FAILED"),
        (OK | {"charge": {"outcome": "refused", "reason": "DECLINED"}}, "DECLINED"),
        (OK | {"charge": FAULT}, "PAYMENT_FAILED"),
        (
            OK | {"ship": {"outcome": "refused", "reason": "SHIPMENT_TOO_LARGE"}},
            "SHIPMENT_TOO_LARGE",
        ),
        (OK | {"ship": FAULT}, "SHIPMENT_FAILED"),
        (OK | {"ship": {"outcome": "shipped"}, "confirm": FAULT}, "CONFIRM_FAILED"),
        (OK | {"charge": {"outcome": "refused"}}, "PAYMENT_FAILED"),
        (OK | {"ship": "nonsense"}, "SHIPMENT_FAILED"),
        (OK, "UNKNOWN"),
        ({}, "UNKNOWN"),
        (undo_document("order"), "ABANDONED"),
        # What an undo left behind is no reason.
        ({"reserve": {"outcome": "refused", "reason": "A"}, "stuck": FAULT}, "A"),
    ],
)
def test_the_reason_is_the_first_step_that_did_not_succeed(
    saga: dict[str, object], reason: str
) -> None:
    assert reason_of(saga) == reason


_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=8,
)


@given(st.dictionaries(st.sampled_from(["reserve", "charge", "ship", "confirm", "x"]), _json))
def test_whatever_a_saga_left_behind_there_is_a_reason(saga: dict[str, object]) -> None:
    assert reason_of(saga)
