"""What may be reserved, shipped and received."""

import copy
from typing import Any
from uuid import UUID

import pytest

from inventory import domain
from inventory.domain import (
    DeliveryError,
    Listing,
    Outcome,
    Reason,
    Reservation,
    ReservationStatus,
    Stock,
    delivery_from,
    refusal_to_reserve,
    refusal_to_ship,
    summed,
    tracking_of,
)

ORDER = UUID("0199a3b2-7c41-7d52-8e5f-3a6b9c0d1e2f")
SHELF = {
    sku: Stock(sku, Listing(sku.title(), 900, "EUR"), available)
    for sku, available in {"CUP": 2, "PAN": 5}.items()
}


def reservation(units: int, status: ReservationStatus = ReservationStatus.RESERVED) -> Reservation:
    return Reservation(ORDER, status, {"CUP": units - 1, "PAN": 1})


@pytest.mark.parametrize(
    ("wanted", "reason"),
    [
        ({"CUP": 2, "PAN": 5}, None),
        ({"CUP": 3}, Reason.OUT_OF_STOCK),
        ({"CUP": 1, "PAN": 6}, Reason.OUT_OF_STOCK),
        ({"CUP": 1, "POT": 1}, Reason.UNKNOWN_SKU),
        ({"CUP": 9, "POT": 1}, Reason.UNKNOWN_SKU),
    ],
)
def test_an_order_that_the_shelf_cannot_serve_whole_is_refused(
    wanted: dict[str, int], reason: Reason | None
) -> None:
    assert refusal_to_reserve(wanted, SHELF) == reason


def test_lines_of_one_sku_count_together_in_sku_order() -> None:
    units = summed([("PAN", 1), ("CUP", 2), ("PAN", 3)])
    assert list(units.items()) == [("CUP", 2), ("PAN", 4)]


def test_a_shipment_carries_a_thousand_units_and_not_one_more() -> None:
    assert refusal_to_ship(reservation(1000)) is None
    assert refusal_to_ship(reservation(1001)) is Reason.SHIPMENT_TOO_LARGE


@pytest.mark.parametrize("status", [ReservationStatus.REFUSED, ReservationStatus.RELEASED])
def test_only_what_is_reserved_can_be_shipped(status: ReservationStatus) -> None:
    assert refusal_to_ship(reservation(2, status)) is Reason.NOT_RESERVED
    assert refusal_to_ship(None) is Reason.NOT_RESERVED


def test_the_tracking_number_of_an_order_is_always_the_same() -> None:
    assert tracking_of(ORDER) == tracking_of(ORDER) == "OF0199A3B27C417D528E5F3A6B9C0D1E2F"


def test_an_outcome_that_the_saga_does_not_know_cannot_be_made() -> None:
    with pytest.raises(ValueError, match="held"):
        Outcome("held")
    with pytest.raises(ValueError, match="refused"):
        Outcome("refused")
    with pytest.raises(ValueError, match="reserved"):
        Outcome("reserved", Reason.OUT_OF_STOCK)


CUP = {"sku": "CUP", "name": "Cup", "unit_price": 900, "currency": "EUR", "quantity": 3}
DELIVERY = {"delivery_id": "d-1", "products": [CUP, {**CUP, "sku": "ARM.2_x-"}]}


def test_a_delivery_is_read_in_sku_order() -> None:
    delivery = delivery_from(DELIVERY)
    assert [product.sku for product in delivery.products] == ["ARM.2_x-", "CUP"]
    assert delivery.units == 6


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("sku", ""),
        ("sku", "x" * 65),
        ("sku", "A B"),
        ("sku", "A\n"),
        ("sku", 7),
        ("name", ""),
        ("name", "x" * 201),
        ("name", "nul\x00"),
        ("name", "\ud800"),
        ("name", None),
        ("unit_price", -1),
        ("unit_price", 10**9 + 1),
        ("unit_price", 9.5),
        ("unit_price", True),
        ("currency", "eur"),
        ("currency", "XXX"),
        ("currency", ["EUR"]),
        ("quantity", -1),
        ("quantity", 10**6 + 1),
        ("quantity", "3"),
    ],
)
def test_a_faulty_field_is_named(field: str, value: Any) -> None:
    payload: Any = copy.deepcopy(DELIVERY)
    payload["products"][1][field] = value
    with pytest.raises(DeliveryError) as caught:
        delivery_from(payload)
    (fault,) = caught.value.faults
    assert fault.startswith(f"products[1].{field} ")


def test_every_fault_is_told_at_once() -> None:
    with pytest.raises(DeliveryError) as caught:
        delivery_from({"delivery_id": "", "products": [{}, CUP, CUP, 5]})
    text = str(caught.value)
    for name in ("delivery_id", "products[0].sku", "products[0].quantity", "products[3]"):
        assert name in text
    assert "products[2].sku CUP stands in this delivery twice" in text


@pytest.mark.parametrize("payload", [None, [], "x", {}, {"delivery_id": "d", "products": []}])
def test_what_is_no_delivery_is_refused(payload: Any) -> None:
    with pytest.raises(DeliveryError):
        delivery_from(payload)


def test_a_delivery_holds_a_thousand_products_and_not_one_more() -> None:
    rows = [{**CUP, "sku": f"S{n}"} for n in range(domain.MAX_PRODUCTS + 1)]
    assert len(delivery_from({"delivery_id": "d", "products": rows[1:]}).products) == 1000
    with pytest.raises(DeliveryError, match="1 to 1000"):
        delivery_from({"delivery_id": "d", "products": rows})
