"""The inventory in Postgres."""

from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import JSONB, insert
from sqlalchemy.exc import DataError, IntegrityError, InterfaceError, OperationalError

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


_LINES = "unnest(CAST(:skus AS text[]), CAST(:units AS bigint[])) AS line (sku, units)"

# Locks as every step does, the reservation and then the stock by sku, and answers in one round trip
# how many lines were moved. Between its steps nobody waits for us: a hot sku is locked for as long
# as the server takes, not for as long as we do.
#
# The first look at the stock locks nothing, so it can be overtaken; by then the marker is written,
# and what is short after all must undo the whole statement. So it breaks the row's own CHECK.
_RESERVE_AT_ONCE = sa.text(f"""
    WITH line AS MATERIALIZED (SELECT * FROM {_LINES}),
    marker AS (
        INSERT INTO reservations (order_id, status, lines)
        SELECT :order_id, 'reserved', :lines
        WHERE :count = (
            SELECT count(*) FROM stock JOIN line USING (sku) WHERE available - units > :leaving
        )
        ON CONFLICT DO NOTHING
        RETURNING order_id
    ),
    held AS MATERIALIZED (
        SELECT stock.sku FROM marker CROSS JOIN stock
        WHERE stock.sku = ANY(CAST(:skus AS text[])) ORDER BY stock.sku FOR UPDATE OF stock
    ),
    moved AS (
        UPDATE stock
        SET available = CASE WHEN available - units > :leaving THEN available - units ELSE -1 END,
            reserved = reserved + units
        FROM held JOIN line USING (sku)
        WHERE stock.sku = held.sku
        RETURNING stock.sku
    )
    SELECT count(*) FROM moved
""").bindparams(sa.bindparam("order_id", type_=sa.Uuid), sa.bindparam("lines", type_=JSONB))


def _moving(source: Bin, target: Bin) -> sa.TextClause:
    return sa.text(f"""
        WITH held AS MATERIALIZED (
            SELECT sku FROM stock WHERE sku = ANY(CAST(:skus AS text[])) ORDER BY sku FOR UPDATE
        )
        UPDATE stock SET {source} = {source} - units, {target} = {target} + units
        FROM held JOIN {_LINES} USING (sku)
        WHERE stock.sku = held.sku
    """)


_MOVES = {
    (source, target): _moving(source, target)
    for source in Bin
    for target in Bin
    if source is not target
}


class SqlBooks:
    """Opens transactions; a database that does not answer is a TransientFault."""

    def __init__(self, engine: sa.Engine) -> None:
        self._engine = engine
        # One statement is a transaction by itself and needs no BEGIN and no COMMIT: two round
        # trips saved.
        self._single = engine.execution_options(isolation_level="AUTOCOMMIT")

    @contextmanager
    def open(self) -> Iterator["SqlPage"]:
        """Commit at the end of the block, roll back if it raises."""
        with _faults(), self._engine.begin() as connection:
            yield SqlPage(connection)

    def reserve_at_once(self, reservation: Reservation, *, leaving: int) -> bool:
        """Insert and move in one round trip; False, and nothing done, if that does not fit."""
        values = {
            "order_id": reservation.order_id,
            "lines": _stored(reservation.units),
            "count": len(reservation.units),
            "leaving": leaving,
            **_lines(reservation.units),
        }
        with _faults(), self._single.connect() as connection:
            try:
                moved: int = connection.execute(_RESERVE_AT_ONCE, values).scalar_one()
            except (IntegrityError, DataError):
                # Overtaken since the first look, and undone by the CHECK; or more units than any
                # number of the database's.
                return False
        return moved > 0


@contextmanager
def _faults() -> Iterator[None]:
    try:
        yield
    except (OperationalError, InterfaceError) as error:
        # Connection lost, lock or statement timeout: after a lost commit nobody knows, and the
        # marker tells the next attempt.
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
            lines=_stored(reservation.units),
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
        """Move units from one bin to another, locking the rows in sku order."""
        if units:
            self._connection.execute(_MOVES[source, target], _lines(units))

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


def _lines(units: Mapping[str, int]) -> dict[str, list[Any]]:
    return {"skus": list(units), "units": list(units.values())}


def _stored(units: Mapping[str, int]) -> list[dict[str, Any]]:
    return [{"sku": sku, "quantity": quantity} for sku, quantity in units.items()]


def _listed(listing: Listing) -> dict[str, object]:
    return {
        "name": listing.name,
        "unit_price": listing.unit_price,
        "currency": listing.currency,
    }
