"""What nothing needs any more: keys of orders long closed, and what was told of them."""

import sqlalchemy as sa

from shared.cleaning import clean_up

# The order stays: only its key may be used again.
_KEYS = """
    UPDATE orders SET idempotency_key = NULL
    WHERE id IN (
        SELECT id FROM orders
        WHERE idempotency_key IS NOT NULL AND closed_at < now() - make_interval(days => :days)
        ORDER BY closed_at LIMIT :batch
        FOR UPDATE SKIP LOCKED
    )
"""

# Rows of a closed order alone: an open one may need its saga's start again. The outbox is read in
# its order and no further than the first row that is too young, so that a run reads what is old
# and nothing else.
_OUTBOX = """
    DELETE FROM outbox
    WHERE seq IN (
        SELECT old.seq FROM outbox old
        JOIN orders ON orders.id = old.subject::uuid
        WHERE old.published_at IS NOT NULL
          AND orders.closed_at < now() - make_interval(days => :days)
          AND old.seq < coalesce((
              SELECT young.seq FROM outbox young
              WHERE young.created_at >= now() - make_interval(days => :days)
              ORDER BY young.seq LIMIT 1
          ), 9223372036854775807)
        ORDER BY old.seq LIMIT :batch
        FOR UPDATE OF old SKIP LOCKED
    )
"""


class SqlAttic:
    """What is old in the orders' database."""

    def __init__(self, engine: sa.Engine, *, key_days: int, outbox_days: int) -> None:
        self._engine = engine
        self._key_days = key_days
        self._outbox_days = outbox_days

    def forget_keys(self, *, seconds: float) -> int:
        """Free the idempotency keys of orders that are closed for long enough."""
        return clean_up(self._engine, _KEYS, {"days": self._key_days}, seconds=seconds)

    def empty_outbox(self, *, seconds: float) -> int:
        """Delete what was published about orders that are closed for long enough."""
        return clean_up(self._engine, _OUTBOX, {"days": self._outbox_days}, seconds=seconds)
