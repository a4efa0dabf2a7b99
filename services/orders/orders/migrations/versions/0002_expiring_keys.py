"""Finds the idempotency keys of closed orders by age, without reading the orders that have none."""

from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    op.execute(
        "CREATE INDEX orders_expiring_keys ON orders (closed_at)"
        " WHERE idempotency_key IS NOT NULL AND closed_at IS NOT NULL"
    )


def downgrade() -> None:
    raise NotImplementedError("migrations only go forward; restore a backup to go back")
