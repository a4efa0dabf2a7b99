"""What the mails say and how sales add up."""

import pytest

from notifications import domain
from notifications.domain import Line, SkuSales

ORDER = "01a20e40-12bf-720b-911c-8126bd187d90"
LINES = (Line("MUG", 3, 1999), Line("PEN", 1, 1500))


@pytest.mark.parametrize(
    ("amount", "currency", "text"),
    [
        (123450, "EUR", "1,234.50 EUR"),
        (5, "USD", "0.05 USD"),
        (0, "GBP", "0.00 GBP"),
        (-1999, "EUR", "-19.99 EUR"),
        (1500, "JPY", "1,500 JPY"),
        (1234567, "KWD", "1,234.567 KWD"),
        (99_900_000_000_001, "EUR", "999,000,000,000.01 EUR"),
    ],
)
def test_money_is_written_with_the_digits_of_its_currency(
    amount: int, currency: str, text: str
) -> None:
    assert domain.money(amount, currency) == text


def test_a_placed_mail_lists_each_line_and_the_total_of_the_order() -> None:
    mail = domain.placed_mail(ORDER, "ada@example.org", LINES, 7497, "EUR")
    assert mail.recipient == "ada@example.org"
    assert mail.subject == f"Order {ORDER}: received"
    assert "3 x MUG at 19.99 EUR: 59.97 EUR\n" in mail.body
    assert "1 x PEN at 15.00 EUR: 15.00 EUR\n" in mail.body
    assert "Total: 74.97 EUR\n" in mail.body
    assert "confirmed" not in mail.body


def test_a_confirmed_mail_says_so_in_subject_and_body() -> None:
    mail = domain.confirmed_mail(ORDER, "ada@example.org", LINES, 7497, "EUR")
    assert mail.subject == f"Order {ORDER}: confirmed"
    assert f"{ORDER} is confirmed" in mail.body
    assert "Total: 74.97 EUR\n" in mail.body


@pytest.mark.parametrize(
    ("reason", "words"),
    [
        ("OUT_OF_STOCK", "enough in stock"),
        ("UNKNOWN_SKU", "no longer sold"),
        ("DECLINED", "card was declined"),
        ("SHIPMENT_TOO_LARGE", "too large"),
        ("RESERVE_FAILED", "fault on our side"),
        ("PAYMENT_FAILED", "payment could not be completed"),
        ("SHIPMENT_FAILED", "fault on our side"),
        ("CONFIRM_FAILED", "fault on our side"),
        ("A_CODE_OF_NEXT_YEAR", "could not fulfil"),
        ("", "could not fulfil"),
    ],
)
def test_a_rejected_mail_gives_the_reason_in_words_and_never_as_a_code(
    reason: str, words: str
) -> None:
    mail = domain.rejected_mail(ORDER, "ada@example.org", reason, 249900, "EUR")
    assert ORDER in mail.subject
    assert words in mail.body
    assert "2,499.00 EUR" in mail.body
    assert "_" not in mail.subject + mail.body
    assert "confirmed" not in mail.subject + mail.body


def test_a_cancelled_mail_says_that_nothing_is_owed() -> None:
    mail = domain.cancelled_mail(ORDER, "ada@example.org", 1500, "EUR")
    assert mail.subject == f"Order {ORDER}: cancelled"
    assert "You owe nothing" in mail.body


def test_a_parked_mail_tells_the_operator_the_step_and_the_cause() -> None:
    mail = domain.parked_mail(ORDER, "operator@example.org", "RefundPayment", "States.Timeout")
    assert mail.recipient == "operator@example.org"
    assert ORDER in mail.subject
    assert "RefundPayment" in mail.body
    assert "States.Timeout" in mail.body


def test_revenue_of_a_line_is_its_own_price_and_not_a_running_total() -> None:
    assert domain.sales_by_sku(LINES) == (SkuSales("MUG", 3, 5997), SkuSales("PEN", 1, 1500))


def test_two_lines_of_one_sku_are_one_addition() -> None:
    lines = (Line("MUG", 3, 1999), Line("PEN", 1, 1500), Line("MUG", 1, 1000))
    assert domain.sales_by_sku(lines) == (SkuSales("MUG", 4, 6997), SkuSales("PEN", 1, 1500))
