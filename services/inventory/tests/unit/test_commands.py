"""Which messages are commands of ours, and which can never be read."""

from typing import Any
from uuid import UUID

import msgspec
import pytest

from inventory.adapters.commands import command_of, task_token_of
from inventory.domain import CancelShipment, Release, Reserve, Ship
from shared.contracts import orders
from shared.envelope import Envelope, read, wrap
from shared.errors import UnreadableMessage

ORDER = "0199a3b2-7c41-7d52-8e5f-3a6b9c0d1e2f"
CUPS = (orders.Quantity("CUP", 2), orders.Quantity("ARM", 1), orders.Quantity("CUP", 1))


def envelope(body: Any, **changes: Any) -> Envelope:
    return read(msgspec.json.encode(wrap(body, source="orderflow.orders", subject=ORDER) | changes))


@pytest.mark.parametrize(
    ("body", "command"),
    [
        (orders.ReserveStock(ORDER, CUPS), Reserve(UUID(ORDER), {"ARM": 1, "CUP": 3})),
        (orders.ReleaseStock(ORDER), Release(UUID(ORDER))),
        (orders.CreateShipment(ORDER), Ship(UUID(ORDER))),
        (orders.CancelShipment(ORDER), CancelShipment(UUID(ORDER))),
    ],
)
def test_each_command_that_the_saga_publishes_is_understood(body: Any, command: object) -> None:
    assert command_of(envelope(body)) == command


def test_a_field_that_we_do_not_know_is_ignored() -> None:
    message = envelope(
        orders.ReleaseStock(ORDER), data={"order_id": ORDER, "later": 1}, priority="high"
    )
    assert command_of(message) == Release(UUID(ORDER))


@pytest.mark.parametrize(
    ("body", "changes", "says"),
    [
        (orders.ReleaseStock("order 7"), {}, "order_id"),
        (orders.ReleaseStock(ORDER), {"type": "inventory.release.v2"}, "inventory.release.v2"),
        (orders.ReleaseStock(ORDER), {"data": {}}, "order_id"),
        (orders.ReserveStock(ORDER, ()), {}, "lines"),
        (orders.ReserveStock(ORDER, (orders.Quantity("CUP", 0),)), {}, "lines"),
        (orders.ReserveStock(ORDER, (orders.Quantity("CUP", -3),)), {}, "lines"),
        (orders.ReserveStock(ORDER, (orders.Quantity("C\x00P", 1),)), {}, "NUL"),
    ],
)
def test_what_cannot_be_read_says_why(body: Any, changes: dict[str, Any], says: str) -> None:
    with pytest.raises(UnreadableMessage, match=says):
        command_of(envelope(body, **changes))


def test_a_command_that_nobody_waits_for_is_not_carried_out() -> None:
    with pytest.raises(UnreadableMessage, match="tasktoken"):
        task_token_of(envelope(orders.ReleaseStock(ORDER)))
