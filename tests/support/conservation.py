"""The books of a deployed cloud: stock and money are conserved, and every order is closed.

Reads the services' databases, which no test does otherwise. They are read one after the other:
on a cloud that is working, ask again before believing a fault.
"""

from collections import Counter
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from tests.support.cloud import Cloud

_ORDERS = "SELECT id, status, total, currency FROM orders"
_LEDGER = "SELECT key, amount, currency FROM sandbox_gateway.ledger WHERE status = 'captured'"
_STOCK = "SELECT sku, received, available, reserved, shipped FROM stock"
_HELD = """
    SELECT r.order_id, r.lines, s.status IS NOT DISTINCT FROM 'shipped' AS shipped
    FROM reservations r LEFT JOIN shipments s USING (order_id)
    WHERE r.status = 'reserved'
"""
_RECEIVED = "SELECT coalesce(sum(units), 0) AS units FROM deliveries"
_OPEN = ("PLACED", "PARKED")


@dataclass(frozen=True, slots=True)
class Books:
    """What was counted, and everything that does not add up."""

    orders: int
    units: int
    faults: tuple[str, ...]

    def __str__(self) -> str:
        if not self.faults:
            return f"{self.orders} orders and {self.units} units of stock: all conserved"
        return "NOT conserved:\n" + "\n".join(f"  {fault}" for fault in self.faults)


def books(cloud: Cloud) -> Books:
    """Read and compare the books of orders, of inventory and of the gateway."""
    orders = {str(row.id): row for row in _rows(cloud, "orders", _ORDERS)}
    captured = {row.key: row for row in _rows(cloud, "orders", _LEDGER)}
    held = _rows(cloud, "inventory", _HELD)
    stock = _rows(cloud, "inventory", _STOCK)
    units = sum(row.received for row in stock)
    faults = [
        f"order {key} is still PLACED" for key, row in orders.items() if row.status == "PLACED"
    ]
    faults += _money_faults(orders, captured)
    faults += _order_faults(orders, {str(row.order_id): row.shipped for row in held})
    faults += _stock_faults(stock, held)
    delivered = _rows(cloud, "inventory", _RECEIVED)[0].units
    if units != delivered:
        faults.append(f"{delivered} units were delivered, the shelf knows of {units}")
    return Books(len(orders), units, tuple(faults))


def _money_faults(orders: dict[str, Any], captured: dict[str, Any]) -> list[str]:
    """Compare what the gateway holds with the totals of the confirmed orders."""
    due = {
        key: (row.total, row.currency) for key, row in orders.items() if row.status == "CONFIRMED"
    }
    kept = {
        key: (row.amount, row.currency)
        for key, row in captured.items()
        if key not in orders or orders[key].status not in _OPEN
    }
    return [
        f"order {key}: {kept.get(key, 'nothing')} kept, {due.get(key, 'nothing')} due"
        for key in sorted(due.keys() | kept.keys())
        if due.get(key) != kept.get(key)
    ]


def _order_faults(orders: dict[str, Any], held: dict[str, bool]) -> list[str]:
    """Compare what inventory holds for each order with how the order ended."""
    faults = []
    for key, shipped in held.items():
        status = orders[key].status if key in orders else "unknown"
        if status not in (*_OPEN, "CONFIRMED"):
            faults.append(f"order {key} is {status}, its stock {'shipped' if shipped else 'held'}")
    faults += [
        f"order {key} is CONFIRMED and was not shipped"
        for key, row in orders.items()
        if row.status == "CONFIRMED" and not held.get(key)
    ]
    return faults


def _stock_faults(stock: list[Any], held: list[Any]) -> list[str]:
    """Compare each shelf with itself and with the reservations and shipments."""
    reserved: Counter[str] = Counter()
    shipped: Counter[str] = Counter()
    for row in held:
        for line in row.lines:
            (shipped if row.shipped else reserved)[line["sku"]] += line["quantity"]
    return [
        f"stock {row} against {reserved[row.sku]} reserved and {shipped[row.sku]} shipped"
        for row in stock
        if row.received != row.available + row.reserved + row.shipped
        or min(row.available, row.reserved, row.shipped) < 0
        or (row.reserved, row.shipped) != (reserved[row.sku], shipped[row.sku])
    ]


def _rows(cloud: Cloud, service: str, query: str) -> list[Any]:
    engine = sa.create_engine(cloud.database_url(service), poolclass=sa.NullPool)
    with engine.connect() as connection:
        return list(connection.execute(sa.text(query)))
