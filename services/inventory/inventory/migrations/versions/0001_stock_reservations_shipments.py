"""Stock, reservations, shipments, deliveries and the outbox."""

from alembic import op

revision = "0001"
down_revision = None

# Collation C: the order in which rows are locked must be the order in which Python sorts skus,
# whatever the database's own collation.
_DDL = """
CREATE TABLE stock (
    sku        text COLLATE "C" PRIMARY KEY,
    name       text NOT NULL,
    unit_price integer NOT NULL CHECK (unit_price >= 0),
    currency   text NOT NULL CHECK (currency ~ '^[A-Z]{3}$'),
    version    integer NOT NULL CHECK (version >= 0),
    received   bigint NOT NULL CHECK (received >= 0),
    available  bigint NOT NULL CHECK (available >= 0),
    reserved   bigint NOT NULL CHECK (reserved >= 0),
    shipped    bigint NOT NULL CHECK (shipped >= 0),
    CONSTRAINT stock_is_conserved CHECK (received = available + reserved + shipped)
);

CREATE TABLE reservations (
    order_id   uuid PRIMARY KEY,
    status     text NOT NULL CHECK (status IN ('reserved', 'refused', 'released')),
    reason     text,
    lines      jsonb NOT NULL CHECK (jsonb_typeof(lines) = 'array'),
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    CHECK ((status = 'refused') = (reason IS NOT NULL))
);

CREATE TABLE shipments (
    order_id   uuid PRIMARY KEY,
    status     text NOT NULL CHECK (status IN ('shipped', 'refused', 'cancelled')),
    reason     text,
    tracking   text,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    CHECK ((status = 'refused') = (reason IS NOT NULL)),
    CHECK (status <> 'shipped' OR tracking IS NOT NULL)
);

CREATE TABLE deliveries (
    delivery_id text PRIMARY KEY,
    products    integer NOT NULL,
    units       bigint NOT NULL,
    received_at timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE outbox (
    seq          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    id           uuid NOT NULL UNIQUE,
    destination  text NOT NULL,
    type         text NOT NULL,
    subject      text NOT NULL,
    body         jsonb NOT NULL,
    created_at   timestamptz NOT NULL DEFAULT now(),
    published_at timestamptz,
    attempts     integer NOT NULL DEFAULT 0,
    last_error   text
);

CREATE INDEX outbox_waiting ON outbox (subject, seq) WHERE published_at IS NULL;
"""


def upgrade() -> None:
    op.execute(_DDL)


def downgrade() -> None:
    op.execute("DROP TABLE outbox, deliveries, shipments, reservations, stock")
