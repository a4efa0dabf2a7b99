"""What orders publishes: facts about orders, and the saga's commands to inventory."""

from typing import ClassVar

import msgspec


class OrderLine(msgspec.Struct, frozen=True):
    """One line at the price of the moment the order was placed (minor units)."""

    sku: str
    quantity: int
    unit_price: int


class OrderPlaced(msgspec.Struct, frozen=True):
    """A customer placed an order; the saga will confirm, reject or cancel it."""

    TYPE: ClassVar[str] = "order.placed.v1"
    order_id: str
    version: int
    customer_id: str
    email: str
    currency: str
    total: int
    lines: tuple[OrderLine, ...]


class OrderConfirmed(msgspec.Struct, frozen=True):
    """Paid, shipped and final."""

    TYPE: ClassVar[str] = "order.confirmed.v1"
    order_id: str
    version: int
    customer_id: str
    email: str
    currency: str
    total: int
    lines: tuple[OrderLine, ...]


class OrderRejected(msgspec.Struct, frozen=True):
    """The saga could not fulfil the order and undid what it had done; `reason` is a code."""

    TYPE: ClassVar[str] = "order.rejected.v1"
    order_id: str
    version: int
    customer_id: str
    email: str
    currency: str
    total: int
    reason: str


class OrderCancelled(msgspec.Struct, frozen=True):
    """The customer cancelled before the order was confirmed; everything was undone."""

    TYPE: ClassVar[str] = "order.cancelled.v1"
    order_id: str
    version: int
    customer_id: str
    email: str
    currency: str
    total: int
    reason: str


class OrderParked(msgspec.Struct, frozen=True):
    """An undo failed beyond its retries; the order waits for an operator."""

    TYPE: ClassVar[str] = "order.parked.v1"
    order_id: str
    version: int
    customer_id: str
    email: str
    step: str
    cause: str


class Quantity(msgspec.Struct, frozen=True):
    """So many of one sku."""

    sku: str
    quantity: int


class ReserveStock(msgspec.Struct, frozen=True):
    """Set the order's lines aside, all or none."""

    TYPE: ClassVar[str] = "inventory.reserve.v1"
    order_id: str
    lines: tuple[Quantity, ...]


class ReleaseStock(msgspec.Struct, frozen=True):
    """Undo ReserveStock, whether or not it has happened yet."""

    TYPE: ClassVar[str] = "inventory.release.v1"
    order_id: str


class CreateShipment(msgspec.Struct, frozen=True):
    """Ship what was reserved."""

    TYPE: ClassVar[str] = "inventory.ship.v1"
    order_id: str


class CancelShipment(msgspec.Struct, frozen=True):
    """Undo CreateShipment, whether or not it has happened yet."""

    TYPE: ClassVar[str] = "inventory.cancel-shipment.v1"
    order_id: str


FACTS = (OrderPlaced, OrderConfirmed, OrderRejected, OrderCancelled, OrderParked)
COMMANDS = (ReserveStock, ReleaseStock, CreateShipment, CancelShipment)
