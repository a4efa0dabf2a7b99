"""What this service does with a fact, and what it needs for that."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from typing import Any, Protocol

from notifications import domain
from notifications.domain import Day, Figures, Line, Mail, Share, SkuSales
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
CountedFact = OrderPlaced | OrderConfirmed | OrderRejected | OrderCancelled

_MAILED: dict[str, type[MailedFact]] = {
    contract.TYPE: contract
    for contract in (OrderPlaced, OrderConfirmed, OrderRejected, OrderCancelled, OrderParked)
}

_COUNTED: dict[str, type[CountedFact]] = {
    contract.TYPE: contract
    for contract in (OrderPlaced, OrderConfirmed, OrderRejected, OrderCancelled)
}


class Post(Protocol):
    """Sends mails."""

    def send(self, mail: Mail) -> str:
        """Hand the mail over; return the id under which it was accepted."""


class Progress(Protocol):
    """Remembers how far each order has come."""

    def reach(self, order_id: str, version: int) -> bool:
        """Note that the order has reached `version`; False if it is known to be further."""


# Where a page ended; None where there is none before, or none after.
Place = Mapping[str, Any] | None

SWEEPING = "(sweeping)"
DONE = "(done)"


@dataclass(frozen=True, slots=True)
class Rebuild:
    """How far a rebuild has come: it reads this table (or sweeps) after this place."""

    generation: str
    at: str
    after: Place = None
    read: int = 0
    swept: int = 0
    # Items that nobody can read stop no rebuild: how many, and what is wrong with the first.
    unreadable: int = 0
    fault: str | None = None


class Days(Protocol):
    """The figures of each day, in generations: one that is read, and one that may be made."""

    def generations(self) -> Sequence[str]:
        """Return the generations that must learn of what happens now."""

    def absorb(self, generation: str, share: Share) -> bool:
        """Add to its day what the share has not added yet; False if that is nothing."""

    def figures(self, day: date) -> Figures:
        """Return the figures of a day, as they are read."""


class Generations(Protocol):
    """Makes a new generation of days while the old one is read."""

    def begin(self) -> str:
        """Have a new generation learn of all that happens from now on; return its name."""

    def check(self, generation: str) -> None:
        """Raise Overtaken if a newer one was begun since."""

    def absorb(self, generation: str, share: Share) -> bool:
        """Add to its day what the share has not added yet; False if that is nothing."""

    def finish(self, generation: str) -> None:
        """Have this generation read from now on; raise Overtaken if a newer one was begun."""

    def sweep(self, after: Place) -> tuple[int, Place]:
        """Delete a page of what belongs to no generation any more; how much, and what follows."""


@dataclass(frozen=True, slots=True)
class Page:
    """So much of a table: what can be read of it, what is wrong with the rest, what follows."""

    shares: Sequence[Share]
    faults: Sequence[str]
    after: Place


class Tables(Protocol):
    """What days consist of, a page at a time."""

    @property
    def names(self) -> Sequence[str]:
        """Every table."""

    def page(self, table: str, after: Place) -> Page:
        """Return the next page of the table."""


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
    """What one fact about an order adds to the figures: `skus` is empty unless it is confirmed."""

    order_id: str
    type: str
    day: date
    currency: str
    reason: str | None
    skus: tuple[SkuSales, ...]


def mailed_fact(envelope: Envelope) -> MailedFact:
    """Parse a fact that somebody should read of; raise UnreadableMessage for any other."""
    contract = _MAILED.get(envelope.type)
    if contract is None:
        raise UnreadableMessage(f"{envelope.type}: no mail tells of this")
    return read_data(envelope, contract)


def counted_fact(envelope: Envelope) -> CountedFact:
    """Parse a fact that is counted; raise UnreadableMessage for any other."""
    contract = _COUNTED.get(envelope.type)
    if contract is None:
        raise UnreadableMessage(f"{envelope.type}: this is not counted")
    return read_data(envelope, contract)


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


def count_sales(fact: CountedFact, at: datetime) -> Sale:
    """Return what the fact, which came true `at`, adds to the figures of that UTC day."""
    return Sale(
        fact.order_id,
        fact.TYPE,
        at.astimezone(UTC).date(),
        fact.currency,
        fact.reason if isinstance(fact, OrderRejected) else None,
        # What was only placed is no sale.
        domain.sales_by_sku(_lines(fact.lines)) if isinstance(fact, OrderConfirmed) else (),
    )


def count_day(share: Share, *, generations: Sequence[str], days: Days, today: date) -> str:
    """Add a share to its day, in each generation; return what came of it.

    `generations` must have been asked for after the share's item was written: what is asked
    before may miss one that was begun since and has not seen the item either.
    """
    if not domain.is_kept(share.day, today):
        return "expired"
    # No short cut: each generation has its own memory of what it has absorbed.
    grew = [days.absorb(generation, share) for generation in generations]
    return "counted" if any(grew) else "duplicate"


def rebuild_stats(
    begun: Rebuild | None,
    *,
    tables: Tables,
    days: Generations,
    today: date,
    hurry: Callable[[], bool],
) -> Rebuild:
    """Make the days anew from the tables, or go on with it; return how far it came.

    Every page is safe twice, so whoever lost the answer goes on from the last one that he has.
    """
    done = begun or Rebuild(days.begin(), tables.names[0])
    while done.at != DONE and not hurry():
        if done.at == SWEEPING:
            swept, after = days.sweep(done.after)
            at = SWEEPING if after else DONE
            done = replace(done, at=at, after=after, swept=done.swept + swept)
            continue
        days.check(done.generation)
        page = tables.page(done.at, done.after)
        for share in page.shares:
            if domain.is_kept(share.day, today):
                days.absorb(done.generation, share)
        at = done.at if page.after else _following(done.at, tables.names)
        if at == SWEEPING:
            days.finish(done.generation)
        done = replace(
            done,
            at=at,
            after=page.after,
            read=done.read + len(page.shares),
            unreadable=done.unreadable + len(page.faults),
            fault=done.fault or next(iter(page.faults), None),
        )
    return done


def get_stats(day: date, *, days: Days, today: date) -> Day | None:
    """Return the shop's day; None for one that is not kept, or not begun."""
    if day > today or not domain.is_kept(day, today):
        return None
    return domain.day_of(day, days.figures(day))


def day_to_report(wanted: date | None, today: date) -> date:
    """Return the day to report, yesterday if none is wanted; raise ValueError if it is not over."""
    day = wanted or today - timedelta(days=1)
    if day >= today or not domain.is_kept(day, today):
        raise ValueError(f"day: {day} is not over yet, or no longer kept")
    return day


def _following(table: str, names: Sequence[str]) -> str:
    at = names.index(table) + 1
    return names[at] if at < len(names) else SWEEPING


def _lines(lines: Iterable[OrderLine]) -> tuple[Line, ...]:
    return tuple(Line(line.sku, line.quantity, line.unit_price) for line in lines)
