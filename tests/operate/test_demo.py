"""What the demo says of mails: they have no order, but the end is told, once, and nothing else."""

from collections.abc import Sequence
from typing import Any

import pytest

from tools.demo import EMAIL, check_mails, plan


def mail(kind: str, to: str = EMAIL) -> dict[str, Any]:
    return {"Subject": f"Your order: {kind}", "Destination": {"ToAddresses": [to]}}


def good(*mails: dict[str, Any]) -> bool:
    order = plan(lamps=2)[1]
    order.id = "an order"
    (check,) = check_mails([order], {order.id: mails})
    return check.holds


@pytest.mark.parametrize("kinds", [["received", "not accepted"], ["not accepted"]])
def test_an_end_that_overtook_the_receipt_is_as_good(kinds: Sequence[str]) -> None:
    assert good(*map(mail, kinds))


@pytest.mark.parametrize(
    "kinds",
    [
        [],
        ["received"],
        ["confirmed"],
        ["received", "confirmed", "not accepted"],
        ["received", "received", "not accepted"],
        ["received", "not accepted", "not accepted"],
    ],
)
def test_what_else_was_told_is_wrong(kinds: Sequence[str]) -> None:
    assert not good(*map(mail, kinds))


def test_a_mail_to_somebody_else_tells_the_customer_nothing() -> None:
    assert not good(mail("not accepted", to="eve@example.com"))
