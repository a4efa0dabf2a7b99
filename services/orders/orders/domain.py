"""What an order is, how it ends, and what may be refused."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any
from uuid import UUID


class Status(StrEnum):
    """An order's status; `TRANSITIONS` says what may follow what."""

    PLACED = "PLACED"
    CONFIRMED = "CONFIRMED"
    REJECTED = "REJECTED"
    CANCELLED = "CANCELLED"
    PARKED = "PARKED"


# The database holds the same table and refuses everything else (migration 0001).
TRANSITIONS: Mapping[Status, frozenset[Status]] = {
    Status.PLACED: frozenset({Status.CONFIRMED, Status.REJECTED, Status.CANCELLED, Status.PARKED}),
    # Only undone orders park, and a parked one cannot be confirmed any more. (One that was
    # confirmed without the saga knowing stays CONFIRMED while it waits for an operator.)
    Status.PARKED: frozenset({Status.REJECTED, Status.CANCELLED}),
    Status.CONFIRMED: frozenset(),
    Status.REJECTED: frozenset(),
    Status.CANCELLED: frozenset(),
}


# Fifty lines of 999 pieces stay below 2**53: a total that every JSON reader on its way can hold.
MAX_UNIT_PRICE = 10**11


@dataclass(frozen=True, slots=True)
class Line:
    """So many of one sku, at the price of the moment (minor units)."""

    sku: str
    quantity: int
    unit_price: int


@dataclass(frozen=True, slots=True)
class Waits:
    """A saga waits for an operator: the undo that failed, and since when. Anybody may know it."""

    step: str
    since: datetime


@dataclass(frozen=True, slots=True)
class Order:
    """An order as a customer sees it; `total` in minor units, times in UTC.

    `parked` says whether an operator is waited for now, whatever the status.
    """

    id: UUID
    customer_id: str
    email: str
    currency: str
    lines: tuple[Line, ...]
    total: int
    status: Status
    version: int
    placed_at: datetime
    reason: str | None = None
    closed_at: datetime | None = None
    parked: Waits | None = None


@dataclass(frozen=True, slots=True)
class Product:
    """A catalogue entry; `unit_price` in minor units of `currency`."""

    sku: str
    name: str
    unit_price: int
    currency: str
    version: int

    def __post_init__(self) -> None:
        """Refuse what no order could be priced with."""
        if not 0 <= self.unit_price <= MAX_UNIT_PRICE:
            raise ValueError(f"{self.sku}: unit price {self.unit_price}")


@dataclass(frozen=True, slots=True)
class ParkedSaga:
    """A saga that waits for an operator: the undo that failed, and the token to go on with."""

    step: str
    task_token: str


@dataclass(frozen=True, slots=True)
class WaitingOrder:
    """An order that waits for an operator, as the operator sees it: with the cause."""

    order_id: UUID
    status: Status
    step: str
    cause: str
    since: datetime


@dataclass(frozen=True, slots=True)
class WantedLine:
    """What a customer asks for, before it has a price."""

    sku: str
    quantity: int


@dataclass(frozen=True, slots=True)
class NotInCatalogue:
    """A refusal to place: these skus are unknown, or not sold in the order's currency."""

    unknown: tuple[str, ...]
    other_currency: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class KeyReused:
    """A refusal to place: the idempotency key belongs to a request with another body."""


@dataclass(frozen=True, slots=True)
class Final:
    """A refusal to cancel: the order is closed, its `status` says how."""

    status: Status


def price(
    wanted: Sequence[WantedLine], currency: str, products: Mapping[str, Product]
) -> tuple[Line, ...] | NotInCatalogue:
    """Put prices on the wanted lines, or say which skus stand in the way."""
    unknown = tuple(line.sku for line in wanted if line.sku not in products)
    other = tuple(
        line.sku
        for line in wanted
        if line.sku in products and products[line.sku].currency != currency
    )
    if unknown or other:
        return NotInCatalogue(unknown, other)
    return tuple(Line(line.sku, line.quantity, products[line.sku].unit_price) for line in wanted)


def total(lines: Sequence[Line]) -> int:
    """Sum the lines, in minor units."""
    return sum(line.quantity * line.unit_price for line in lines)


# What the saga's steps answer. `tests/saga` compares these with the state machine, both ways.
CHARGE_OUTCOMES = frozenset({"charged", "refused"})
REFUND_OUTCOMES = frozenset({"refunded"})
CONFIRM_OUTCOMES = frozenset({"confirmed", "refused"})
WITHDRAW_OUTCOMES = frozenset({"withdrawn", "confirmed", "unknown_order"})
CLOSE_OUTCOMES = frozenset({"closed"})

DECLINED = "DECLINED"
ALREADY_REFUNDED = "ALREADY_REFUNDED"
CANCEL_REQUESTED = "CANCEL_REQUESTED"
ABANDONED = "ABANDONED"
"""Why a repair closes an order: its saga ended, or got lost, before the order's end."""

# Where each forward step leaves its outcome in the saga's document, and what it is called when
# the outcome stayed unknown.
_STEPS = {
    "reserve": "RESERVE_FAILED",
    "charge": "PAYMENT_FAILED",
    "ship": "SHIPMENT_FAILED",
    "confirm": "CONFIRM_FAILED",
}


def reason_of(saga: Mapping[str, Any]) -> str:
    """Say why a saga did not confirm its order, from what its steps left behind.

    A step leaves `{"outcome": …, "reason": …}`, or, where its outcome stayed unknown, the
    `{"Error": …, "Cause": …}` that the Catch put in the same place.
    """
    for step, unknown in _STEPS.items():
        result = saga.get(step)
        if result is None:
            continue
        if not isinstance(result, Mapping) or "Error" in result:
            return unknown
        if result.get("outcome") == "refused":
            return str(result.get("reason", unknown))
    return ABANDONED if "undo_from" in saga else "UNKNOWN"
