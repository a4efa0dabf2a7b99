"""What inventory does, and the collaborators that it needs.

Every step is keyed by its order: the effect and its marker commit in one transaction, a repeated
step answers from the marker, and an undo that overtakes its step leaves a marker that refuses it.

Locks are taken in one order everywhere, so that no two steps can wait for each other: the order's
reservation, then its shipment, then the stock by sku.
"""

from collections.abc import Collection, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, Protocol
from uuid import UUID

from inventory.domain import (
    LOW_STOCK_THRESHOLD,
    Bin,
    CancelShipment,
    Command,
    DeliveredProduct,
    Delivery,
    Outcome,
    Reason,
    Release,
    Reservation,
    ReservationStatus,
    Reserve,
    Ship,
    Shipment,
    ShipmentStatus,
    Stock,
    refusal_to_reserve,
    refusal_to_ship,
    tracking_of,
)
from shared.contracts.inventory import ProductListed, StockLow


class Page(Protocol):
    """The inventory inside one transaction. What `find_…` and `lock_…` return stays locked."""

    def add_reservation(self, reservation: Reservation) -> bool:
        """Insert; False if the order has one."""

    def find_reservation(self, order_id: UUID) -> Reservation | None:
        """Lock and return."""

    def change_reservation(
        self, order_id: UUID, status: ReservationStatus, reason: Reason | None = None
    ) -> None:
        """Set the status."""

    def add_shipment(self, shipment: Shipment) -> bool:
        """Insert; False if the order has one."""

    def find_shipment(self, order_id: UUID) -> Shipment | None:
        """Lock and return."""

    def change_shipment(self, order_id: UUID, status: ShipmentStatus) -> None:
        """Set the status."""

    def lock_stock(self, skus: Collection[str]) -> Mapping[str, Stock]:
        """Lock in sku order; what does not exist is left out."""

    def move(self, units: Mapping[str, int], source: Bin, target: Bin) -> None:
        """Move units by sku between two bins, locking them in sku order."""

    def add_delivery(self, delivery: Delivery) -> bool:
        """Insert; False if it was received already."""

    def count_delivery(self, delivery_id: str) -> tuple[int, int]:
        """Return its products and units, as first received."""

    def add_products(self, products: Collection[DeliveredProduct]) -> Collection[str]:
        """Insert empty ones where there are none; return these skus."""

    def put_on_shelf(self, products: Collection[DeliveredProduct]) -> None:
        """Add the units, and list the products so."""

    def next_versions(self, skus: Collection[str]) -> Mapping[str, int]:
        """Count one more published state of each."""

    def announce(self, facts: Collection[ProductListed | StockLow]) -> None:
        """Put facts in the outbox."""


class Books(Protocol):
    """Opens one transaction: committed if the block ends well, undone if it raises."""

    def open(self) -> AbstractContextManager[Page]:
        """Open a transaction."""

    def reserve_at_once(self, reservation: Reservation, *, leaving: int) -> bool:
        """Make the reservation in one go, if the order has none and enough is there.

        Enough: more than `leaving` of each sku stay available. Else nothing is done: False.
        """


class Saga(Protocol):
    """Answers the saga's step; False if the saga no longer waits for it."""

    def answer(self, task_token: str, outcome: dict[str, str]) -> bool:
        """Send the outcome as the step's result."""


class Announcements(Protocol):
    """Publishes what waits in the outbox about `skus`; never raises for a publication."""

    def flush(self, skus: Collection[str]) -> None:
        """Publish, after the commit."""


@dataclass(frozen=True, slots=True)
class Done:
    """A step's outcome, and the skus about which facts now wait in the outbox."""

    outcome: Outcome
    announced: tuple[str, ...] = ()


def reserve(command: Reserve, *, books: Books) -> Done:
    """Set all lines aside, or none and say why; a second time answers what the first did."""
    wanted = command.wanted
    new = Reservation(command.order_id, ReservationStatus.RESERVED, wanted)
    # Nearly every order: nothing to refuse, and nothing to tell of. The rest is looked at closely.
    if books.reserve_at_once(new, leaving=LOW_STOCK_THRESHOLD):
        return Done(Outcome("reserved"))
    with books.open() as page:
        if not page.add_reservation(new):
            return Done(_answer_to_reserve(_known(page.find_reservation(command.order_id))))
        shelf = page.lock_stock(wanted)
        reason = refusal_to_reserve(wanted, shelf)
        if reason:
            page.change_reservation(command.order_id, ReservationStatus.REFUSED, reason)
            return Done(Outcome("refused", reason))
        page.move(wanted, Bin.AVAILABLE, Bin.RESERVED)
        left = {sku: shelf[sku].available - units for sku, units in wanted.items()}
        low = {sku: units for sku, units in left.items() if units <= LOW_STOCK_THRESHOLD}
        versions = page.next_versions(low)
        page.announce(
            [StockLow(sku, versions[sku], units, LOW_STOCK_THRESHOLD) for sku, units in low.items()]
        )
        return Done(Outcome("reserved"), tuple(low))


def release(command: Release, *, books: Books) -> Done:
    """Return what is set aside, once; before its reservation, bar that reservation."""
    order_id = command.order_id
    with books.open() as page:
        tombstone = Reservation(order_id, ReservationStatus.RELEASED, {})
        if page.add_reservation(tombstone):
            return Done(Outcome("released"))
        reservation = _known(page.find_reservation(order_id))
        if reservation.status is ReservationStatus.RESERVED:
            shipment = page.find_shipment(order_id)
            if shipment and shipment.status is ShipmentStatus.SHIPPED:
                # The saga undoes newest first. Releasing what is on a truck would sell it twice.
                raise RuntimeError("release of a reservation whose shipment still stands")
            page.move(reservation.units, Bin.RESERVED, Bin.AVAILABLE)
            page.change_reservation(order_id, ReservationStatus.RELEASED)
        return Done(Outcome("released"))


def ship(command: Ship, *, books: Books) -> Done:
    """Ship what is set aside, once, or say why not."""
    order_id = command.order_id
    with books.open() as page:
        reservation = page.find_reservation(order_id)
        reason = refusal_to_ship(reservation)
        new = (
            Shipment(order_id, ShipmentStatus.REFUSED, reason)
            if reason
            else Shipment(order_id, ShipmentStatus.SHIPPED, tracking=tracking_of(order_id))
        )
        if not page.add_shipment(new):
            return Done(_answer_to_ship(_known(page.find_shipment(order_id))))
        if new.status is ShipmentStatus.SHIPPED:
            units = _known(reservation).units
            page.move(units, Bin.RESERVED, Bin.SHIPPED)
        return Done(_answer_to_ship(new))


def cancel_shipment(command: CancelShipment, *, books: Books) -> Done:
    """Put what was shipped back among the reserved, once; before its shipment, bar that."""
    order_id = command.order_id
    with books.open() as page:
        reservation = page.find_reservation(order_id)
        if page.add_shipment(Shipment(order_id, ShipmentStatus.CANCELLED)):
            return Done(Outcome("cancelled"))
        shipment = _known(page.find_shipment(order_id))
        if shipment.status is ShipmentStatus.SHIPPED:
            units = _known(reservation).units
            page.move(units, Bin.SHIPPED, Bin.RESERVED)
            page.change_shipment(order_id, ShipmentStatus.CANCELLED)
        return Done(Outcome("cancelled"))


@dataclass(frozen=True, slots=True)
class Answered:
    """A command's outcome, and whether the saga still waited for it."""

    outcome: Outcome
    in_time: bool


def handle_command(
    command: Command, task_token: str, *, books: Books, saga: Saga, announcements: Announcements
) -> Answered:
    """Take one step, then answer the saga, then publish.

    The answer follows the commit. A crash in between is repaired by the message's redelivery,
    which finds the marker and answers the same.
    """
    done = _take(command, books)
    in_time = saga.answer(task_token, done.outcome.as_data())
    if done.announced:
        announcements.flush(done.announced)
    return Answered(done.outcome, in_time)


def _take(command: Command, books: Books) -> Done:
    match command:
        case Reserve():
            return reserve(command, books=books)
        case Release():
            return release(command, books=books)
        case Ship():
            return ship(command, books=books)
        case CancelShipment():
            return cancel_shipment(command, books=books)


def receive_stock(
    delivery: Delivery, *, books: Books, announcements: Announcements
) -> dict[str, Any]:
    """Put a delivery on the shelf, once, and list what is new or has changed."""
    products = {product.sku: product for product in delivery.products}
    changed: dict[str, DeliveredProduct] = {}
    with books.open() as page:
        duplicate = not page.add_delivery(delivery)
        if not duplicate:
            new = page.add_products(delivery.products)
            shelf = page.lock_stock(products)
            page.put_on_shelf(delivery.products)
            changed = {
                sku: product
                for sku, product in products.items()
                if sku in new or product.listing != shelf[sku].listing
            }
            versions = page.next_versions(changed)
            page.announce([_listed(product, versions[sku]) for sku, product in changed.items()])
        count, units = page.count_delivery(delivery.delivery_id)
    if changed:
        announcements.flush(tuple(changed))
    return {
        "delivery_id": delivery.delivery_id,
        "products": count,
        "units": units,
        "duplicate": duplicate,
    }


def _listed(product: DeliveredProduct, version: int) -> ProductListed:
    listing = product.listing
    return ProductListed(product.sku, version, listing.name, listing.unit_price, listing.currency)


def _answer_to_reserve(row: Reservation) -> Outcome:
    match row.status:
        case ReservationStatus.RESERVED:
            return Outcome("reserved")
        case ReservationStatus.REFUSED:
            return Outcome("refused", row.reason)
        case ReservationStatus.RELEASED:
            return Outcome("refused", Reason.RELEASED)


def _answer_to_ship(row: Shipment) -> Outcome:
    match row.status:
        case ShipmentStatus.SHIPPED:
            return Outcome("shipped", tracking=row.tracking)
        case ShipmentStatus.REFUSED:
            return Outcome("refused", row.reason)
        case ShipmentStatus.CANCELLED:
            return Outcome("refused", Reason.CANCELLED)


def _known[T](row: T | None) -> T:
    if row is None:
        raise RuntimeError("a row that this transaction has just seen is not there")
    return row
