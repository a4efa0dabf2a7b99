"""What a mail says, what an order adds to the sales figures, and what a day consists of."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date

# ISO 4217: every other currency has two.
_MINOR_DIGITS = {
    **dict.fromkeys(("BIF", "CLP", "DJF", "GNF", "ISK", "JPY", "KMF", "KRW", "PYG"), 0),
    **dict.fromkeys(("RWF", "UGX", "UYI", "VND", "VUV", "XAF", "XOF", "XPF"), 0),
    **dict.fromkeys(("BHD", "IQD", "JOD", "KWD", "LYD", "OMR", "TND"), 3),
}

_REASONS = {
    "OUT_OF_STOCK": "We do not have enough in stock of something you ordered.",
    "UNKNOWN_SKU": "Something you ordered is no longer sold.",
    "DECLINED": "Your card was declined.",
    "SHIPMENT_TOO_LARGE": "The order is too large to be shipped as one parcel.",
    "RESERVE_FAILED": "We could not set the goods aside, because of a fault on our side.",
    "PAYMENT_FAILED": "The payment could not be completed.",
    "SHIPMENT_FAILED": "We could not prepare the shipment, because of a fault on our side.",
    "CONFIRM_FAILED": "We could not complete the order, because of a fault on our side.",
    # Refusals of a step that came after its undo: nothing that a customer could have caused.
    "RELEASED": "We could not set the goods aside, because of a fault on our side.",
    "ALREADY_REFUNDED": "The payment could not be completed.",
    "NOT_RESERVED": "We could not prepare the shipment, because of a fault on our side.",
    "CANCELLED": "We could not prepare the shipment, because of a fault on our side.",
    "CANCEL_REQUESTED": "The order was withdrawn before it was complete.",
    # Its saga ended, or got lost, and a repair undid what it had done.
    "ABANDONED": "We could not complete the order, because of a fault on our side.",
    "UNKNOWN": "We could not fulfil the order, because of a fault on our side.",
}
# A code that is newer than this table must not reach a customer as a code.
_ANY_REASON = "We could not fulfil the order."

# The mails of a day, which are counted too, are forgotten a day later.
KEPT_DAYS = 399

# What is counted, by name: `placed`, `units`, `revenue_EUR`, `refused_OUT_OF_STOCK`, …
Figures = Mapping[str, int]

_NOTHING_KEPT = "You owe nothing: if money was taken for this order, it has been given back."


@dataclass(frozen=True, slots=True)
class Line:
    """So many of one sku, each at this price (minor units)."""

    sku: str
    quantity: int
    unit_price: int

    @property
    def amount(self) -> int:
        """The price of the line. A running total here once overcharged every longer order."""
        return self.quantity * self.unit_price


@dataclass(frozen=True, slots=True)
class Mail:
    """A text mail, ready to send."""

    recipient: str
    subject: str
    body: str


@dataclass(frozen=True, slots=True)
class SkuSales:
    """What one order adds to the figures of one sku."""

    sku: str
    units: int
    revenue: int


@dataclass(frozen=True, slots=True)
class Share:
    """What one item of another table adds to a day: these figures, until a newer image of it."""

    source: str
    day: date
    figures: Figures


@dataclass(frozen=True, slots=True)
class Day:
    """The shop's day: the sum of its shares, sorted into what a reader asks for."""

    day: date
    orders: Mapping[str, int]
    units: int
    revenue: Mapping[str, int]
    refusals: Mapping[str, int]
    emails: int


def growth(known: Figures, seen: Figures) -> dict[str, int]:
    """Return what `seen` adds to what is known of the same item: nothing, if it is older.

    Nothing that is counted ever gets less, so of two images of one item the larger is the newer.
    """
    return {
        name: amount - known.get(name, 0)
        for name, amount in seen.items()
        if amount > known.get(name, 0)
    }


def is_kept(day: date, today: date) -> bool:
    """Whether figures of this day are kept: what they consist of must not have expired."""
    return (today - day).days <= KEPT_DAYS


def day_of(day: date, figures: Figures) -> Day:
    """Sort a day's figures; what is not counted yet is 0."""

    def those(prefix: str) -> dict[str, int]:
        return {
            name.removeprefix(prefix): figures[name]
            for name in sorted(figures)
            if name.startswith(prefix)
        }

    return Day(
        day,
        {name: figures.get(name, 0) for name in ("placed", "confirmed", "rejected", "cancelled")},
        figures.get("units", 0),
        those("revenue_"),
        those("refused_"),
        figures.get("emails", 0),
    )


def money(amount: int, currency: str) -> str:
    """Return `amount` minor units as people write it: 123450 EUR cents are `1,234.50 EUR`."""
    digits = _MINOR_DIGITS.get(currency, 2)
    whole, part = divmod(abs(amount), 10**digits)
    fraction = f".{part:0{digits}}" if digits else ""
    return f"{'-' if amount < 0 else ''}{whole:,}{fraction} {currency}"


def placed_mail(
    order_id: str, recipient: str, lines: Sequence[Line], total: int, currency: str
) -> Mail:
    """To the customer: we have the order, and this is what it says."""
    return Mail(
        recipient,
        f"Order {order_id}: received",
        f"Thank you. We have received your order {order_id}.\n\n"
        f"{_receipt(lines, total, currency)}\n\n"
        "We are checking stock and payment now, and will write again when it is settled.\n",
    )


def confirmed_mail(
    order_id: str, recipient: str, lines: Sequence[Line], total: int, currency: str
) -> Mail:
    """To the customer: paid and on its way."""
    return Mail(
        recipient,
        f"Order {order_id}: confirmed",
        f"Your order {order_id} is confirmed: it is paid, and it is being shipped.\n\n"
        f"{_receipt(lines, total, currency)}\n",
    )


def rejected_mail(order_id: str, recipient: str, reason: str, total: int, currency: str) -> Mail:
    """To the customer: it will not happen, and why, in words."""
    return Mail(
        recipient,
        f"Order {order_id}: not accepted",
        f"We are sorry: your order {order_id} over {money(total, currency)} was not accepted.\n\n"
        f"{_REASONS.get(reason, _ANY_REASON)}\n\n{_NOTHING_KEPT}\n",
    )


def cancelled_mail(order_id: str, recipient: str, total: int, currency: str) -> Mail:
    """To the customer: cancelled, as asked."""
    return Mail(
        recipient,
        f"Order {order_id}: cancelled",
        f"Your order {order_id} over {money(total, currency)} is cancelled, as you asked.\n\n"
        f"{_NOTHING_KEPT}\n",
    )


def parked_mail(order_id: str, recipient: str, step: str, cause: str) -> Mail:
    """To the operator: an order waits for a person."""
    return Mail(
        recipient,
        f"Order {order_id}: parked, needs an operator",
        f"Order {order_id} is parked: the undo step {step} failed beyond its retries.\n\n"
        f"Cause: {cause}\n\n"
        "The order stays half undone until somebody resumes it from this step. Mend the cause,"
        f" then: make resume ORDER={order_id}\n",
    )


def sales_by_sku(lines: Iterable[Line]) -> tuple[SkuSales, ...]:
    """Add up an order's lines for each sku: one sku may stand on several of them."""
    units: dict[str, int] = {}
    revenue: dict[str, int] = {}
    for line in lines:
        units[line.sku] = units.get(line.sku, 0) + line.quantity
        revenue[line.sku] = revenue.get(line.sku, 0) + line.amount
    return tuple(SkuSales(sku, units[sku], revenue[sku]) for sku in units)


def _receipt(lines: Sequence[Line], total: int, currency: str) -> str:
    rows = [
        f"{line.quantity} x {line.sku} at {money(line.unit_price, currency)}:"
        f" {money(line.amount, currency)}"
        for line in lines
    ]
    return "\n".join([*rows, f"Total: {money(total, currency)}"])
