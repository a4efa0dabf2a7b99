"""The use cases with collaborators of ten lines."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import pytest

from orders.domain import (
    Final,
    KeyReused,
    NotInCatalogue,
    Order,
    ParkedSaga,
    Product,
    Status,
    WantedLine,
)
from orders.use_cases import (
    ChargeResult,
    Placed,
    PlaceOrder,
    cancel_order,
    charge_payment,
    close_order,
    confirm_order,
    park_order,
    place_order,
    refund_payment,
    resume_order,
    withdraw_confirmation,
)
from shared.contracts.saga import undo_document
from shared.errors import TransientFault

ID = UUID("0199a3b2-7c41-7d52-8e5f-3a6b9c0d1e2f")
NOON = datetime(2026, 10, 6, 12, tzinfo=UTC)
REQUEST = PlaceOrder("ada", "ada@example.com", "EUR", (WantedLine("CUP", 2),), "tok_visa", "k-1")


@dataclass
class Shelf:
    products: dict[str, Product]

    def find(self, skus: Sequence[str]) -> Mapping[str, Product]:
        return {sku: self.products[sku] for sku in skus if sku in self.products}

    def upsert(self, product: Product) -> bool:
        raise NotImplementedError


@dataclass
class Book:
    """Orders in memory, with what the use cases need of them."""

    orders: dict[UUID, Order] = field(default_factory=dict)
    keys: dict[tuple[str, str | None], tuple[UUID, str]] = field(default_factory=dict)
    cancel_wins: bool = False
    waits: ParkedSaga | None = None
    notes: list[Any] = field(default_factory=list)

    def place(self, order: Order, saga_input: dict[str, Any], key: str | None, hash_: str) -> bool:
        if key is not None and (order.customer_id, key) in self.keys:
            return False
        self.notes.append(saga_input)
        self.orders[order.id] = order
        self.keys[order.customer_id, key] = (order.id, hash_)
        return True

    def placed_under(self, customer_id: str, key: str) -> tuple[Order, str] | None:
        held = self.keys.get((customer_id, key))
        return (self.orders[held[0]], held[1]) if held else None

    def get(self, order_id: UUID) -> Order | None:
        return self.orders.get(order_id)

    def request_cancel(self, order_id: UUID) -> bool:
        return order_id in self.orders and self.cancel_wins

    def confirm(self, order_id: UUID) -> Status:
        return self.orders[order_id].status

    def withdraw(self, order_id: UUID) -> Status | None:
        return self.status(order_id)

    def close(self, order_id: UUID, reason: str) -> Status:
        self.notes.append(reason)
        return self.orders[order_id].status

    def park(self, order_id: UUID, step: str, cause: str, task_token: str) -> Status:
        self.notes.append((step, cause, task_token))
        return self.orders[order_id].status

    def status(self, order_id: UUID) -> Status | None:
        order = self.orders.get(order_id)
        return order.status if order else None

    def parked(self, order_id: UUID) -> ParkedSaga | None:
        return self.waits if order_id in self.orders else None

    def unpark(self, order_id: UUID, task_token: str) -> None:
        if order_id in self.orders and self.waits and self.waits.task_token == task_token:
            self.waits = None


@dataclass
class Sagas:
    """Starts, which may be out of order, and waiting tokens."""

    out_of_order: bool = False
    started: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    tokens: set[str] = field(default_factory=set)

    def start(self, name: str, document: dict[str, Any]) -> None:
        if self.out_of_order:
            raise TransientFault("StartExecution")
        self.started.append((name, document))

    def resume(self, task_token: str) -> bool:
        waited = task_token in self.tokens
        self.tokens.discard(task_token)
        return waited


@dataclass
class Money:
    """A payments row and a gateway; `between` runs while the gateway works."""

    status: str | None = None
    captured: bool = False
    barred: bool = False
    charges: int = 0
    reversals: int = 0
    declines: bool = False
    between: Callable[[], Any] = lambda: None

    def open(self, order_id: UUID, amount: int, currency: str) -> str:
        assert (order_id, amount, currency) == (ID, 1800, "EUR")
        self.status = self.status or "pending"
        return self.status

    def settle(self, order_id: UUID, status: str, gateway_ref: str | None) -> bool:
        assert (order_id, gateway_ref) == (ID, "ch_1")
        if self.status not in {"pending", status}:
            return False
        self.status = status
        return True

    def begin_refund(self, order_id: UUID) -> str:
        assert order_id == ID
        if self.status in {None, "pending", "charged", "refunding"}:
            self.status = "refunding"
        return str(self.status)

    def end_refund(self, order_id: UUID, *, captured: bool) -> None:
        assert order_id == ID
        self.status = "refunded" if captured else "void"

    def charge(self, key: str, *, amount: int, currency: str, token: str) -> ChargeResult:
        assert (key, amount, currency, token) == (str(ID), 1800, "EUR", "tok_visa")
        self.charges += 1
        if not self.barred and not self.declines:
            self.captured = True
        self.between()
        return ChargeResult(approved=self.captured, ref="ch_1")

    def reverse(self, key: str) -> bool:
        assert key == str(ID)
        self.reversals += 1
        had, self.captured, self.barred = self.captured, False, True
        return had


def place(request: PlaceOrder, book: Book, sagas: Sagas, **products: Product) -> Any:
    ids = iter([ID, UUID(int=2), UUID(int=3)])
    taken = len(book.orders)
    return place_order(
        request,
        catalogue=Shelf(products or {"CUP": Product("CUP", "Cup", 900, "EUR", 1)}),
        orders=book,
        saga=sagas,
        new_id=lambda: [next(ids) for _ in range(taken + 1)][-1],
        now=lambda: NOON,
    )


def test_a_placed_order_starts_its_saga_with_what_was_committed() -> None:
    book, sagas = Book(), Sagas()
    placed = place(REQUEST, book, sagas)
    assert placed == Placed(book.orders[ID], replayed=False, saga_started=True)
    assert sagas.started == [(str(ID), book.notes[0])]
    assert book.notes[0] == {
        "order_id": str(ID),
        "currency": "EUR",
        "total": 1800,
        "lines": [{"sku": "CUP", "quantity": 2}],
        "payment_token": "tok_visa",
    }


def test_an_order_stands_though_its_saga_could_not_be_started() -> None:
    book = Book()
    placed = place(REQUEST, book, Sagas(out_of_order=True))
    assert placed == Placed(book.orders[ID], replayed=False, saga_started=False)


def test_a_key_that_is_freed_while_it_is_looked_up_is_worth_another_try() -> None:
    class Freed(Book):
        """The nightly clean-up comes between the two statements."""

        def placed_under(self, customer_id: str, key: str) -> None:
            del self.keys[customer_id, key]

    book, sagas = Freed(), Sagas()
    place(REQUEST, book, sagas)
    with pytest.raises(TransientFault):
        place(REQUEST, book, sagas)
    assert place(REQUEST, book, sagas).saga_started


def test_placing_twice_under_one_key_places_once_and_starts_once() -> None:
    book, sagas = Book(), Sagas()
    first, second = place(REQUEST, book, sagas), place(REQUEST, book, sagas)
    assert second.order == first.order
    assert second.replayed
    assert len(sagas.started) == len(book.orders) == 1


def test_another_body_under_the_same_key_is_refused() -> None:
    book, sagas = Book(), Sagas()
    place(REQUEST, book, sagas)
    assert place(replace(REQUEST, email="bob@example.com"), book, sagas) == KeyReused()
    assert len(sagas.started) == 1


def test_the_same_key_of_another_customer_is_another_key() -> None:
    book, sagas = Book(), Sagas()
    place(REQUEST, book, sagas)
    assert not place(replace(REQUEST, customer_id="bob"), book, sagas).replayed


def test_without_a_key_every_request_is_an_order() -> None:
    book, sagas = Book(), Sagas()
    for _ in range(2):
        assert not place(replace(REQUEST, idempotency_key=None), book, sagas).replayed
    assert len(sagas.started) == 2


def test_a_replay_has_its_first_answer_though_the_catalogue_has_changed() -> None:
    book, sagas = Book(), Sagas()
    first = place(REQUEST, book, sagas)
    dearer = place(REQUEST, book, sagas, CUP=Product("CUP", "Cup", 5000, "EUR", 2))
    elsewhere = place(REQUEST, book, sagas, CUP=Product("CUP", "Cup", 900, "USD", 3))
    assert first.order == dearer.order == elsewhere.order


def test_what_is_not_in_the_catalogue_is_refused_and_takes_no_key() -> None:
    book, sagas = Book(), Sagas()
    mug = Product("MUG", "Mug", 900, "EUR", 1)
    assert place(REQUEST, book, sagas, MUG=mug) == NotInCatalogue(("CUP",), ())
    assert not place(REQUEST, book, sagas).replayed


ORDER = Order(ID, "ada", "a@b.com", "EUR", (), 1800, Status.PLACED, 1, NOON)


def standing(status: Status) -> Book:
    return Book({ID: replace(ORDER, status=status)})


@pytest.mark.parametrize("status", [Status.PLACED, Status.PARKED])
def test_an_open_order_can_be_cancelled(status: Status) -> None:
    book = standing(status)
    book.cancel_wins = True
    assert cancel_order(ID, orders=book) == book.orders[ID]


@pytest.mark.parametrize("status", [Status.CONFIRMED, Status.REJECTED])
def test_a_closed_order_cannot_be_cancelled(status: Status) -> None:
    assert cancel_order(ID, orders=standing(status)) == Final(status)


def test_cancelling_twice_is_cancelling_once() -> None:
    book = standing(Status.CANCELLED)
    assert cancel_order(ID, orders=book) == book.orders[ID]


def test_an_order_that_does_not_exist_cannot_be_cancelled() -> None:
    assert cancel_order(ID, orders=Book()) is None


def charge(money: Money) -> dict[str, str]:
    return charge_payment(
        ID, amount=1800, currency="EUR", token="tok_visa", payments=money, gateway=money
    )


def refund(money: Money) -> dict[str, str]:
    return refund_payment(ID, payments=money, gateway=money)


def test_charging_twice_asks_the_gateway_once() -> None:
    money = Money()
    assert [charge(money), charge(money)] == [{"outcome": "charged"}] * 2
    assert money.charges == 1


def test_a_decline_is_an_answer_and_stays_one() -> None:
    money = Money(declines=True)
    assert [charge(money), charge(money)] == [{"outcome": "refused", "reason": "DECLINED"}] * 2
    assert money.charges == 1


def test_a_charge_that_comes_after_its_refund_is_refused_unasked() -> None:
    money = Money()
    refund(money)
    assert charge(money) == {"outcome": "refused", "reason": "ALREADY_REFUNDED"}
    assert money.charges == 0


def test_a_refund_that_overtakes_the_charge_leaves_nothing_captured() -> None:
    money = Money()
    money.between = lambda: refund(money)
    assert charge(money)["outcome"] == "refused"
    assert not money.captured


def test_a_refund_that_begins_while_the_gateway_works_leaves_nothing_captured() -> None:
    money = Money()
    money.between = lambda: money.begin_refund(ID)
    assert charge(money) == {"outcome": "refused", "reason": "ALREADY_REFUNDED"}
    assert not money.captured


@pytest.mark.parametrize("status", [None, "pending", "charged", "declined", "refunding"])
def test_refunding_twice_is_refunding_once(status: str | None) -> None:
    money = Money(status, captured=status in {"pending", "charged"})
    assert [refund(money), refund(money)] == [{"outcome": "refunded"}] * 2
    assert not money.captured
    assert money.reversals == (status != "declined")


def test_the_pivot_answers_what_stands() -> None:
    assert confirm_order(ID, orders=standing(Status.CONFIRMED)) == {"outcome": "confirmed"}
    assert confirm_order(ID, orders=standing(Status.PLACED)) == {
        "outcome": "refused",
        "reason": "CANCEL_REQUESTED",
    }


def test_withdrawing_finds_a_confirmation_that_had_happened() -> None:
    confirmed, placed = standing(Status.CONFIRMED), standing(Status.PLACED)
    assert withdraw_confirmation(ID, orders=confirmed) == {"outcome": "confirmed"}
    assert withdraw_confirmation(ID, orders=placed) == {"outcome": "withdrawn"}


def test_withdrawing_an_order_that_nobody_knows_says_so() -> None:
    assert withdraw_confirmation(ID, orders=Book()) == {"outcome": "unknown_order"}


@pytest.mark.parametrize(("kept", "left"), [("dead", None), ("newer", "newer")])
def test_closing_a_repaired_order_forgets_the_token_of_the_saga_that_is_gone(
    kept: str, left: str | None
) -> None:
    book = standing(Status.REJECTED)
    book.waits = ParkedSaga("Release Stock", kept)
    close_order(ID, undo_document(str(ID), "dead"), orders=book)
    assert (book.waits and book.waits.task_token) == left
    assert book.notes == ["ABANDONED"]


def test_closing_hands_on_the_reason_that_the_steps_left() -> None:
    book = standing(Status.REJECTED)
    closed = close_order(ID, {"reserve": {"Error": "States.Timeout"}}, orders=book)
    assert closed == {"outcome": "closed", "status": "REJECTED"}
    assert book.notes == ["RESERVE_FAILED"]


def test_parking_notes_the_fault_however_long_it_is() -> None:
    book = standing(Status.PARKED)
    park_order(ID, step="Release Stock", fault={"Cause": "x" * 9999}, task_token="t", orders=book)
    ((step, cause, token),) = book.notes
    assert (step, token, len(cause)) == ("Release Stock", "t", 1000)


def parked(status: Status = Status.PARKED) -> tuple[Book, Sagas]:
    book = standing(status)
    book.waits = ParkedSaga("Refund Payment", "token")
    return book, Sagas(tokens={"token"})


def test_resuming_twice_hands_the_token_back_once_and_says_so() -> None:
    book, sagas = parked()
    outcomes = [resume_order(ID, orders=book, sagas=sagas) for _ in range(2)]
    assert outcomes == [
        {"outcome": "resumed", "step": "Refund Payment", "status": "PARKED"},
        {"outcome": "not_waiting", "status": "PARKED"},
    ]


def test_an_order_whose_token_is_gone_is_said_not_to_wait_and_no_longer_shown_as_waiting() -> None:
    # An earlier resume died between handing the token back and forgetting it.
    book, _ = parked()
    answer = resume_order(ID, orders=book, sagas=Sagas())
    assert answer == {"outcome": "not_waiting", "step": "Refund Payment", "status": "PARKED"}
    assert book.waits is None


def test_an_order_that_parks_again_while_it_is_resumed_goes_on_waiting() -> None:
    book, sagas = parked()
    again = ParkedSaga("Refund Payment", "newer")

    class ParksAtOnce:
        def resume(self, task_token: str) -> bool:
            book.waits = again
            return sagas.resume(task_token)

    assert resume_order(ID, orders=book, sagas=ParksAtOnce())["outcome"] == "resumed"
    assert book.waits is again


def test_a_closed_order_whose_saga_waits_is_resumed_too() -> None:
    # Close Order had committed, but its answer never came.
    book, sagas = parked(Status.REJECTED)
    assert resume_order(ID, orders=book, sagas=sagas)["outcome"] == "resumed"


def test_an_order_that_is_not_parked_is_not_resumed() -> None:
    assert resume_order(ID, orders=standing(Status.PLACED), sagas=Sagas()) == {
        "outcome": "not_parked",
        "status": "PLACED",
    }
    assert resume_order(ID, orders=Book(), sagas=Sagas()) == {"outcome": "unknown_order"}
