"""The tables, as SQLAlchemy Core sees them; migration 0001 makes them."""

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import JSONB

from shared.outbox import outbox_table

metadata = sa.MetaData()
_timestamp = sa.DateTime(timezone=True)

orders = sa.Table(
    "orders",
    metadata,
    sa.Column("id", sa.Uuid, primary_key=True),
    sa.Column("customer_id", sa.Text),
    sa.Column("email", sa.Text),
    sa.Column("lines", JSONB),
    sa.Column("total", sa.BigInteger),
    sa.Column("currency", sa.Text),
    sa.Column("status", sa.Text),
    sa.Column("version", sa.Integer),
    sa.Column("reason", sa.Text),
    sa.Column("idempotency_key", sa.Text),
    sa.Column("request_hash", sa.Text),
    sa.Column("cancel_requested_at", _timestamp),
    sa.Column("withdrawn_at", _timestamp),
    sa.Column("placed_at", _timestamp),
    sa.Column("closed_at", _timestamp),
)

parked_orders = sa.Table(
    "parked_orders",
    metadata,
    sa.Column("order_id", sa.Uuid, primary_key=True),
    sa.Column("step", sa.Text),
    sa.Column("cause", sa.Text),
    sa.Column("task_token", sa.Text),
    sa.Column("parked_at", _timestamp, server_default=sa.func.now()),
)

payments = sa.Table(
    "payments",
    metadata,
    sa.Column("order_id", sa.Uuid, primary_key=True),
    sa.Column("status", sa.Text),
    sa.Column("amount", sa.BigInteger),
    sa.Column("currency", sa.Text),
    sa.Column("gateway_ref", sa.Text),
    sa.Column("updated_at", _timestamp, server_default=sa.func.now()),
)

catalogue = sa.Table(
    "catalogue",
    metadata,
    sa.Column("sku", sa.Text, primary_key=True),
    sa.Column("name", sa.Text),
    sa.Column("unit_price", sa.BigInteger),
    sa.Column("currency", sa.Text),
    sa.Column("version", sa.Integer),
)

outbox = outbox_table(metadata)

# Another company's system, by way of example: see adapters/sandbox_gateway.py.
gateway_ledger = sa.Table(
    "ledger",
    metadata,
    sa.Column("key", sa.Text, primary_key=True),
    sa.Column("status", sa.Text),
    sa.Column("amount", sa.BigInteger),
    sa.Column("currency", sa.Text),
    sa.Column("ref", sa.Text),
    sa.Column("captured_at", _timestamp),
    sa.Column("reversed_at", _timestamp),
    schema="sandbox_gateway",
)
