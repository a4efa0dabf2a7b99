"""Compares the books of all services by SQL, whatever their size, in constant memory.

What is compared changes meanwhile. Each source is therefore read after all that it follows from,
so that what is final in the earlier one has arrived in the later:

1. The sagas that run are listed. An order parked before that had its saga in the list.
2. A snapshot of orders. In it the order's status, its facts, payments and the gateway's ledger are
   of one moment. An order that is open here is left out of every comparison with another source.
3. A snapshot of inventory. An order that was closed in 2 had its last effect in inventory before,
   because the saga waits for each step's answer, and each answer follows its commit. Orders and
   reservations that are younger than 2 are not in its list and are not missed.
4. The consumers' tables, page by page: no snapshot.
5. A second snapshot of orders, only for 4: every fact that can have taken effect in 4 was committed
   before and is in it. What was published long enough before 4 must have taken effect (`effects`),
   what was published since may have.

What 2 sends to 3, and 4 to 5, goes in a stream into temporary tables.
"""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import sqlalchemy as sa

from operations.adapters.consumers import Consumers
from operations.adapters.invariants import Invariant, invariants, preparation
from operations.adapters.sagas import Sagas
from operations.domain import SHOWN, Finding, Patience, Violation

_ORDERS_TABLES = """
    CREATE TEMPORARY TABLE running_sagas (order_id uuid NOT NULL);
    CREATE TEMPORARY TABLE told (
        subject text NOT NULL, facts bigint NOT NULL, versions bigint NOT NULL,
        placed bigint NOT NULL, confirmed bigint NOT NULL,
        rejected bigint NOT NULL, cancelled bigint NOT NULL
    );
    CREATE TEMPORARY TABLE dealt_with (record text NOT NULL);
    CREATE TEMPORARY TABLE mails (order_id text NOT NULL, type text NOT NULL);
    CREATE TEMPORARY TABLE sold (
        day date NOT NULL, sku text NOT NULL, measure text NOT NULL, amount numeric NOT NULL
    );
"""
_INVENTORY_TABLES = """
    CREATE TEMPORARY TABLE known_orders (id uuid NOT NULL, status text NOT NULL, units jsonb);
    CREATE TEMPORARY TABLE seen_products (
        sku text NOT NULL, version int NOT NULL, name text NOT NULL,
        unit_price bigint NOT NULL, currency text NOT NULL
    );
    CREATE TEMPORARY TABLE held (
        sku text COLLATE "C" NOT NULL, reserved bigint NOT NULL, shipped bigint NOT NULL
    );
"""


class SqlBooks:
    """Both databases and the consumers' tables."""

    def __init__(
        self, orders: sa.Engine, inventory: sa.Engine, consumers: Consumers, sagas: Sagas
    ) -> None:
        self._orders = orders
        self._inventory = inventory
        self._consumers = consumers
        self._sagas = sagas
        self._of_orders = invariants("orders")
        self._of_inventory = invariants("inventory")
        self._of_effects = invariants("effects")

    def compare(self, patience: Patience) -> Iterator[Finding]:
        """Check every invariant, in order."""
        consumers = self._consumers
        clocks = {
            "sagas": patience.sagas,
            "outboxes": patience.outboxes,
            "effects": patience.effects,
            "deploys": patience.deploys,
            "facts": patience.facts,
            "records_since": consumers.since(consumers.records),
            "mails_since": consumers.since(consumers.deliveries),
            "sales_since": consumers.since(consumers.sales),
        }
        with _session(self._orders, _ORDERS_TABLES) as orders:
            with _session(self._inventory, _INVENTORY_TABLES) as inventory:
                clocks["listed_at"] = _now(orders)
                _fill(orders, "running_sagas", self._sagas.running())
                # No later than the snapshot, which its first statement takes.
                clocks["known_at"] = _now(orders)
                with _snapshot(orders):
                    orders.execute(sa.text(preparation("told.sql")))
                    orders.execute(sa.text("ANALYZE told"))
                    _stream(orders, "known_orders", inventory)
                    _stream(orders, "seen_products", inventory)
                    yield from _findings(orders, self._of_orders, clocks)
                with _snapshot(inventory):
                    inventory.execute(sa.text(preparation("held.sql")))
                    yield from _findings(inventory, self._of_inventory, clocks)
            clocks["scanned_at"] = _now(orders)
            _fill(orders, "dealt_with", consumers.dealt_with())
            _fill(orders, "mails", consumers.mails())
            _fill(orders, "sold", consumers.sold())
            with _snapshot(orders):
                yield from _findings(orders, self._of_effects, clocks)


@contextmanager
def _session(engine: sa.Engine, tables: str) -> Iterator[sa.Connection]:
    """Open a connection with temporary tables, which go when it closes."""
    # Each statement is its own transaction, except where `_snapshot` says otherwise.
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.exec_driver_sql(tables)
        yield connection


@contextmanager
def _snapshot(connection: sa.Connection) -> Iterator[None]:
    """See one moment of the database inside the block; only temporary tables can be written."""
    connection.exec_driver_sql("BEGIN TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY")
    yield
    # Not reached when something was raised: the connection closes then, and the snapshot with it.
    connection.exec_driver_sql("COMMIT")


def _now(connection: sa.Connection) -> Any:
    return connection.exec_driver_sql("SELECT clock_timestamp()").scalar_one()


def _fill(connection: sa.Connection, table: str, rows: Iterable[tuple[Any, ...]]) -> None:
    with _cursor(connection).copy(f"COPY {table} FROM STDIN") as copy:
        for row in rows:
            copy.write_row(row)
    _cursor(connection).execute(f"ANALYZE {table}")


def _stream(source: sa.Connection, table: str, target: sa.Connection) -> None:
    """Fill the target's temporary table with what its query finds at the source."""
    query = preparation(f"{table}.copy.sql")
    with (
        _cursor(source).copy(f"COPY ({query}) TO STDOUT") as out,
        _cursor(target).copy(f"COPY {table} FROM STDIN") as into,
    ):
        for block in out:
            into.write(block)
    _cursor(target).execute(f"ANALYZE {table}")


def _findings(
    connection: sa.Connection, checks: Iterable[Invariant], clocks: Mapping[str, Any]
) -> Iterator[Finding]:
    for check in checks:
        query = sa.text(
            "SELECT subject::text, actual, expected, count(*) OVER () AS found"
            f" FROM ({check.sql}\n) violations (subject, actual, expected)"
            " ORDER BY 1, 2 LIMIT :shown"
        )
        rows = connection.execute(query, {**clocks, "shown": SHOWN}).all()
        yield Finding(
            check.name,
            check.sentence,
            rows[0].found if rows else 0,
            [Violation(row.subject, row.actual, row.expected) for row in rows],
        )


def _cursor(connection: sa.Connection) -> Any:
    """Return a cursor of psycopg's own, which can COPY."""
    return connection.connection.cursor()
