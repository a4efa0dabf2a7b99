"""What orders does, and the collaborators that it needs."""

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol
from uuid import UUID

from orders.domain import (
    ALREADY_REFUNDED,
    CANCEL_REQUESTED,
    DECLINED,
    Final,
    KeyReused,
    Line,
    NotInCatalogue,
    Order,
    ParkedSaga,
    Product,
    Status,
    WantedLine,
    price,
    reason_of,
    total,
)
from shared.contracts.saga import DEAD_TOKEN
from shared.errors import TransientFault

Outcome = dict[str, str]


@dataclass(frozen=True, slots=True)
class PlaceOrder:
    """A validated request to place an order."""

    customer_id: str
    email: str
    currency: str
    lines: tuple[WantedLine, ...]
    payment_token: str
    idempotency_key: str | None = None

    def fingerprint(self) -> str:
        """Return a hash of the request's meaning: the same body, however it is spaced."""
        meaning = [
            self.customer_id,
            self.email,
            self.currency,
            [[line.sku, line.quantity] for line in self.lines],
            self.payment_token,
        ]
        return hashlib.sha256(json.dumps(meaning).encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class Placed:
    """The order that answers a request; `replayed` if an earlier request had placed it.

    `saga_started` is about this request: a replay starts nothing.
    """

    order: Order
    replayed: bool
    saga_started: bool


class Catalogue(Protocol):
    """Products and prices as inventory last published them."""

    def find(self, skus: Sequence[str]) -> Mapping[str, Product]:
        """Return those of `skus` that exist, by sku."""

    def upsert(self, product: Product) -> bool:
        """Store the product unless a newer version is known; say whether it was stored."""


class OrderBook(Protocol):
    """The orders table; every change of status commits with the fact that tells of it."""

    def place(
        self, order: Order, saga_input: dict[str, Any], key: str | None, fingerprint: str
    ) -> bool:
        """Commit the order with its outbox; False if the customer used the key before."""

    def placed_under(self, customer_id: str, key: str) -> tuple[Order, str] | None:
        """Return the order that holds a customer's idempotency key, and its fingerprint."""

    def get(self, order_id: UUID) -> Order | None:
        """Return the order, if there is one."""

    def request_cancel(self, order_id: UUID) -> bool:
        """Note the wish to cancel; False if the order is closed, or does not exist."""

    def confirm(self, order_id: UUID) -> Status:
        """Cross the pivot unless cancelled or withdrawn before; return the status reached."""

    def withdraw(self, order_id: UUID) -> Status | None:
        """Bar a confirmation that has not happened; return the status, None if no such order."""

    def close(self, order_id: UUID, reason: str) -> Status:
        """Give the order its last status, unless it has one; return it."""

    def park(self, order_id: UUID, step: str, cause: str, task_token: str) -> Status:
        """Note what is stuck and the token that resumes it; return the status."""

    def unpark(self, order_id: UUID, task_token: str) -> None:
        """Forget a token that nothing waits for any more; a newer one stays."""


class ParkingLot(Protocol):
    """Which orders wait for an operator."""

    def status(self, order_id: UUID) -> Status | None:
        """Return the order's status, if there is such an order."""

    def parked(self, order_id: UUID) -> ParkedSaga | None:
        """Return what waits, if anything does, whatever the order's status."""

    def unpark(self, order_id: UUID, task_token: str) -> None:
        """Forget a token that nobody waits for any more; a newer one stays."""


class Resumable(Protocol):
    """Sagas that wait for an operator."""

    def resume(self, task_token: str) -> bool:
        """Hand the token back; False if nothing waits for it any more."""


class Saga(Protocol):
    """Starts the place-order saga; the name makes a second start the same start."""

    def start(self, name: str, document: dict[str, Any]) -> None:
        """Start it once; raise TransientFault if it may not have started."""


class Payments(Protocol):
    """The payments table: one row an order, however often a step runs."""

    def open(self, order_id: UUID, amount: int, currency: str) -> str:
        """Insert a pending payment unless there is one; return the payment's status."""

    def settle(self, order_id: UUID, status: str, gateway_ref: str | None) -> bool:
        """Write the gateway's answer; False if a refund has overtaken the charge."""

    def begin_refund(self, order_id: UUID) -> str:
        """Bar any later charge, leaving a tombstone if none was tried; return the status."""

    def end_refund(self, order_id: UUID, *, captured: bool) -> None:
        """Write that the charge was reversed, or that there was none."""


@dataclass(frozen=True, slots=True)
class ChargeResult:
    """The gateway's final word on a charge; a decline is an answer, not an error."""

    approved: bool
    ref: str


class PaymentGateway(Protocol):
    """A card gateway.

    Both calls are idempotent by `key`, and raise TransientFault when the outcome is unknown.
    """

    def charge(self, key: str, *, amount: int, currency: str, token: str) -> ChargeResult:
        """Capture `amount` (minor units) once."""

    def reverse(self, key: str) -> bool:
        """Give back what was captured, and bar the key; True if money had been captured."""


def place_order(
    request: PlaceOrder,
    *,
    catalogue: Catalogue,
    orders: OrderBook,
    saga: Saga,
    new_id: Callable[[], UUID],
    now: Callable[[], datetime],
) -> Placed | NotInCatalogue | KeyReused:
    """Commit the order with its outbox, then start its saga; the relay does what a crash left.

    Raise TransientFault if the request's key was freed between two looks at it: nothing is placed.
    """
    lines = price(
        request.lines, request.currency, catalogue.find([line.sku for line in request.lines])
    )
    if isinstance(lines, NotInCatalogue):
        # The catalogue may have changed since: a repeated request gets its first answer still.
        return _first_answer(request, orders) or lines
    order = Order(
        id=new_id(),
        customer_id=request.customer_id,
        email=request.email,
        currency=request.currency,
        lines=lines,
        total=total(lines),
        status=Status.PLACED,
        version=1,
        placed_at=now(),
    )
    document = _saga_document(order, request.payment_token)
    if not orders.place(order, document, request.idempotency_key, request.fingerprint()):
        first = _first_answer(request, orders)
        if first is None:
            raise TransientFault(
                "the key was freed a moment ago: asked again, this places an order"
            )
        return first
    try:
        saga.start(str(order.id), document)
    except TransientFault:
        # The order is committed and the start stands in the outbox: the customer has an order.
        return Placed(order, replayed=False, saga_started=False)
    return Placed(order, replayed=False, saga_started=True)


def _first_answer(request: PlaceOrder, orders: OrderBook) -> Placed | KeyReused | None:
    if request.idempotency_key is None:
        return None
    held = orders.placed_under(request.customer_id, request.idempotency_key)
    if held is None:
        return None
    order, fingerprint = held
    if fingerprint != request.fingerprint():
        return KeyReused()
    return Placed(order, replayed=True, saga_started=False)


def _saga_document(order: Order, payment_token: str) -> dict[str, Any]:
    return {
        "order_id": str(order.id),
        "currency": order.currency,
        "total": order.total,
        "lines": [{"sku": line.sku, "quantity": line.quantity} for line in order.lines],
        "payment_token": payment_token,
    }


def cancel_order(order_id: UUID, *, orders: OrderBook) -> Order | Final | None:
    """Ask for cancellation; it wins if it is committed before the pivot. None: no such order."""
    wished = orders.request_cancel(order_id)
    order = orders.get(order_id)
    if order is None or wished or order.status is Status.CANCELLED:
        return order
    return Final(order.status)


def charge_payment(
    order_id: UUID,
    *,
    amount: int,
    currency: str,
    token: str,
    payments: Payments,
    gateway: PaymentGateway,
) -> Outcome:
    """Charge the order once; raises TransientFault when the gateway's outcome is unknown."""
    status = payments.open(order_id, amount, currency)
    if status == "pending":
        # Outside any transaction: a gateway may take seconds, and its ledger is not ours.
        result = gateway.charge(str(order_id), amount=amount, currency=currency, token=token)
        status = "charged" if result.approved else "declined"
        if not payments.settle(order_id, status, result.ref):
            # A refund overtook us while the gateway worked. It may have run before the money
            # was captured, so reverse here too: twice is harmless, never is not.
            gateway.reverse(str(order_id))
            status = "refunded"
    if status == "charged":
        return {"outcome": "charged"}
    return {
        "outcome": "refused",
        "reason": DECLINED if status == "declined" else ALREADY_REFUNDED,
    }


def refund_payment(order_id: UUID, *, payments: Payments, gateway: PaymentGateway) -> Outcome:
    """Undo the charge, whether or not it has happened; bars a charge that comes late."""
    if payments.begin_refund(order_id) == "refunding":
        captured = gateway.reverse(str(order_id))
        payments.end_refund(order_id, captured=captured)
    return {"outcome": "refunded"}


def confirm_order(order_id: UUID, *, orders: OrderBook) -> Outcome:
    """Cross the pivot, unless a cancellation was asked for or the saga has given up."""
    if orders.confirm(order_id) is Status.CONFIRMED:
        return {"outcome": "confirmed"}
    return {"outcome": "refused", "reason": CANCEL_REQUESTED}


def withdraw_confirmation(order_id: UUID, *, orders: OrderBook) -> Outcome:
    """Settle whether the order was confirmed; if it was not, it never will be."""
    status = orders.withdraw(order_id)
    if status is None:
        return {"outcome": "unknown_order"}
    if status is Status.CONFIRMED:
        return {"outcome": "confirmed"}
    return {"outcome": "withdrawn"}


def close_order(order_id: UUID, saga: Mapping[str, Any], *, orders: OrderBook) -> Outcome:
    """Give the undone order its last status: CANCELLED if the customer asked, else REJECTED."""
    status = orders.close(order_id, reason_of(saga))
    if DEAD_TOKEN in saga:
        # The repaired order waited for an operator, in a saga that is gone: nobody can resume it.
        orders.unpark(order_id, saga[DEAD_TOKEN])
    return {"outcome": "closed", "status": status.value}


def park_order(
    order_id: UUID, *, step: str, fault: Mapping[str, Any], task_token: str, orders: OrderBook
) -> Status:
    """Note which undo failed and why, and keep the token that resumes it."""
    cause = f"{fault.get('Error', 'Unknown')}: {fault.get('Cause', '')}"[:1000]
    return orders.park(order_id, step, cause, task_token)


def resume_order(order_id: UUID, *, orders: ParkingLot, sagas: Resumable) -> Outcome:
    """Let a parked saga go on from the undo that failed; safe twice, and says what it found.

    `not_waiting`: the order is parked, but its saga waits for nobody: it was resumed before and is
    on its way, or its token has timed out, in which case it parks again with a new one.
    """
    status = orders.status(order_id)
    if status is None:
        return {"outcome": "unknown_order"}
    parked = orders.parked(order_id)
    if parked is None:
        outcome = "not_waiting" if status is Status.PARKED else "not_parked"
        return {"outcome": outcome, "status": status.value}
    resumed = sagas.resume(parked.task_token)
    # Also where nobody waited: an earlier resume may have died right here, and the order would be
    # shown as waiting for ever. One that parks again brings a new token, which stays.
    orders.unpark(order_id, parked.task_token)
    outcome = "resumed" if resumed else "not_waiting"
    return {"outcome": outcome, "step": parked.step, "status": status.value}


def priced(lines: Sequence[Mapping[str, Any]]) -> tuple[Line, ...]:
    """Read stored lines back."""
    return tuple(Line(line["sku"], line["quantity"], line["unit_price"]) for line in lines)
