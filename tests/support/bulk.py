"""Any number of orders that went well, made by SQL in both databases in seconds.

All kinds: confirmed (some with several lines, one sku on two of them), rejected at each step,
cancelled, parked, and just placed; with their payments, facts, reservations, shipments, and a shelf
that agrees. A server that was filled so is in order: an audit must find nothing.
"""

from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa

EACH = 50
"""So many orders has a customer: a bigger shop has more customers."""

# Both databases make the same orders from the numbers alone; neither can ask the other.
_MADE = """
CREATE TEMPORARY TABLE made ON COMMIT DROP AS
WITH numbered AS (
    SELECT
        i,
        (lpad(to_hex(1764000000000 + i), 12, '0') || '7' || substr(md5(i::text), 1, 3)
            || '8' || substr(md5(i::text), 4, 15))::uuid AS id,
        CASE
            WHEN i % 20 = 0 THEN 'refunded'   -- after it was parked and resumed
            WHEN i % 20 = 1 THEN 'declined'
            WHEN i % 20 = 2 THEN 'cancelled'
            WHEN i % 20 = 3 THEN 'out of stock'
            WHEN i % 1000 = 4 THEN 'parked'
            WHEN i % 1000 = 5 THEN 'placed'
            ELSE 'confirmed'
        END AS kind,
        CASE WHEN i % 7 = 0 THEN 'JPY' ELSE 'EUR' END AS currency,
        jsonb_build_object('sku', 'sku-' || i % :skus, 'quantity', 1 + i % 3,
            'unit_price', 100) AS one,
        jsonb_build_object('sku', 'sku-' || (i + 1) % :skus, 'quantity', 1,
            'unit_price', 250) AS two,
        CAST(:last AS timestamptz) - (:orders - i) * CAST(:gap AS interval) AS at
    FROM generate_series(1, :orders) i
), lined AS (
    SELECT
        *,
        CASE WHEN i % 8 = 0 THEN jsonb_build_array(two, one, one)
             WHEN i % 4 = 0 THEN jsonb_build_array(two, one)
             ELSE jsonb_build_array(one) END AS lines,
        -- As inventory sums them up: each sku once, in order.
        CASE WHEN i % 4 = 0 THEN (
            SELECT jsonb_agg(line ORDER BY line ->> 'sku' COLLATE "C")
            FROM (VALUES
                (two - 'unit_price'),
                (jsonb_set(one - 'unit_price', '{quantity}',
                    to_jsonb((1 + i % 3) * (2 - i % 8 / 4))))
            ) summed (line)
        ) ELSE jsonb_build_array(one - 'unit_price') END AS units,
        (1 + i % 3) * 100 * CASE WHEN i % 8 = 0 THEN 2 ELSE 1 END
            + CASE WHEN i % 4 = 0 THEN 250 ELSE 0 END AS total
    FROM numbered
)
SELECT
    *,
    CASE kind WHEN 'confirmed' THEN 'CONFIRMED' WHEN 'cancelled' THEN 'CANCELLED'
        WHEN 'parked' THEN 'PARKED' WHEN 'placed' THEN 'PLACED' ELSE 'REJECTED' END AS status,
    CASE kind WHEN 'refunded' THEN 3 WHEN 'placed' THEN 1 ELSE 2 END AS version
FROM lined
"""

_ORDERS = (
    # The trigger refuses an order that does not begin PLACED.
    "SET LOCAL session_replication_role = replica",
    """
    INSERT INTO orders (id, customer_id, email, lines, total, currency, status, version, reason,
                        request_hash, placed_at, closed_at)
    SELECT id, 'customer-' || i % greatest(1, :orders / :each), 'ada@example.com', lines, total,
        currency, status, version,
        CASE WHEN status IN ('REJECTED', 'CANCELLED') THEN 'UNKNOWN' END, '',
        CASE WHEN kind = 'placed' THEN CAST(:last AS timestamptz) ELSE at END,
        CASE WHEN status NOT IN ('PLACED', 'PARKED') THEN at END
    FROM made
    """,
    """
    INSERT INTO parked_orders (order_id, step, cause, task_token, parked_at)
    SELECT id, 'Refund Payment', 'TransientFault: no answer', 'token', at
    FROM made WHERE kind = 'parked'
    """,
    """
    INSERT INTO payments (order_id, status, amount, currency)
    SELECT id,
        CASE kind WHEN 'confirmed' THEN 'charged' WHEN 'refunded' THEN 'refunded'
            WHEN 'declined' THEN 'declined' WHEN 'cancelled' THEN 'void' ELSE 'refunding' END,
        CASE kind WHEN 'cancelled' THEN 0 ELSE total END,
        CASE kind WHEN 'cancelled' THEN 'XXX' ELSE currency END
    FROM made WHERE kind NOT IN ('out of stock', 'placed')
    """,
    """
    INSERT INTO sandbox_gateway.ledger (key, status, amount, currency, ref)
    SELECT id::text,
        CASE kind WHEN 'refunded' THEN 'reversed' WHEN 'declined' THEN 'declined'
            WHEN 'cancelled' THEN 'barred' ELSE 'captured' END,
        CASE kind WHEN 'cancelled' THEN 0 ELSE total END,
        CASE kind WHEN 'cancelled' THEN 'XXX' ELSE currency END, 'ch_' || id
    FROM made WHERE kind NOT IN ('out of stock', 'placed')
    """,
    """
    INSERT INTO outbox (id, destination, type, subject, body, created_at, published_at, attempts)
    SELECT fact, CASE type WHEN 'saga.start' THEN 'saga' ELSE 'events' END, type, id::text,
        CASE type WHEN 'saga.start' THEN jsonb_build_object('order_id', id) ELSE jsonb_build_object(
            'specversion', '1.0', 'id', fact, 'source', 'orderflow.orders', 'type', type,
            'time', at, 'subject', id, 'datacontenttype', 'application/json',
            'data', jsonb_build_object('order_id', id, 'version', told.version, 'customer_id', '',
                'email', 'ada@example.com', 'currency', currency, 'total', total, 'lines', lines)
        ) END, at, at, 1
    FROM made
    CROSS JOIN LATERAL (
        VALUES (gen_random_uuid(), 'order.placed.v1', 1, true),
            (gen_random_uuid(), 'saga.start', 1, true),
            (gen_random_uuid(), 'order.parked.v1', 2, kind IN ('refunded', 'parked')),
            (gen_random_uuid(), 'order.' || lower(status) || '.v1', made.version,
                status NOT IN ('PLACED', 'PARKED'))
    ) told (fact, type, version, happened)
    WHERE happened
    """,
    """
    INSERT INTO catalogue (sku, name, unit_price, currency, version)
    SELECT 'sku-' || n, 'Thing', 100, 'EUR', 1 FROM generate_series(0, :skus - 1) n
    """,
)

_INVENTORY = (
    """
    INSERT INTO reservations (order_id, status, reason, lines, created_at)
    SELECT id,
        CASE kind WHEN 'confirmed' THEN 'reserved' WHEN 'parked' THEN 'reserved'
            WHEN 'placed' THEN 'reserved' WHEN 'out of stock' THEN 'refused' ELSE 'released' END,
        CASE kind WHEN 'out of stock' THEN 'OUT_OF_STOCK' END,
        CASE kind WHEN 'cancelled' THEN '[]' ELSE units END, at
    FROM made
    """,
    """
    INSERT INTO shipments (order_id, status, tracking, created_at)
    SELECT id, CASE kind WHEN 'confirmed' THEN 'shipped' ELSE 'cancelled' END, 'T-' || i, at
    FROM made WHERE kind IN ('confirmed', 'refunded')
    """,
    """
    INSERT INTO stock (sku, name, unit_price, currency, version,
                       received, available, reserved, shipped)
    SELECT 'sku-' || n, 'Thing', 100, 'EUR', 1,
        100 + coalesce(reserved, 0) + coalesce(shipped, 0), 100,
        coalesce(reserved, 0), coalesce(shipped, 0)
    FROM generate_series(0, :skus - 1) n
    LEFT JOIN (
        SELECT line ->> 'sku' AS sku,
            sum((line ->> 'quantity')::int) FILTER (WHERE kind <> 'confirmed') AS reserved,
            sum((line ->> 'quantity')::int) FILTER (WHERE kind = 'confirmed') AS shipped
        FROM made CROSS JOIN jsonb_array_elements(units) line
        WHERE kind IN ('confirmed', 'parked', 'placed')
        GROUP BY 1
    ) held ON held.sku = 'sku-' || n
    """,
    """
    INSERT INTO deliveries (delivery_id, products, units)
    SELECT 'd-' || sku, 1, received FROM stock
    """,
    """
    INSERT INTO outbox (id, destination, type, subject, body, created_at, published_at, attempts)
    SELECT gen_random_uuid(), 'events', 'product.listed.v1', sku,
        jsonb_build_object('data', jsonb_build_object('sku', sku, 'version', 1, 'name', name,
            'unit_price', unit_price, 'currency', currency)),
        CAST(:last AS timestamptz), CAST(:last AS timestamptz), 1
    FROM stock
    """,
)

# What the consumers would have made of the facts, as rows of the tables that an audit fills.
_DEALT_WITH = """
    SELECT consumer || '#' || encode(sha256(convert_to('"' || id || '"', 'UTF8')), 'hex')
    FROM outbox CROSS JOIN (VALUES ('sendEmail'), ('countSales')) listening (consumer)
    WHERE destination = 'events' AND (consumer = 'sendEmail' OR type <> 'order.parked.v1')
"""
_MAILS = "SELECT subject, type FROM outbox WHERE destination = 'events'"
_SOLD = """
    SELECT day::text, sku, measure, sum(amount)::text
    FROM (
        SELECT ((body ->> 'time')::timestamptz AT TIME ZONE 'UTC')::date AS day, seq,
            line ->> 'sku' AS sku, body -> 'data' ->> 'currency' AS currency,
            sum((line ->> 'quantity')::int) AS units,
            sum((line ->> 'quantity')::int * (line ->> 'unit_price')::int) AS revenue
        FROM outbox CROSS JOIN jsonb_array_elements(body -> 'data' -> 'lines') line
        WHERE type = 'order.confirmed.v1'
        GROUP BY 1, 2, 3, 4
    ) sold
    CROSS JOIN LATERAL (
        VALUES ('units', units), ('orders', 1), ('revenue_' || currency, revenue)
    ) measured (measure, amount)
    GROUP BY day, sku, measure
"""


def fill(
    orders: sa.Engine,
    inventory: sa.Engine,
    *,
    count: int,
    skus: int,
    last: datetime,
    gap: timedelta = timedelta(),
) -> None:
    """Make `count` orders, `gap` apart up to `last`; both engines are a superuser's."""
    values = {"orders": count, "skus": skus, "last": last, "gap": gap, "each": EACH}
    for engine, statements in ((orders, _ORDERS), (inventory, _INVENTORY)):
        with engine.begin() as connection:
            connection.execute(sa.text("SET LOCAL statement_timeout = 0"))
            for statement in (_MADE, *statements):
                connection.execute(sa.text(statement), values)
        with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            connection.execute(sa.text("SET statement_timeout = 0"))
            connection.execute(sa.text("VACUUM ANALYZE"))


class BulkConsumers:
    """The consumers' effects on these orders, without DynamoDB: what an audit reads of them."""

    records, deliveries, sales = "records", "deliveries", "sales"

    def __init__(self, orders: sa.Engine, since: datetime) -> None:
        self._orders = orders
        self._since = since

    def since(self, table: str) -> datetime:  # noqa: ARG002
        """When all three were made."""
        return self._since

    def dealt_with(self) -> Iterator[Sequence[Any]]:
        """One key for each fact and consumer."""
        return self._rows(_DEALT_WITH)

    def mails(self) -> Iterator[Sequence[Any]]:
        """One mail for each fact."""
        return self._rows(_MAILS)

    def sold(self) -> Iterator[Sequence[Any]]:
        """The figures of each day and sku."""
        return self._rows(_SOLD)

    def _rows(self, query: str) -> Iterator[Sequence[Any]]:
        with self._orders.connect().execution_options(yield_per=5000) as connection:
            yield from (tuple(row) for row in connection.execute(sa.text(query)))


def parked(orders: sa.Engine) -> Iterable[str]:
    """Return the orders whose sagas wait for an operator."""
    with orders.connect() as connection:
        query = sa.text("SELECT id::text FROM orders WHERE status = 'PARKED'")
        return list(connection.execute(query).scalars())
