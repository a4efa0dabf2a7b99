"""What each step answers and moves: once, repeated, out of order, and when it may not."""

import copy
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from uuid import UUID, uuid4

import pytest

from inventory import domain
from inventory.domain import (
    Bin,
    CancelShipment,
    Command,
    DeliveredProduct,
    Delivery,
    Listing,
    Reason,
    Release,
    Reservation,
    ReservationStatus,
    Reserve,
    Ship,
    Shipment,
    ShipmentStatus,
    Stock,
)
from inventory.use_cases import handle_command, receive_stock
from shared.contracts.inventory import ProductListed, StockLow
from shared.errors import TransientFault

CUP = Listing("Cup", 900, "EUR")


class FakeBooks:
    """One transaction at a time; a block that raises leaves nothing behind."""

    def __init__(self, **available: int) -> None:
        self.bins = {
            sku: {"available": n, "reserved": 0, "shipped": 0} for sku, n in available.items()
        }
        self.listings = dict.fromkeys(available, CUP)
        self.versions = dict.fromkeys(available, 1)
        self.reservations: dict[UUID, Reservation] = {}
        self.shipments: dict[UUID, Shipment] = {}
        self.deliveries: dict[str, tuple[int, int]] = {}
        self.facts: list[ProductListed | StockLow] = []

    @contextmanager
    def open(self) -> Iterator["FakeBooks"]:
        before = copy.deepcopy(self.__dict__)
        try:
            yield self
        except BaseException:
            self.__dict__.update(before)
            raise

    def reserve_at_once(self, reservation: Reservation, *, leaving: int) -> bool:
        fits = all(
            sku in self.bins and self.bins[sku]["available"] - n > leaving
            for sku, n in reservation.units.items()
        )
        if not fits or not self.add_reservation(reservation):
            return False
        self.move(reservation.units, Bin.AVAILABLE, Bin.RESERVED)
        return True

    def add_reservation(self, reservation: Reservation) -> bool:
        return self.reservations.setdefault(reservation.order_id, reservation) is reservation

    def find_reservation(self, order_id: UUID) -> Reservation | None:
        return self.reservations.get(order_id)

    def change_reservation(
        self, order_id: UUID, status: ReservationStatus, reason: Reason | None = None
    ) -> None:
        changed = replace(self.reservations[order_id], status=status, reason=reason)
        self.reservations[order_id] = changed

    def add_shipment(self, shipment: Shipment) -> bool:
        return self.shipments.setdefault(shipment.order_id, shipment) is shipment

    def find_shipment(self, order_id: UUID) -> Shipment | None:
        return self.shipments.get(order_id)

    def change_shipment(self, order_id: UUID, status: ShipmentStatus) -> None:
        self.shipments[order_id] = replace(self.shipments[order_id], status=status)

    def lock_stock(self, skus: Collection[str]) -> Mapping[str, Stock]:
        return {
            sku: Stock(sku, self.listings[sku], self.bins[sku]["available"])
            for sku in sorted(skus)
            if sku in self.bins
        }

    def move(self, units: Mapping[str, int], source: Bin, target: Bin) -> None:
        for sku, n in units.items():
            self.bins[sku][source] -= n
            self.bins[sku][target] += n
            assert self.bins[sku][source] >= 0

    def add_delivery(self, delivery: Delivery) -> bool:
        if delivery.delivery_id in self.deliveries:
            return False
        self.deliveries[delivery.delivery_id] = len(delivery.products), delivery.units
        return True

    def count_delivery(self, delivery_id: str) -> tuple[int, int]:
        return self.deliveries[delivery_id]

    def add_products(self, products: Collection[DeliveredProduct]) -> Collection[str]:
        new = [product for product in products if product.sku not in self.bins]
        for product in new:
            self.bins[product.sku] = {"available": 0, "reserved": 0, "shipped": 0}
            self.listings[product.sku] = product.listing
            self.versions[product.sku] = 0
        return [product.sku for product in new]

    def put_on_shelf(self, products: Collection[DeliveredProduct]) -> None:
        for product in products:
            self.bins[product.sku]["available"] += product.quantity
            self.listings[product.sku] = product.listing

    def next_versions(self, skus: Collection[str]) -> Mapping[str, int]:
        for sku in skus:
            self.versions[sku] += 1
        return {sku: self.versions[sku] for sku in skus}

    def announce(self, facts: Collection[ProductListed | StockLow]) -> None:
        self.facts += facts


class FakeSaga:
    """Notes what it was answered; `waits` says whether it still wants to know."""

    def __init__(self, *, waits: bool = True) -> None:
        self.waits = waits
        self.answers: list[tuple[str, dict[str, str]]] = []

    def answer(self, task_token: str, outcome: dict[str, str]) -> bool:
        self.answers.append((task_token, outcome))
        return self.waits


class FakeAnnouncements:
    """Notes what was to be published."""

    def __init__(self) -> None:
        self.flushed: list[str] = []

    def flush(self, skus: Collection[str]) -> None:
        self.flushed += skus


def bins(available: int, reserved: int = 0, shipped: int = 0) -> dict[str, int]:
    return {"available": available, "reserved": reserved, "shipped": shipped}


def take(books: FakeBooks, *commands: Command) -> dict[str, str]:
    """Hand the commands over one after the other; return the last one's answer."""
    saga = FakeSaga()
    for command in commands:
        handle_command(command, "t", books=books, saga=saga, announcements=FakeAnnouncements())
    return saga.answers[-1][1]


ORDER = uuid4()
RESERVE = Reserve(ORDER, {"CUP": 2, "PAN": 1})
RELEASE, SHIP, CANCEL = Release(ORDER), Ship(ORDER), CancelShipment(ORDER)
TRACKING = domain.tracking_of(ORDER)


@pytest.mark.parametrize(
    ("commands", "answer", "cups"),
    [
        # Forward, and each step twice.
        ([RESERVE], {"outcome": "reserved"}, bins(8, 2)),
        ([RESERVE, RESERVE], {"outcome": "reserved"}, bins(8, 2)),
        ([RESERVE, SHIP], {"outcome": "shipped", "tracking": TRACKING}, bins(8, 0, 2)),
        ([RESERVE, SHIP, SHIP], {"outcome": "shipped", "tracking": TRACKING}, bins(8, 0, 2)),
        ([RESERVE, SHIP, RESERVE], {"outcome": "reserved"}, bins(8, 0, 2)),
        # Back, and each undo twice.
        ([RESERVE, RELEASE], {"outcome": "released"}, bins(10)),
        ([RESERVE, RELEASE, RELEASE], {"outcome": "released"}, bins(10)),
        ([RESERVE, SHIP, CANCEL], {"outcome": "cancelled"}, bins(8, 2)),
        ([RESERVE, SHIP, CANCEL, CANCEL], {"outcome": "cancelled"}, bins(8, 2)),
        ([RESERVE, SHIP, CANCEL, RELEASE], {"outcome": "released"}, bins(10)),
        # An undo that comes before its step, or a step that comes after its undo.
        ([RELEASE, RESERVE], {"outcome": "refused", "reason": "RELEASED"}, bins(10)),
        ([RESERVE, RELEASE, RESERVE], {"outcome": "refused", "reason": "RELEASED"}, bins(10)),
        ([RESERVE, CANCEL, SHIP], {"outcome": "refused", "reason": "CANCELLED"}, bins(8, 2)),
        (
            [RESERVE, SHIP, CANCEL, SHIP],
            {"outcome": "refused", "reason": "CANCELLED"},
            bins(8, 2),
        ),
        # Shipping what is not there.
        ([SHIP], {"outcome": "refused", "reason": "NOT_RESERVED"}, bins(10)),
        ([RESERVE, RELEASE, SHIP], {"outcome": "refused", "reason": "NOT_RESERVED"}, bins(10)),
        ([SHIP, CANCEL], {"outcome": "cancelled"}, bins(10)),
    ],
)
def test_a_step_answers_and_moves_once_in_whatever_order_it_comes(
    commands: list[Command], answer: dict[str, str], cups: dict[str, int]
) -> None:
    books = FakeBooks(CUP=10, PAN=10)
    assert take(books, *commands) == answer
    assert books.bins["CUP"] == cups


def test_an_order_for_more_than_the_shelf_holds_leaves_every_line_on_the_shelf() -> None:
    books = FakeBooks(CUP=10, PAN=0)
    refused = {"outcome": "refused", "reason": "OUT_OF_STOCK"}
    assert take(books, RESERVE) == refused
    assert books.bins["CUP"] == bins(10)


def test_a_refusal_stays_a_refusal_when_new_stock_has_come() -> None:
    books = FakeBooks(CUP=0, PAN=9)
    take(books, RESERVE)
    books.bins["CUP"]["available"] = 10
    assert take(books, RESERVE) == {"outcome": "refused", "reason": "OUT_OF_STOCK"}


def test_releasing_a_refused_reservation_returns_nothing() -> None:
    books = FakeBooks(CUP=1, PAN=1)
    assert take(books, RESERVE, RELEASE) == {"outcome": "released"}
    assert books.bins["CUP"] == bins(1)
    assert take(books, RESERVE) == {"outcome": "refused", "reason": "OUT_OF_STOCK"}


def test_a_shipment_of_more_than_a_thousand_units_is_refused_and_stays_reserved() -> None:
    books = FakeBooks(CUP=2000)
    order = uuid4()
    answer = take(books, Reserve(order, {"CUP": 1001}), Ship(order))
    assert answer == {"outcome": "refused", "reason": "SHIPMENT_TOO_LARGE"}
    assert books.bins["CUP"] == bins(999, 1001)
    assert take(books, Ship(order)) == answer
    assert take(books, CancelShipment(order), Release(order)) == {"outcome": "released"}
    assert books.bins["CUP"] == bins(2000)


def test_releasing_what_has_been_shipped_is_a_bug_and_changes_nothing() -> None:
    books = FakeBooks(CUP=10, PAN=10)
    take(books, RESERVE, SHIP)
    with pytest.raises(RuntimeError, match="shipment still stands"):
        take(books, RELEASE)
    assert books.bins["CUP"] == bins(8, 0, 2)


def test_a_reservation_that_leaves_few_tells_of_each_such_sku() -> None:
    books = FakeBooks(CUP=8, PAN=7, POT=6)
    announcements = FakeAnnouncements()
    handle_command(
        Reserve(ORDER, {"CUP": 2, "PAN": 2, "POT": 6}),
        "t",
        books=books,
        saga=FakeSaga(),
        announcements=announcements,
    )
    assert books.facts == [StockLow("PAN", 2, 5, 5), StockLow("POT", 2, 0, 5)]
    assert announcements.flushed == ["PAN", "POT"]


def test_a_saga_that_waits_no_longer_is_harmless() -> None:
    books = FakeBooks(CUP=10, PAN=10)
    answered = handle_command(
        RESERVE, "t", books=books, saga=FakeSaga(waits=False), announcements=FakeAnnouncements()
    )
    assert not answered.in_time
    assert books.bins["CUP"] == bins(8, 2)


def test_the_saga_is_answered_after_the_commit_and_again_if_that_was_lost() -> None:
    class Unreachable(FakeSaga):
        def answer(self, task_token: str, outcome: dict[str, str]) -> bool:
            assert ORDER in books.reservations
            super().answer(task_token, outcome)
            raise TransientFault("no answer")

    books = FakeBooks(CUP=10, PAN=10)
    with pytest.raises(TransientFault):
        handle_command(
            RESERVE, "t", books=books, saga=Unreachable(), announcements=FakeAnnouncements()
        )
    assert take(books, RESERVE) == {"outcome": "reserved"}
    assert books.bins["CUP"] == bins(8, 2)


def test_the_steps_answer_exactly_what_the_saga_is_told_they_can() -> None:
    order = uuid4()
    books = FakeBooks(CUP=5000)
    seen: dict[type, set[str]] = {kind: set() for kind in (Reserve, Release, Ship, CancelShipment)}
    reasons: dict[type, set[str]] = {kind: set() for kind in seen}
    other, third, large = uuid4(), uuid4(), uuid4()
    for command in (
        Ship(other),
        Reserve(order, {"CUP": 1}),
        Reserve(uuid4(), {"CUP": 9999}),
        Reserve(uuid4(), {"POT": 1}),
        Ship(order),
        CancelShipment(order),
        Ship(order),
        Release(order),
        Reserve(order, {"CUP": 1}),
        Release(third),
        Reserve(large, {"CUP": 1001}),
        Ship(large),
    ):
        answer = take(books, command)
        seen[type(command)].add(answer["outcome"])
        reasons[type(command)] |= {answer["reason"]} if "reason" in answer else set()
    assert seen[Reserve] == domain.RESERVE_OUTCOMES
    assert seen[Release] == domain.RELEASE_OUTCOMES
    assert seen[Ship] == domain.SHIP_OUTCOMES
    assert seen[CancelShipment] == domain.CANCEL_SHIPMENT_OUTCOMES
    assert reasons[Reserve] == domain.RESERVE_REASONS
    assert reasons[Ship] == domain.SHIP_REASONS
    assert set(Reason) == domain.RESERVE_REASONS | domain.SHIP_REASONS


def delivery(delivery_id: str, **quantities: int) -> Delivery:
    return Delivery(
        delivery_id, tuple(DeliveredProduct(sku, CUP, n) for sku, n in quantities.items())
    )


def receive(books: FakeBooks, what: Delivery) -> dict[str, object]:
    return receive_stock(what, books=books, announcements=FakeAnnouncements())


def test_a_delivery_received_twice_counts_once_and_answers_the_same_numbers() -> None:
    books = FakeBooks()
    first = receive(books, delivery("d1", CUP=3, PAN=4))
    again = receive(books, delivery("d1", CUP=3, PAN=4))
    assert first == {"delivery_id": "d1", "products": 2, "units": 7, "duplicate": False}
    assert again == {**first, "duplicate": True}
    assert books.bins == {"CUP": bins(3), "PAN": bins(4)}
    assert len(books.facts) == 2


def test_a_product_is_listed_when_it_is_new_or_changed_and_not_otherwise() -> None:
    books = FakeBooks()
    receive(books, delivery("d1", CUP=3))
    receive(books, delivery("d2", CUP=3))
    dearer = Listing("Cup", 950, "EUR")
    receive(books, Delivery("d3", (DeliveredProduct("CUP", dearer, 0),)))
    assert books.facts == [
        ProductListed("CUP", 1, "Cup", 900, "EUR"),
        ProductListed("CUP", 2, "Cup", 950, "EUR"),
    ]
    assert books.bins["CUP"] == bins(6)
