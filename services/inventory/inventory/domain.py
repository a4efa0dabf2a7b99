"""What stock is, what may be refused, and what a delivery must look like."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any
from uuid import UUID

MAX_SHIPMENT_UNITS = 1000
"""One shipment carries at most so many units, over all its lines."""

LOW_STOCK_THRESHOLD = 5
"""A reservation that leaves so few available, or fewer, is told of."""


class Reason(StrEnum):
    """Why a step was refused."""

    OUT_OF_STOCK = "OUT_OF_STOCK"
    UNKNOWN_SKU = "UNKNOWN_SKU"
    RELEASED = "RELEASED"
    SHIPMENT_TOO_LARGE = "SHIPMENT_TOO_LARGE"
    NOT_RESERVED = "NOT_RESERVED"
    CANCELLED = "CANCELLED"


# What the saga's steps answer, and the reasons they can give. A lint test compares these with the
# state machine, both ways; the use cases can return nothing else (`Outcome` checks it).
RESERVE_OUTCOMES = frozenset({"reserved", "refused"})
RELEASE_OUTCOMES = frozenset({"released"})
SHIP_OUTCOMES = frozenset({"shipped", "refused"})
CANCEL_SHIPMENT_OUTCOMES = frozenset({"cancelled"})

RESERVE_REASONS = frozenset({Reason.OUT_OF_STOCK, Reason.UNKNOWN_SKU, Reason.RELEASED})
SHIP_REASONS = frozenset({Reason.SHIPMENT_TOO_LARGE, Reason.NOT_RESERVED, Reason.CANCELLED})

_OUTCOMES = RESERVE_OUTCOMES | RELEASE_OUTCOMES | SHIP_OUTCOMES | CANCEL_SHIPMENT_OUTCOMES


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a step did; `refused` has a reason, `shipped` has a tracking number."""

    code: str
    reason: Reason | None = None
    tracking: str | None = None

    def __post_init__(self) -> None:
        if self.code not in _OUTCOMES:
            raise ValueError(f"{self.code!r} is no outcome that the saga knows")
        if (self.code == "refused") != (self.reason is not None):
            raise ValueError(f"{self.code} with reason {self.reason}")

    def as_data(self) -> dict[str, str]:
        """Return what the saga reads."""
        data = {"outcome": self.code}
        if self.reason is not None:
            data["reason"] = self.reason.value
        if self.tracking is not None:
            data["tracking"] = self.tracking
        return data


@dataclass(frozen=True, slots=True)
class Reserve:
    """Set `wanted` (units by sku, each at least 1) aside for the order, all or none."""

    order_id: UUID
    wanted: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Release:
    """Undo Reserve, whether or not it has happened yet."""

    order_id: UUID


@dataclass(frozen=True, slots=True)
class Ship:
    """Ship what was reserved."""

    order_id: UUID


@dataclass(frozen=True, slots=True)
class CancelShipment:
    """Undo Ship, whether or not it has happened yet."""

    order_id: UUID


Command = Reserve | Release | Ship | CancelShipment


class Bin(StrEnum):
    """Where a unit is; what was received is always the sum over the bins."""

    AVAILABLE = "available"
    RESERVED = "reserved"
    SHIPPED = "shipped"


class ReservationStatus(StrEnum):
    """A reservation that is `released` but was never made is a tombstone."""

    RESERVED = "reserved"
    REFUSED = "refused"
    RELEASED = "released"


class ShipmentStatus(StrEnum):
    """A shipment that is `cancelled` but was never made is a tombstone."""

    SHIPPED = "shipped"
    REFUSED = "refused"
    CANCELLED = "cancelled"


@dataclass(frozen=True, slots=True)
class Reservation:
    """What one order has set aside, or was refused; `units` by sku."""

    order_id: UUID
    status: ReservationStatus
    units: Mapping[str, int]
    reason: Reason | None = None


@dataclass(frozen=True, slots=True)
class Shipment:
    """What became of one order's shipment; its units are those of the reservation."""

    order_id: UUID
    status: ShipmentStatus
    reason: Reason | None = None
    tracking: str | None = None


@dataclass(frozen=True, slots=True)
class Listing:
    """What customers see of a product; `unit_price` in minor units of `currency`."""

    name: str
    unit_price: int
    currency: str


@dataclass(frozen=True, slots=True)
class Stock:
    """One product on the shelf."""

    sku: str
    listing: Listing
    available: int


def summed(lines: Iterable[tuple[str, int]]) -> dict[str, int]:
    """Add up lines of the same sku; the result is in sku order."""
    units: dict[str, int] = {}
    for sku, quantity in lines:
        units[sku] = units.get(sku, 0) + quantity
    return dict(sorted(units.items()))


def refusal_to_reserve(wanted: Mapping[str, int], shelf: Mapping[str, Stock]) -> Reason | None:
    """Say why `wanted` cannot be set aside as a whole; None: it can."""
    if any(sku not in shelf for sku in wanted):
        return Reason.UNKNOWN_SKU
    if any(shelf[sku].available < units for sku, units in wanted.items()):
        return Reason.OUT_OF_STOCK
    return None


def refusal_to_ship(reservation: Reservation | None) -> Reason | None:
    """Say why an order cannot be shipped; None: it can."""
    if reservation is None or reservation.status is not ReservationStatus.RESERVED:
        return Reason.NOT_RESERVED
    if sum(reservation.units.values()) > MAX_SHIPMENT_UNITS:
        return Reason.SHIPMENT_TOO_LARGE
    return None


def tracking_of(order_id: UUID) -> str:
    """Return the order's tracking number: derived, not minted, so that no retry makes a second."""
    return f"OF{order_id.hex.upper()}"


# What a delivery may hold.
CURRENCIES = frozenset({"USD", "EUR", "GBP"})
MAX_PRODUCTS = 1000
MAX_UNIT_PRICE = 10**9
MAX_QUANTITY = 10**6
MAX_NAME = 200
_SKU = re.compile(r"[A-Za-z0-9._-]{1,64}")
_DELIVERY_ID = re.compile(r"[A-Za-z0-9._:-]{1,128}")


@dataclass(frozen=True, slots=True)
class DeliveredProduct:
    """So many new units of one product, and how it is listed from now on."""

    sku: str
    listing: Listing
    quantity: int


@dataclass(frozen=True, slots=True)
class Delivery:
    """A stock receipt; `products` in sku order, each sku once."""

    delivery_id: str
    products: tuple[DeliveredProduct, ...]

    @property
    def units(self) -> int:
        """All units together."""
        return sum(product.quantity for product in self.products)


class DeliveryError(Exception):
    """A delivery that cannot be received; `faults` names each faulty field."""

    def __init__(self, faults: list[str]) -> None:
        super().__init__("; ".join(faults))
        self.faults = faults


def delivery_from(payload: Any) -> Delivery:
    """Read a delivery from plain JSON data; raise DeliveryError with every fault in it."""
    if not isinstance(payload, dict):
        raise DeliveryError(["the payload must be an object"])
    faults = []
    delivery_id = payload.get("delivery_id")
    if not _matches(_DELIVERY_ID, delivery_id):
        faults.append("delivery_id must be 1 to 128 of A-Z a-z 0-9 . _ : -")
    rows = payload.get("products")
    if not isinstance(rows, list) or not 1 <= len(rows) <= MAX_PRODUCTS:
        faults.append(f"products must be a list of 1 to {MAX_PRODUCTS}")
        raise DeliveryError(faults)
    seen: set[str] = set()
    for at, row in enumerate(rows):
        faults += [f"products[{at}]{fault}" for fault in _faults_of(row, seen)]
    if faults:
        raise DeliveryError(faults)
    products = [
        DeliveredProduct(
            row["sku"], Listing(row["name"], row["unit_price"], row["currency"]), row["quantity"]
        )
        for row in sorted(rows, key=lambda row: str(row["sku"]))
    ]
    return Delivery(str(delivery_id), tuple(products))


def _faults_of(row: Any, seen: set[str]) -> Iterable[str]:
    if not isinstance(row, dict):
        yield " must be an object"
        return
    sku, name = row.get("sku"), row.get("name")
    if not is_sku(sku):
        yield ".sku must be 1 to 64 of A-Z a-z 0-9 . _ -"
    elif sku in seen:
        yield f".sku {sku} stands in this delivery twice"
    else:
        seen.add(str(sku))
    if not is_name(name):
        yield ".name must be 1 to 200 printable characters"
    if not _within(row.get("unit_price"), MAX_UNIT_PRICE):
        yield f".unit_price must be a whole number from 0 to {MAX_UNIT_PRICE}"
    currency = row.get("currency")
    if not isinstance(currency, str) or currency not in CURRENCIES:
        yield f".currency must be one of {', '.join(sorted(CURRENCIES))}"
    if not _within(row.get("quantity"), MAX_QUANTITY):
        yield f".quantity must be a whole number from 0 to {MAX_QUANTITY}"


def is_sku(value: Any) -> bool:
    """Whether a product can be called so."""
    return _matches(_SKU, value)


def is_name(value: Any) -> bool:
    """Whether customers can be shown it."""
    # Printable: Postgres stores no NUL, and UTF-8 has no lone surrogates.
    return isinstance(value, str) and 1 <= len(value) <= MAX_NAME and value.isprintable()


def _matches(pattern: re.Pattern[str], value: Any) -> bool:
    return isinstance(value, str) and pattern.fullmatch(value) is not None


def _within(value: Any, most: int) -> bool:
    # type(), not isinstance(): True is an int.
    return type(value) is int and 0 <= value <= most
