"""Finds orders that are not as they should be, by SQL over both databases.

What is read first is what follows: the sagas that run, then what inventory holds, then orders. So
an order that is open here and had no saga in the list had none when it was read; and where the
order was closed long enough ago, inventory was read after its last effect.

Whatever the size of the tables, what is looked at is what is open, and what is closed and younger
than `HORIZON`: ids sort by time. Each search ends at `LIMIT`, in no order: what nobody can repair
must not stand before what can be.
"""

import itertools
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import sqlalchemy as sa

from operations.adapters.sagas import Sagas
from operations.repairs import Clocks, Suspect, Trouble

HORIZON = timedelta(days=90)
"""So long does Step Functions know how a saga ended; and no order waits longer for an operator."""
LIMIT = 200
"""So many of each trouble in one run: a few calls to Step Functions each."""

_TABLES = """
    CREATE TEMPORARY TABLE running (order_id uuid NOT NULL);
    CREATE TEMPORARY TABLE held (
        order_id uuid NOT NULL, reserved bool NOT NULL, shipped bool NOT NULL
    );
"""

# Both sides are cut down to what still stands before they are joined.
_HELD = """
    SELECT order_id, r.order_id IS NOT NULL, s.order_id IS NOT NULL
    FROM (SELECT order_id FROM reservations WHERE status = 'reserved' AND order_id >= %s) r
    FULL JOIN (SELECT order_id FROM shipments WHERE status = 'shipped' AND order_id >= %s) s
    USING (order_id)
"""

# A saga that is started leads to a confirmed order only if nobody has given the order up.
_OPEN = """
    SELECT o.id::text AS order_id, o.status, p.task_token, p.step,
        o.status = 'PLACED' AND o.cancel_requested_at IS NULL AND o.withdrawn_at IS NULL
            AS startable
    FROM orders o LEFT JOIN parked_orders p ON p.order_id = o.id
    WHERE o.status IN ('PLACED', 'PARKED') AND o.placed_at < :started_before
        AND NOT EXISTS (SELECT FROM running WHERE running.order_id = o.id)
    ORDER BY random() LIMIT :limit
"""

# Reads the whole table. It is asked only when an order has no saga, which is rare; an index for
# that would cost every order that is placed.
_STARTS = """
    SELECT subject, body FROM outbox
    WHERE destination = 'saga' AND type = 'saga.start' AND subject = ANY(:orders)
"""

_CLOSED = """
    FROM orders o
    LEFT JOIN held h ON h.order_id = o.id
    LEFT JOIN payments p ON p.order_id = o.id
    LEFT JOIN (
        SELECT key, status, amount, currency FROM sandbox_gateway.ledger WHERE key >= :oldest_key
    ) l ON l.key = o.id::text
    LEFT JOIN parked_orders w ON w.order_id = o.id
    WHERE o.id >= :oldest AND o.closed_at < :settled_before
        AND NOT EXISTS (SELECT FROM running WHERE running.order_id = o.id)
"""

_KEPT = f"""
    SELECT o.id::text AS order_id, o.status, h.reserved, h.shipped, p.status AS payment,
        l.status AS gateway, w.task_token
    {_CLOSED}
        AND o.status IN ('REJECTED', 'CANCELLED')
        AND (
            h.order_id IS NOT NULL OR w.order_id IS NOT NULL OR l.status = 'captured'
            OR p.status IN ('pending', 'charged', 'refunding')
        )
    ORDER BY random() LIMIT :limit
"""

# The ledger may be another company's and out of sight: it convicts, but is not missed.
_INCOMPLETE = f"""
    SELECT o.id::text AS order_id, h.shipped, p.status AS payment, l.status AS gateway,
        w.task_token, o.total, o.currency, p.amount, p.currency AS paid_currency,
        l.amount AS kept, l.currency AS kept_currency
    {_CLOSED}
        AND o.status = 'CONFIRMED'
        AND (
            h.shipped IS NOT TRUE OR w.order_id IS NOT NULL
            OR (p.status, p.amount, p.currency) IS DISTINCT FROM ('charged', o.total, o.currency)
            OR l.key IS NOT NULL AND (l.status, l.amount, l.currency)
                IS DISTINCT FROM ('captured', o.total, o.currency)
        )
    ORDER BY random() LIMIT :limit
"""

_STRAY_STOCK = """
    SELECT h.order_id::text, h.reserved, h.shipped FROM held h
    WHERE NOT EXISTS (SELECT FROM orders o WHERE o.id = h.order_id)
    ORDER BY random() LIMIT :limit
"""

_STRAY_MONEY = """
    SELECT order_id, string_agg(what, ', ' ORDER BY what) AS what
    FROM (
        SELECT p.order_id::text AS order_id, 'payment ' || p.status AS what FROM payments p
        WHERE p.status IN ('pending', 'charged', 'refunding') AND p.order_id >= :oldest
            AND p.updated_at < :settled_before
            AND NOT EXISTS (SELECT FROM orders o WHERE o.id = p.order_id)
        UNION ALL
        SELECT l.key, 'money captured' FROM sandbox_gateway.ledger l
        WHERE l.status = 'captured' AND l.key >= :oldest_key
            AND NOT EXISTS (SELECT FROM orders o WHERE o.id::text = l.key)
    ) stray
    GROUP BY order_id
    ORDER BY random() LIMIT :limit
"""

_OVERDUE = """
    SELECT o.id::text AS order_id FROM orders o
    WHERE o.status = 'PLACED' AND o.placed_at < :overdue_before
        AND EXISTS (SELECT FROM running WHERE running.order_id = o.id)
    ORDER BY o.placed_at LIMIT :limit
"""


class SqlSuspects:
    """Both databases, as the auditor reads them, and the sagas that run."""

    def __init__(self, orders: sa.Engine, inventory: sa.Engine, sagas: Sagas) -> None:
        self._orders = orders
        self._inventory = inventory
        self._sagas = sagas

    def suspects(self, clocks: Clocks) -> tuple[datetime, Sequence[Suspect]]:
        """Return when the books were read, and the orders that are not as they should be."""
        with self._orders.connect() as orders:
            read_at: datetime = orders.execute(sa.text("SELECT clock_timestamp()")).scalar_one()
            oldest = _first_id(read_at - HORIZON)
            orders.execute(sa.text(_TABLES))
            with _cursor(orders).copy("COPY running FROM STDIN") as copy:
                for row in self._sagas.running():
                    copy.write_row(row)
            self._fetch_held(orders, oldest)
            orders.execute(sa.text("ANALYZE running, held"))
            values = {
                "limit": LIMIT,
                "oldest": oldest,
                "oldest_key": str(oldest),
                "started_before": read_at - clocks.started,
                "settled_before": read_at - clocks.settled,
                "overdue_before": read_at - clocks.longest,
            }

            def rows(query: str) -> Sequence[Any]:
                return orders.execute(sa.text(query), values).all()

            found = itertools.chain(
                _open(rows(_OPEN), lambda ids: _starts(orders, ids)),
                map(_kept, rows(_KEPT)),
                map(_incomplete, rows(_INCOMPLETE)),
                (_stray(row.order_id, _stock(row)) for row in rows(_STRAY_STOCK)),
                (_stray(row.order_id, [row.what]) for row in rows(_STRAY_MONEY)),
                (
                    Suspect(row.order_id, Trouble.OVERDUE, "PLACED, and its saga still runs")
                    for row in rows(_OVERDUE)
                ),
            )
            return read_at, list(found)

    def _fetch_held(self, orders: sa.Connection, oldest: UUID) -> None:
        """Stream what inventory holds into a temporary table: never all of it in memory."""
        with (
            self._inventory.connect() as inventory,
            _cursor(inventory).copy(f"COPY ({_HELD}) TO STDOUT", (oldest, oldest)) as out,
            _cursor(orders).copy("COPY held FROM STDIN") as into,
        ):
            # Postgres sends a row at a time; writing them so would take several times as long.
            for rows in itertools.batched(out, 1000, strict=False):
                into.write(b"".join(rows))


def _open(rows: Sequence[Any], starts: Callable[[list[str]], dict[str, Any]]) -> Iterator[Suspect]:
    startable = [row.order_id for row in rows if row.startable]
    documents = starts(startable) if startable else {}
    for row in rows:
        actual = f"{row.status} at {row.step}" if row.step else row.status
        yield Suspect(
            row.order_id,
            Trouble.OPEN,
            f"{actual}, and no saga runs",
            placed=row.status == "PLACED",
            document=documents.get(row.order_id),
            dead_token=row.task_token,
        )


def _starts(orders: sa.Connection, ids: list[str]) -> dict[str, Any]:
    return {row.subject: row.body for row in orders.execute(sa.text(_STARTS), {"orders": ids})}


def _kept(row: Any) -> Suspect:
    kept = [*_stock(row), *_money(row), *_waits(row)]
    actual = f"{row.status}, {', '.join(kept)}"
    return Suspect(row.order_id, Trouble.KEPT, actual, dead_token=row.task_token)


def _incomplete(row: Any) -> Suspect:
    missing = [] if row.shipped else ["not shipped"]
    paid, due = (row.amount, row.paid_currency), (row.total, row.currency)
    if row.payment != "charged" or paid != due:
        missing.append(_unpaid("payment", row.payment, paid, due))
    if row.gateway and (row.gateway != "captured" or (row.kept, row.kept_currency) != due):
        missing.append(_unpaid("gateway", row.gateway, (row.kept, row.kept_currency), due))
    return Suspect(
        row.order_id, Trouble.INCOMPLETE, f"CONFIRMED, {', '.join([*missing, *_waits(row)])}"
    )


def _unpaid(who: str, status: str | None, paid: tuple[Any, Any], due: tuple[Any, Any]) -> str:
    if status is None:
        return f"no {who}"
    return f"{who} {status}: {paid[0]} {paid[1]} of {due[0]} {due[1]}"


def _stray(order_id: str, what: Sequence[str]) -> Suspect:
    return Suspect(order_id, Trouble.STRAY, f"no such order, {', '.join(what)}")


def _stock(row: Any) -> list[str]:
    if row.shipped:
        return ["stock shipped"]
    return ["stock reserved"] if row.reserved else []


def _money(row: Any) -> list[str]:
    payment = [f"payment {row.payment}"] if row.payment in _UNSETTLED else []
    return [*payment, *(["money captured"] if row.gateway == "captured" else [])]


_UNSETTLED = ("pending", "charged", "refunding")


def _waits(row: Any) -> list[str]:
    return ["an operator is waited for in vain"] if row.task_token else []


def _first_id(moment: datetime) -> UUID:
    """Return the smallest UUIDv7 of a moment: no order placed later has a smaller one."""
    return UUID(int=int(moment.timestamp() * 1000) << 80)


def _cursor(connection: sa.Connection) -> Any:
    """Return a cursor of psycopg's own, which can COPY."""
    return connection.connection.cursor()
