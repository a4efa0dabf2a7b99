"""Transactional outbox: what must leave the service commits with the effect that it tells of.

A use case appends rows in its own transaction. After the commit the same function flushes its
subject's rows; `relay` picks up, every minute, what a crash left behind. Both mark a row only
once its destination has accepted it, so delivery is at least once, and consumers drop duplicates
by envelope id and stale facts by version. Facts about one subject leave in their order as far
as one run can see to it; two runs at once skip each other's rows, so it is the version that counts.
"""

import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import msgspec
import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import JSONB

from shared.envelope import wrap
from shared.errors import MessageTooLarge
from shared.ids import uuid7

EVENTS = "events"

MAX_BYTES = 262_144
"""256 KiB: what SNS takes in one call, and Step Functions as an input."""

OVERHEAD_BYTES = 200
"""What a message's id and attributes add to its text, generously."""

RELAY_BATCH = 100
"""Small: a batch is a transaction held open while others answer, and counts once it commits."""

HELD_BACK = "held back: an earlier fact about this subject waits"


def outbox_table(metadata: sa.MetaData) -> sa.Table:
    """Declare the outbox in a service's own metadata; `seq` is the order of publication."""
    return sa.Table(
        "outbox",
        metadata,
        sa.Column("seq", sa.BigInteger, sa.Identity(always=True), primary_key=True),
        sa.Column("id", sa.Uuid, nullable=False, unique=True),
        sa.Column("destination", sa.Text, nullable=False),
        sa.Column("type", sa.Text, nullable=False),
        sa.Column("subject", sa.Text, nullable=False),
        sa.Column("body", JSONB, nullable=False),
        sa.Column(
            "created_at",
            sa.DateTime(timezone=True),
            nullable=False,
            server_default=sa.func.now(),
        ),
        sa.Column("published_at", sa.DateTime(timezone=True)),
        sa.Column("attempts", sa.Integer, nullable=False, server_default="0"),
        sa.Column("last_error", sa.Text),
        # What is waiting is few, whatever the table's size: both queries below read only these.
        sa.Index(
            "outbox_waiting",
            "subject",
            "seq",
            postgresql_where=sa.text("published_at IS NULL"),
        ),
    )


@dataclass(frozen=True, slots=True)
class Waiting:
    """A row that no destination has accepted yet; `body` is what to send."""

    seq: int
    destination: str
    type: str
    subject: str
    body: dict[str, Any]


# Sends rows, in order; returns the error text of each row that was not accepted, by `seq`.
Deliver = Callable[[Sequence[Waiting]], Mapping[int, str]]


def fact_row(body: Any, *, source: str, subject: str) -> dict[str, Any]:
    """Return the outbox row (for INSERT) that publishes contract struct `body` as a fact.

    Raise MessageTooLarge for one that could never leave: before it is committed, so that the effect
    which it tells of is not there either. Nobody would hear of it, nor of what comes behind.
    """
    event_id = uuid7()
    message = wrap(body, source=source, subject=subject, event_id=str(event_id))
    _must_fit(body.TYPE, subject, message)
    return {
        "id": event_id,
        "destination": EVENTS,
        "type": body.TYPE,
        "subject": subject,
        "body": message,
    }


def raw_row(destination: str, type_: str, subject: str, body: dict[str, Any]) -> dict[str, Any]:
    """Return the outbox row (for INSERT) of something that is not a fact, such as a saga start.

    Raise MessageTooLarge as `fact_row` does.
    """
    _must_fit(type_, subject, body)
    return {
        "id": uuid7(),
        "destination": destination,
        "type": type_,
        "subject": subject,
        "body": body,
    }


def _must_fit(type_: str, subject: str, body: dict[str, Any]) -> None:
    size = len(msgspec.json.encode(body))
    if size + OVERHEAD_BYTES > MAX_BYTES:
        raise MessageTooLarge(
            f"{type_} about {subject}: {size} bytes, {MAX_BYTES - OVERHEAD_BYTES} at most"
        )


class Outbox:
    """One service's outbox on its own engine."""

    def __init__(self, engine: sa.Engine, table: sa.Table, deliver: Deliver) -> None:
        self._engine = engine
        self._table = table
        self._deliver = deliver

    def flush(self, subject: str, destinations: Collection[str] = (EVENTS,)) -> int:
        """Deliver what waits for `subject`; return how many rows were accepted.

        Call it after the commit, outside any transaction. Rows that another flush or the relay
        is delivering right now are left to it.
        """
        return self.flush_all([subject], destinations)

    def flush_all(
        self, subjects: Collection[str], destinations: Collection[str] = (EVENTS,)
    ) -> int:
        """Do the same for many subjects, in full batches and one transaction; 1000 rows at most."""
        t = self._table
        return self._deliver_where(
            t.c.subject == sa.any_(sa.literal(list(subjects), sa.ARRAY(sa.Text))),
            t.c.destination.in_(destinations),
            limit=1000,
        ).accepted

    def relay(
        self,
        *,
        older_than: timedelta,
        seconds: float,
        batch: int = RELAY_BATCH,
        clock: Callable[[], float] = time.monotonic,
    ) -> int:
        """Deliver what a crash or an outage left behind; return how many rows were accepted.

        Rows waiting for longer than `older_than` are tried once each, oldest first, until none
        is left; no batch is begun once `seconds` are over. A row that fails holds back the later
        ones of its own subject and destination, and nobody else's.
        """
        t = self._table
        accepted, last, start = 0, 0, clock()
        behind: set[tuple[str, str]] = set()
        while clock() - start < seconds:
            done = self._deliver_where(
                t.c.created_at < sa.func.now() - older_than,
                t.c.seq > last,
                limit=batch,
                behind=behind,
            )
            accepted += done.accepted
            if len(done.tried) < batch:
                break
            last = done.tried[-1].seq
            behind |= {(row.destination, row.subject) for row in done.failed}
        return accepted

    def _deliver_where(
        self,
        *conditions: sa.ColumnElement[bool],
        limit: int,
        behind: Collection[tuple[str, str]] = (),
    ) -> "_Delivery":
        """Deliver at most `limit` rows; fail those of the subjects `behind` without trying."""
        t = self._table
        with self._engine.begin() as connection:
            rows = connection.execute(
                sa.select(t.c.seq, t.c.destination, t.c.type, t.c.subject, t.c.body)
                .where(t.c.published_at.is_(None), *conditions)
                .order_by(t.c.seq)
                .limit(limit)
                .with_for_update(skip_locked=True)
            ).all()
            if not rows:
                return _Delivery()
            tried = [Waiting(*row) for row in rows]
            held = [row for row in tried if (row.destination, row.subject) in behind]
            errors = dict.fromkeys((row.seq for row in held), HELD_BACK)
            errors |= self._deliver([row for row in tried if row.seq not in errors])
            done = _Delivery(tried, [row for row in tried if row.seq in errors])
            if done.accepted:
                connection.execute(
                    sa.update(t)
                    .where(t.c.seq.in_(row.seq for row in tried if row.seq not in errors))
                    .values(published_at=sa.func.now(), attempts=t.c.attempts + 1)
                )
            if errors:
                connection.execute(
                    sa.update(t)
                    .where(t.c.seq == sa.bindparam("key"))
                    .values(attempts=t.c.attempts + 1, last_error=sa.bindparam("error")),
                    [{"key": seq, "error": error[:500]} for seq, error in errors.items()],
                )
            return done


@dataclass(frozen=True, slots=True)
class _Delivery:
    """What became of one batch."""

    tried: Sequence[Waiting] = ()
    failed: Sequence[Waiting] = ()

    @property
    def accepted(self) -> int:
        return len(self.tried) - len(self.failed)
