"""What nothing needs any more, in Postgres: facts about products that newer ones have overtaken."""

import sqlalchemy as sa

from shared.cleaning import clean_up

# What precedes the newest listing of its product; that one stays, however old: the catalogue is
# audited against it. Read in the outbox's order and no further than the first row too young.
_OUTBOX = """
    DELETE FROM outbox
    WHERE seq IN (
        SELECT old.seq FROM outbox old
        JOIN (
            SELECT subject, max(seq) AS seq FROM outbox
            WHERE type = 'product.listed.v1' AND published_at IS NOT NULL
            GROUP BY subject
        ) newest ON newest.subject = old.subject AND newest.seq > old.seq
        WHERE old.published_at IS NOT NULL
          AND old.seq < coalesce((
              SELECT young.seq FROM outbox young
              WHERE young.created_at >= now() - make_interval(days => :days)
              ORDER BY young.seq LIMIT 1
          ), 9223372036854775807)
        ORDER BY old.seq LIMIT :batch
        FOR UPDATE OF old SKIP LOCKED
    )
"""
# The newest listings are looked up anew by each batch, at the price of reading the outbox.
_BATCH = 5000


class SqlAttic:
    """What is old in the inventory's database."""

    def __init__(self, engine: sa.Engine, *, outbox_days: int) -> None:
        self._engine = engine
        self._outbox_days = outbox_days

    def empty_outbox(self, *, seconds: float) -> int:
        """Delete old facts that newer ones have overtaken."""
        return clean_up(
            self._engine, _OUTBOX, {"days": self._outbox_days}, seconds=seconds, batch=_BATCH
        )
