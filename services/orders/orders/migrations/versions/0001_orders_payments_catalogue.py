"""Orders, payments, parked orders, the catalogue, the outbox, and the sandbox gateway's ledger."""

from alembic import op

revision = "0001"
down_revision = None

_STATEMENTS = """
CREATE TABLE orders (
    id uuid PRIMARY KEY,
    customer_id text NOT NULL,
    email text NOT NULL,
    lines jsonb NOT NULL,
    total bigint NOT NULL CHECK (total >= 0),
    currency text NOT NULL,
    status text NOT NULL,
    version integer NOT NULL,
    reason text,
    idempotency_key text,
    request_hash text NOT NULL,
    cancel_requested_at timestamptz,
    withdrawn_at timestamptz,
    placed_at timestamptz NOT NULL,
    closed_at timestamptz,
    -- Orders without a key are never equal: NULLs are distinct.
    CONSTRAINT orders_idempotency UNIQUE (customer_id, idempotency_key),
    CONSTRAINT orders_closed_at CHECK (
        (closed_at IS NOT NULL) = (status IN ('CONFIRMED', 'REJECTED', 'CANCELLED'))
    )
);
-- Newest first by customer: UUIDv7 sorts by time.
CREATE INDEX orders_by_customer ON orders (customer_id, id DESC);
-- What is open is few, whatever the table's size.
CREATE INDEX orders_open ON orders (placed_at) WHERE status IN ('PLACED', 'PARKED');

-- The state machine of an order's status, enforced here so that no statement, however it came
-- to be written, can overwrite a final status.
CREATE TABLE order_transitions (
    before text NOT NULL,
    after text NOT NULL,
    PRIMARY KEY (before, after)
);
INSERT INTO order_transitions VALUES
    ('PLACED', 'CONFIRMED'), ('PLACED', 'REJECTED'), ('PLACED', 'CANCELLED'), ('PLACED', 'PARKED'),
    ('PARKED', 'REJECTED'), ('PARKED', 'CANCELLED');

CREATE FUNCTION refuse_unlisted_transition() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'INSERT' THEN
        IF NEW.status <> 'PLACED' THEN
            RAISE EXCEPTION 'an order begins PLACED, not %', NEW.status
                USING ERRCODE = 'check_violation';
        END IF;
    ELSIF NEW.status <> OLD.status AND NOT EXISTS (
        SELECT FROM order_transitions WHERE before = OLD.status AND after = NEW.status
    ) THEN
        RAISE EXCEPTION 'order % cannot go from % to %', OLD.id, OLD.status, NEW.status
            USING ERRCODE = 'check_violation';
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER orders_transition BEFORE INSERT OR UPDATE OF status ON orders
    FOR EACH ROW EXECUTE FUNCTION refuse_unlisted_transition();

CREATE TABLE parked_orders (
    order_id uuid PRIMARY KEY REFERENCES orders (id),
    step text NOT NULL,
    cause text NOT NULL,
    task_token text NOT NULL,
    parked_at timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE payments (
    order_id uuid PRIMARY KEY,
    status text NOT NULL CHECK (
        status IN ('pending', 'charged', 'declined', 'refunding', 'refunded', 'void')
    ),
    amount bigint NOT NULL CHECK (amount >= 0),
    currency text NOT NULL,
    gateway_ref text,
    updated_at timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE catalogue (
    sku text PRIMARY KEY,
    name text NOT NULL,
    unit_price bigint NOT NULL CHECK (unit_price >= 0),
    currency text NOT NULL,
    version integer NOT NULL
);

CREATE TABLE outbox (
    seq bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    id uuid NOT NULL UNIQUE,
    destination text NOT NULL,
    type text NOT NULL,
    subject text NOT NULL,
    body jsonb NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    published_at timestamptz,
    attempts integer NOT NULL DEFAULT 0,
    last_error text
);
CREATE INDEX outbox_waiting ON outbox (subject, seq) WHERE published_at IS NULL;

-- Stands for another company's system: nothing else here reads or joins it.
CREATE SCHEMA sandbox_gateway;
CREATE TABLE sandbox_gateway.ledger (
    key text PRIMARY KEY,
    status text NOT NULL CHECK (status IN ('captured', 'declined', 'reversed', 'barred')),
    amount bigint NOT NULL,
    currency text NOT NULL,
    ref text NOT NULL,
    captured_at timestamptz,
    reversed_at timestamptz
);
"""


def upgrade() -> None:
    op.execute(_STATEMENTS)


def downgrade() -> None:
    raise NotImplementedError("migrations only go forward; restore a backup to go back")
