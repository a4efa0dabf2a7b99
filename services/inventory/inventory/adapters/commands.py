"""Reads the saga's commands; what no retry can make readable is an UnreadableMessage."""

from uuid import UUID

from inventory.domain import CancelShipment, Command, Release, Reserve, Ship, summed
from shared.contracts import orders
from shared.envelope import Envelope, read_data
from shared.errors import UnreadableMessage


def command_of(envelope: Envelope) -> Command:
    """Return the command in the envelope; raise UnreadableMessage naming what is wrong."""
    match envelope.type:
        case orders.ReserveStock.TYPE:
            return _reserve(read_data(envelope, orders.ReserveStock))
        case orders.ReleaseStock.TYPE:
            return Release(_order_id(read_data(envelope, orders.ReleaseStock).order_id))
        case orders.CreateShipment.TYPE:
            return Ship(_order_id(read_data(envelope, orders.CreateShipment).order_id))
        case orders.CancelShipment.TYPE:
            return CancelShipment(_order_id(read_data(envelope, orders.CancelShipment).order_id))
        case unknown:
            raise UnreadableMessage(f"type {unknown} is no command of ours")


def task_token_of(envelope: Envelope) -> str:
    """Return the saga's task token: an effect that nobody waits for is not wanted."""
    if not envelope.tasktoken:
        raise UnreadableMessage(f"{envelope.type}: no tasktoken")
    return envelope.tasktoken


def _reserve(data: orders.ReserveStock) -> Reserve:
    # A quantity below 1 would make stock out of nothing.
    if not data.lines or any(line.quantity < 1 for line in data.lines):
        raise UnreadableMessage("lines: at least one, and at least 1 of each")
    # Postgres stores no NUL; any other sku that we do not have is refused as unknown.
    if any("\x00" in line.sku for line in data.lines):
        raise UnreadableMessage("lines: a sku holds a NUL character")
    return Reserve(
        _order_id(data.order_id), summed((line.sku, line.quantity) for line in data.lines)
    )


def _order_id(text: str) -> UUID:
    try:
        return UUID(text)
    except ValueError as error:
        raise UnreadableMessage(f"order_id {text!r} is no UUID") from error
