"""The imports in Postgres, and what they change there in bulk."""

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import sqlalchemy as sa
from sqlalchemy.exc import InterfaceError, OperationalError

from inventory.adapters.books import SOURCE
from inventory.domain import DeliveredProduct, Listing
from inventory.imports import Batch, Numbered, PriceList, Progress
from shared.contracts.inventory import ProductListed
from shared.errors import TransientFault
from shared.outbox import fact_row

_FIND = sa.text(
    "SELECT rows_done, bytes_done, outcome FROM imports"
    " WHERE object_key = :key AND object_version = :version"
)

_BEGIN = sa.text(
    "INSERT INTO imports (object_key, object_version) VALUES (:key, :version)"
    " ON CONFLICT DO NOTHING"
)

_LOCK = sa.text(
    "SELECT rows_done FROM imports WHERE object_key = :key AND object_version = :version FOR UPDATE"
)

_ADVANCE = sa.text(
    "UPDATE imports SET rows_done = :last, bytes_done = :end"
    " WHERE object_key = :key AND object_version = :version"
)

_FINISH = sa.text(
    "UPDATE imports SET finished_at = now(), outcome = CAST(:outcome AS jsonb)"
    " WHERE object_key = :key AND object_version = :version AND finished_at IS NULL"
)

# A file is one delivery, which grows with it: the books of what was received stay those of the
# deliveries. No delivery's own id can look like this one.
_DELIVER = sa.text(
    "INSERT INTO deliveries (delivery_id, products, units) VALUES (:id, :products, :units)"
    " ON CONFLICT (delivery_id) DO UPDATE SET products = deliveries.products + excluded.products,"
    " units = deliveries.units + excluded.units"
)

_ROWS = (
    "unnest(CAST(:skus AS text[]), CAST(:names AS text[]), CAST(:prices AS integer[]),"
    " CAST(:currencies AS text[]), CAST(:quantities AS bigint[]))"
    " AS row (sku, name, unit_price, currency, quantity)"
)

# As in `SqlPage.add_products` and `lock_stock`: the new ones in sku order, then all that exist in
# sku order. Deliveries and imports that meet wait for each other one way only.
_ADD = sa.text(
    "INSERT INTO stock (sku, name, unit_price, currency, version, received, available, reserved,"
    " shipped) SELECT sku, name, unit_price, currency, 0, 0, 0, 0, 0"
    f' FROM {_ROWS} ORDER BY sku COLLATE "C" ON CONFLICT DO NOTHING'
)

_LOCK_STOCK = sa.text(
    "SELECT count(*) FROM (SELECT FROM stock WHERE sku = ANY(CAST(:skus AS text[]))"
    " ORDER BY sku FOR UPDATE) locked"
)

# `old` is the row as it was: locked, so it is still that. A version of 0 was added just now.
_RECEIVE = sa.text(
    "UPDATE stock SET received = old.received + row.quantity,"
    " available = old.available + row.quantity,"
    " name = row.name, unit_price = row.unit_price, currency = row.currency,"
    " version = old.version + CAST(old.version = 0 OR"
    "  (old.name, old.unit_price, old.currency) <> (row.name, row.unit_price, row.currency)"
    " AS integer)"
    f" FROM {_ROWS} JOIN stock old ON old.sku = row.sku"
    " WHERE stock.sku = row.sku"
    " RETURNING stock.sku, stock.version, stock.version <> old.version AS changed"
)

_ANNOUNCE = sa.text(
    "INSERT INTO outbox (id, destination, type, subject, body)"
    " SELECT * FROM unnest(CAST(:ids AS uuid[]), CAST(:destinations AS text[]),"
    " CAST(:types AS text[]), CAST(:subjects AS text[]), CAST(:bodies AS jsonb[]))"
)


class SqlImports:
    """Keeps the marks of imports; a database that does not answer is a TransientFault."""

    def __init__(self, engine: sa.Engine) -> None:
        self._engine = engine

    def begin(self, file: PriceList) -> Progress:
        """Insert the mark unless it is there; return it."""
        with self._transaction() as connection:
            connection.execute(_BEGIN, _keys(file))
            return _progress(connection.execute(_FIND, _keys(file)).one())

    def apply(self, file: PriceList, batch: Batch) -> None:
        """Apply the rows that are not done yet; the mark is locked, so no two runs apply one."""
        with self._transaction() as connection:
            done = connection.execute(_LOCK, _keys(file)).scalar_one()
            if done >= batch.last:
                return
            rows = batch.after(done).rows
            if rows:
                _receive(connection, file, rows)
            connection.execute(_ADVANCE, _keys(file) | {"last": batch.last, "end": batch.end})

    def finish(self, file: PriceList, outcome: Mapping[str, Any]) -> None:
        """Store the outcome unless there is one."""
        with self._transaction() as connection:
            connection.execute(_FINISH, _keys(file) | {"outcome": json.dumps(outcome)})

    def find(self, key: str, version: str) -> Progress | None:
        """Return the mark as it is."""
        with self._transaction() as connection:
            row = connection.execute(_FIND, {"key": key, "version": version}).first()
            return _progress(row) if row else None

    @contextmanager
    def _transaction(self) -> Iterator[sa.Connection]:
        try:
            with self._engine.begin() as connection:
                yield connection
        except (OperationalError, InterfaceError) as error:
            # Whether or not it was committed: the mark tells the next run.
            raise TransientFault(str(error.orig)) from error


def _receive(connection: sa.Connection, file: PriceList, rows: Sequence[Numbered]) -> None:
    products = _summed(rows)
    values: dict[str, list[Any]] = {
        "skus": [product.sku for product in products],
        "names": [product.listing.name for product in products],
        "prices": [product.listing.unit_price for product in products],
        "currencies": [product.listing.currency for product in products],
        "quantities": [product.quantity for product in products],
    }
    connection.execute(_ADD, values)
    connection.execute(_LOCK_STOCK, {"skus": values["skus"]})
    changed = {row.sku: row.version for row in connection.execute(_RECEIVE, values) if row.changed}
    _announce(connection, [each for each in products if each.sku in changed], changed)
    units = sum(values["quantities"])
    connection.execute(
        _DELIVER,
        {"id": f"import:{file.key}#{file.version}", "products": len(rows), "units": units},
    )


def _summed(rows: Sequence[Numbered]) -> list[DeliveredProduct]:
    """Return one product a sku, in sku order: units added up, listed as the last row says."""
    listings: dict[str, Listing] = {}
    units: dict[str, int] = {}
    for each in rows:
        product = each.product
        listings[product.sku] = product.listing
        units[product.sku] = units.get(product.sku, 0) + product.quantity
    return [DeliveredProduct(sku, listings[sku], units[sku]) for sku in sorted(units)]


def _announce(
    connection: sa.Connection, products: Sequence[DeliveredProduct], versions: Mapping[str, int]
) -> None:
    facts = [
        fact_row(
            ProductListed(
                product.sku,
                versions[product.sku],
                product.listing.name,
                product.listing.unit_price,
                product.listing.currency,
            ),
            source=SOURCE,
            subject=product.sku,
        )
        for product in products
    ]
    if facts:
        connection.execute(
            _ANNOUNCE,
            {
                "ids": [fact["id"] for fact in facts],
                "destinations": [fact["destination"] for fact in facts],
                "types": [fact["type"] for fact in facts],
                "subjects": [fact["subject"] for fact in facts],
                "bodies": [json.dumps(fact["body"]) for fact in facts],
            },
        )


def _keys(file: PriceList) -> dict[str, Any]:
    return {"key": file.key, "version": file.version}


def _progress(row: Any) -> Progress:
    return Progress(row.rows_done, row.bytes_done, row.outcome)
