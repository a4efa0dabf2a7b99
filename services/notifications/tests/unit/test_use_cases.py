"""Which mail a fact causes, and on which day a sale falls."""

from datetime import UTC, date, datetime

import msgspec
import pytest

from notifications import use_cases
from notifications.domain import Mail
from shared.contracts.orders import (
    OrderCancelled,
    OrderConfirmed,
    OrderLine,
    OrderParked,
    OrderPlaced,
    OrderRejected,
)
from shared.envelope import Envelope, read, wrap
from shared.errors import UnreadableMessage

LINES = (OrderLine("MUG", 3, 1999),)
PLACED = OrderPlaced("o1", 1, "c1", "ada@example.org", "EUR", 5997, LINES)
CONFIRMED = OrderConfirmed("o1", 2, "c1", "ada@example.org", "EUR", 5997, LINES)
REJECTED = OrderRejected("o1", 2, "c1", "ada@example.org", "EUR", 5997, "DECLINED")
CANCELLED = OrderCancelled("o1", 2, "c1", "ada@example.org", "EUR", 5997, "CANCEL_REQUESTED")
PARKED = OrderParked("o1", 2, "c1", "ada@example.org", "RefundPayment", "States.Timeout")


class Outbound:
    """A post that keeps what it is given."""

    def __init__(self) -> None:
        self.mails: list[Mail] = []

    def send(self, mail: Mail) -> str:
        self.mails.append(mail)
        return f"m{len(self.mails)}"


class Versions:
    """The progress of orders, in a dict."""

    def __init__(self) -> None:
        self.highest: dict[str, int] = {}

    def reach(self, order_id: str, version: int) -> bool:
        if self.highest.get(order_id, 0) > version:
            return False
        self.highest[order_id] = version
        return True


def _send(fact: use_cases.MailedFact, post: Outbound, progress: Versions) -> bool:
    delivery = use_cases.send_email(
        fact, operator="operator@example.org", post=post, progress=progress
    )
    return delivery is not None


def _envelope(body: object, type_: str) -> Envelope:
    text = wrap(body, source="orders", subject="o1") | {"type": type_}
    return read(msgspec.json.encode(text))


@pytest.mark.parametrize(
    ("fact", "word", "recipient"),
    [
        (PLACED, "received", "ada@example.org"),
        (CONFIRMED, "confirmed", "ada@example.org"),
        (REJECTED, "not accepted", "ada@example.org"),
        (CANCELLED, "cancelled", "ada@example.org"),
        (PARKED, "parked", "operator@example.org"),
    ],
)
def test_each_fact_has_its_own_mail_to_the_one_whom_it_concerns(
    fact: use_cases.MailedFact, word: str, recipient: str
) -> None:
    post = Outbound()
    assert _send(fact, post, Versions())
    (mail,) = post.mails
    assert mail.subject.startswith("Order o1: ")
    assert word in mail.subject
    assert mail.recipient == recipient


def test_a_placed_fact_that_comes_after_the_final_one_is_not_mailed() -> None:
    post, progress = Outbound(), Versions()
    assert _send(CONFIRMED, post, progress)
    assert not _send(PLACED, post, progress)
    assert [mail.subject for mail in post.mails] == ["Order o1: confirmed"]


def test_a_fact_whose_mail_failed_is_not_stale_when_it_comes_again() -> None:
    post, progress = Outbound(), Versions()
    progress.reach("o1", CONFIRMED.version)
    assert _send(CONFIRMED, post, progress)


def test_a_fact_that_nobody_reads_of_is_unreadable_here() -> None:
    with pytest.raises(UnreadableMessage, match=r"stock\.low\.v1"):
        use_cases.mailed_fact(_envelope(PLACED, "stock.low.v1"))
    with pytest.raises(UnreadableMessage, match=r"order\.parked\.v1"):
        use_cases.counted_fact(_envelope(PARKED, "order.parked.v1"))


def test_a_fact_without_a_field_is_unreadable_and_the_error_names_it() -> None:
    with pytest.raises(UnreadableMessage, match="reason"):
        use_cases.mailed_fact(_envelope(CONFIRMED, "order.rejected.v1"))


def test_fields_that_are_new_to_the_reader_are_ignored() -> None:
    text = wrap(CONFIRMED, source="orders", subject="o1")
    text["data"]["gift"] = True
    envelope = read(msgspec.json.encode(text))
    assert use_cases.counted_fact(envelope) == CONFIRMED


def test_a_sale_falls_on_the_utc_day_of_the_fact() -> None:
    in_tokyo = datetime.fromisoformat("2026-11-25T08:59:59+09:00")
    assert use_cases.count_sales(CONFIRMED, in_tokyo).day == date(2026, 11, 24)
    assert use_cases.count_sales(CONFIRMED, datetime(2026, 11, 25, tzinfo=UTC)).day == date(
        2026, 11, 25
    )
