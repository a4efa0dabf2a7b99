"""The inventory in Postgres."""

from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.exc import InterfaceError, OperationalError

from inventory.adapters.tables import deliveries, outbox, reservations, shipments, stock
from inventory.domain import (
    Bin,
    DeliveredProduct,
    Delivery,
    Listing,
    Reason,
    Reservation,
    ReservationStatus,
    Shipment,
    ShipmentStatus,
    Stock,
)
from shared.contracts.inventory import ProductListed, StockLow
from shared.errors import TransientFault
from shared.outbox import fact_row

SOURCE = "orderflow.inventory"


class SqlBooks:
    """Opens transactions; a database that does not answer is a TransientFault."""

    def __init__(self, engine: sa.Engine) -> None:
        self._engine = engine

    @contextmanager
    def open(self) -> Iterator["SqlPage"]:
        """Commit at the end of the block, roll back if it raises."""
        try:
            with self._engine.begin() as connection:
                yield SqlPage(connection)
        except (OperationalError, InterfaceError) as error:
            # Connection lost, lock or statement timeout: after a lost commit nobody knows, and
            # the marker tells the next attempt.
            raise TransientFault(str(error.orig)) from error


class SqlPage:
    """One transaction; see `use_cases.Page`."""

    def __init__(self, connection: sa.Connection) -> None:
        self._connection = connection

    def add_reservation(self, reservation: Reservation) -> bool:
        """Insert; False if the order has one already, after waiting for whoever inserts it now."""
        return self._insert_new(
            reservations,
            order_id=reservation.order_id,
            status=reservation.status,
            reason=reservation.reason,
            lines=[{"sku": sku, "quantity": units} for sku, units in reservation.units.items()],
        )

    def find_reservation(self, order_id: UUID) -> Reservation | None:
        """Lock and return the order's reservation."""
        row = self._lock(reservations, order_id)
        return row and Reservation(
            order_id,
            ReservationStatus(row.status),
            {line["sku"]: line["quantity"] for line in row.lines},
            row.reason and Reason(row.reason),
        )

    def change_reservation(
        self, order_id: UUID, status: ReservationStatus, reason: Reason | None = None
    ) -> None:
        """Set the status of a row that this transaction has locked."""
        self._connection.execute(
            sa.update(reservations)
            .where(reservations.c.order_id == order_id)
            .values(status=status, reason=reason, updated_at=sa.func.now())
        )

    def add_shipment(self, shipment: Shipment) -> bool:
        """Insert; False if the order has one already."""
        return self._insert_new(
            shipments,
            order_id=shipment.order_id,
            status=shipment.status,
            reason=shipment.reason,
            tracking=shipment.tracking,
        )

    def find_shipment(self, order_id: UUID) -> Shipment | None:
        """Lock and return the order's shipment."""
        row = self._lock(shipments, order_id)
        return row and Shipment(
            order_id,
            ShipmentStatus(row.status),
            row.reason and Reason(row.reason),
            row.tracking,
        )

    def change_shipment(self, order_id: UUID, status: ShipmentStatus) -> None:
        """Set the status of a row that this transaction has locked."""
        self._connection.execute(
            sa.update(shipments)
            .where(shipments.c.order_id == order_id)
            .values(status=status, updated_at=sa.func.now())
        )

    def lock_stock(self, skus: Collection[str]) -> Mapping[str, Stock]:
        """Lock, in sku order, and return those of `skus` that exist."""
        rows = self._connection.execute(
            sa.select(stock)
            .where(stock.c.sku == sa.any_(sa.literal(list(skus), sa.ARRAY(sa.Text))))
            .order_by(stock.c.sku)
            .with_for_update()
        )
        return {
            row.sku: Stock(row.sku, Listing(row.name, row.unit_price, row.currency), row.available)
            for row in rows
        }

    def move(self, units: Mapping[str, int], source: Bin, target: Bin) -> None:
        """Move units from one bin to another; the rows must be locked."""
        n = sa.bindparam("n", type_=sa.BigInteger)
        if units:
            self._connection.execute(
                sa.update(stock)
                .where(stock.c.sku == sa.bindparam("key"))
                .values({source.value: stock.c[source] - n, target.value: stock.c[target] + n}),
                [{"key": sku, "n": quantity} for sku, quantity in units.items()],
            )

    def add_delivery(self, delivery: Delivery) -> bool:
        """Insert; False if it was received already."""
        return self._insert_new(
            deliveries,
            delivery_id=delivery.delivery_id,
            products=len(delivery.products),
            units=delivery.units,
        )

    def count_delivery(self, delivery_id: str) -> tuple[int, int]:
        """Return how many products and units were received under this id."""
        row = self._connection.execute(
            sa.select(deliveries.c.products, deliveries.c.units).where(
                deliveries.c.delivery_id == delivery_id
            )
        ).one()
        return row.products, row.units

    def add_products(self, products: Collection[DeliveredProduct]) -> Collection[str]:
        """Insert empty rows, in sku order, where there are none; return the skus of these.

        Products that exist are not locked here: all that exist by now are locked together, in
        sku order, by `lock_stock`.
        """
        empty = {"version": 0, "received": 0, "available": 0, "reserved": 0, "shipped": 0}
        rows = [
            {"sku": product.sku, **_listed(product.listing), **empty}
            for product in sorted(products, key=lambda product: product.sku)
        ]
        statement = insert(stock).on_conflict_do_nothing().returning(stock.c.sku)
        return set(self._connection.execute(statement, rows).scalars())

    def put_on_shelf(self, products: Collection[DeliveredProduct]) -> None:
        """Add what was delivered, and list it so from now on; the rows must be locked."""
        n = sa.bindparam("n", type_=sa.BigInteger)
        self._connection.execute(
            sa.update(stock)
            .where(stock.c.sku == sa.bindparam("key"))
            .values(
                received=stock.c.received + n,
                available=stock.c.available + n,
                name=sa.bindparam("listed_name"),
                unit_price=sa.bindparam("listed_price"),
                currency=sa.bindparam("listed_currency"),
            ),
            [
                {
                    "key": product.sku,
                    "n": product.quantity,
                    "listed_name": product.listing.name,
                    "listed_price": product.listing.unit_price,
                    "listed_currency": product.listing.currency,
                }
                for product in products
            ],
        )

    def next_versions(self, skus: Collection[str]) -> Mapping[str, int]:
        """Count one more published state of each; the rows must be locked."""
        if not skus:
            return {}
        rows = self._connection.execute(
            sa.update(stock)
            .where(stock.c.sku == sa.any_(sa.literal(list(skus), sa.ARRAY(sa.Text))))
            .values(version=stock.c.version + 1)
            .returning(stock.c.sku, stock.c.version)
        )
        return {row.sku: row.version for row in rows}

    def announce(self, facts: Collection[ProductListed | StockLow]) -> None:
        """Put facts in the outbox; they leave after the commit."""
        rows = [fact_row(fact, source=SOURCE, subject=fact.sku) for fact in facts]
        if rows:
            self._connection.execute(sa.insert(outbox), rows)

    def _insert_new(self, table: sa.Table, **values: object) -> bool:
        (key,) = table.primary_key
        statement = insert(table).values(values).on_conflict_do_nothing().returning(key)
        return self._connection.execute(statement).first() is not None

    def _lock(self, table: sa.Table, order_id: UUID) -> sa.Row[tuple[object, ...]] | None:
        statement = sa.select(table).where(table.c.order_id == order_id).with_for_update()
        return self._connection.execute(statement).first()


def _listed(listing: Listing) -> dict[str, object]:
    return {
        "name": listing.name,
        "unit_price": listing.unit_price,
        "currency": listing.currency,
    }
