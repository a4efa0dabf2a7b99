"""What this service does with a fact, and what it needs for that."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Protocol

from notifications import domain
from notifications.domain import Line, Mail, SkuSales
from shared.contracts.orders import (
    OrderCancelled,
    OrderConfirmed,
    OrderLine,
    OrderParked,
    OrderPlaced,
    OrderRejected,
)
from shared.envelope import Envelope, read_data
from shared.errors import UnreadableMessage

MailedFact = OrderPlaced | OrderConfirmed | OrderRejected | OrderCancelled | OrderParked

_MAILED: dict[str, type[MailedFact]] = {
    contract.TYPE: contract
    for contract in (OrderPlaced, OrderConfirmed, OrderRejected, OrderCancelled, OrderParked)
}


class Post(Protocol):
    """Sends mails."""

    def send(self, mail: Mail) -> str:
        """Hand the mail over; return the id under which it was accepted."""


class Progress(Protocol):
    """Remembers how far each order has come."""

    def reach(self, order_id: str, version: int) -> bool:
        """Note that the order has reached `version`; False if it is known to be further."""


@dataclass(frozen=True, slots=True)
class Delivery:
    """A mail that was handed over."""

    order_id: str
    type: str
    recipient: str
    sent_at: datetime
    message_id: str


@dataclass(frozen=True, slots=True)
class Sale:
    """What one confirmed order adds to the figures of its day."""

    order_id: str
    day: date
    currency: str
    skus: tuple[SkuSales, ...]


def mailed_fact(envelope: Envelope) -> MailedFact:
    """Parse a fact that somebody should read of; raise UnreadableMessage for any other."""
    contract = _MAILED.get(envelope.type)
    if contract is None:
        raise UnreadableMessage(f"{envelope.type}: no mail tells of this")
    return read_data(envelope, contract)


def confirmed_fact(envelope: Envelope) -> OrderConfirmed:
    """Parse a confirmed order; raise UnreadableMessage for any other fact."""
    if envelope.type != OrderConfirmed.TYPE:
        raise UnreadableMessage(f"{envelope.type}: only confirmed orders are sales")
    return read_data(envelope, OrderConfirmed)


def send_email(
    fact: MailedFact, *, operator: str, post: Post, progress: Progress
) -> Delivery | None:
    """Send the mail that tells of `fact`; None if the order is already further than that.

    "We are checking stock" after "it is being shipped" would only make a customer doubt both.
    """
    if not progress.reach(fact.order_id, fact.version):
        return None
    mail = compose(fact, operator=operator)
    message_id = post.send(mail)
    return Delivery(fact.order_id, fact.TYPE, mail.recipient, datetime.now(UTC), message_id)


def compose(fact: MailedFact, *, operator: str) -> Mail:
    """Write the mail that tells of `fact`. What it is about is its type, never a field's value."""
    match fact:
        case OrderPlaced():
            return domain.placed_mail(
                fact.order_id, fact.email, _lines(fact.lines), fact.total, fact.currency
            )
        case OrderConfirmed():
            return domain.confirmed_mail(
                fact.order_id, fact.email, _lines(fact.lines), fact.total, fact.currency
            )
        case OrderRejected():
            return domain.rejected_mail(
                fact.order_id, fact.email, fact.reason, fact.total, fact.currency
            )
        case OrderCancelled():
            return domain.cancelled_mail(fact.order_id, fact.email, fact.total, fact.currency)
        case OrderParked():
            return domain.parked_mail(fact.order_id, operator, fact.step, fact.cause)


def count_sales(fact: OrderConfirmed, at: datetime) -> Sale:
    """Return what the order, confirmed `at`, adds to the figures of that UTC day."""
    return Sale(
        fact.order_id,
        at.astimezone(UTC).date(),
        fact.currency,
        domain.sales_by_sku(_lines(fact.lines)),
    )


def _lines(lines: Iterable[OrderLine]) -> tuple[Line, ...]:
    return tuple(Line(line.sku, line.quantity, line.unit_price) for line in lines)
