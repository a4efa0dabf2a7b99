"""What commits is delivered, at least once, in order, and a failure leaves its trace."""

import threading
from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from typing import Any

import msgspec
import pytest
import sqlalchemy as sa

from shared.contracts.inventory import StockLow
from shared.envelope import read, read_data
from shared.outbox import EVENTS, Outbox, Waiting, fact_row, raw_row
from tests.support.postgres import second

NO_AGE = timedelta(seconds=-1)
SOURCE = "orderflow.tests"


class Destination:
    """Keeps what it is given; `refuse` answers with the error text of a row, or None."""

    def __init__(self, refuse: Callable[[Waiting], str | None] = lambda _: None) -> None:
        self.batches: list[list[Waiting]] = []
        self.refuse = refuse

    def __call__(self, rows: Sequence[Waiting]) -> Mapping[int, str]:
        self.batches.append(list(rows))
        return {row.seq: error for row in rows if (error := self.refuse(row))}

    @property
    def accepted(self) -> list[int]:
        return [r.body["data"]["version"] for b in self.batches for r in b if not self.refuse(r)]


def fact(version: int, sku: str = "MUG") -> dict[str, Any]:
    return fact_row(StockLow(sku, version, 4, 5), source=SOURCE, subject=sku)


def append(engine: sa.Engine, table: sa.Table, *rows: dict[str, Any]) -> None:
    with engine.begin() as connection:
        for row in rows:
            connection.execute(sa.insert(table).values(row))


def state(engine: sa.Engine, table: sa.Table) -> list[Any]:
    """Return (published, attempts, last error) of each row, in order."""
    with engine.connect() as connection:
        rows = connection.execute(sa.select(table).order_by(table.c.seq))
        return [(row.published_at is not None, row.attempts, row.last_error) for row in rows]


def test_a_flush_delivers_its_subjects_rows_in_order_and_once(
    postgres: sa.Engine, table: sa.Table
) -> None:
    append(postgres, table, fact(1), fact(1, "TEA"), fact(2), fact(3))
    destination = Destination()
    outbox = Outbox(postgres, table, destination)
    assert outbox.flush("MUG") == 3
    assert outbox.flush("MUG") == 0
    assert destination.accepted == [1, 2, 3]
    assert {row.subject for row in destination.batches[0]} == {"MUG"}
    assert state(postgres, table) == [
        (True, 1, None),
        (False, 0, None),
        (True, 1, None),
        (True, 1, None),
    ]


def test_what_is_delivered_is_a_message_with_the_rows_own_id(
    postgres: sa.Engine, table: sa.Table
) -> None:
    row = fact(1)
    append(postgres, table, row)
    destination = Destination()
    Outbox(postgres, table, destination).flush("MUG")
    ((waiting,),) = destination.batches
    envelope = read(msgspec.json.encode(waiting.body))
    assert envelope.id == str(row["id"])
    assert waiting.type == envelope.type == "stock.low.v1"
    assert read_data(envelope, StockLow) == StockLow("MUG", 1, 4, 5)


def test_many_subjects_are_flushed_in_one_batch(postgres: sa.Engine, table: sa.Table) -> None:
    append(postgres, table, fact(1, "A"), fact(2, "B"), fact(3, "C"))
    destination = Destination()
    assert Outbox(postgres, table, destination).flush_all(["A", "C", "none"]) == 2
    assert [[row.subject for row in batch] for batch in destination.batches] == [["A", "C"]]


def test_a_flush_leaves_other_destinations_to_the_relay(
    postgres: sa.Engine, table: sa.Table
) -> None:
    append(postgres, table, raw_row("saga", "saga.start", "MUG", {"data": {"version": 0}}), fact(1))
    destination = Destination()
    outbox = Outbox(postgres, table, destination)
    assert outbox.flush("MUG") == 1
    assert destination.batches[0][0].destination == EVENTS
    assert outbox.relay(older_than=NO_AGE) == 1
    assert destination.batches[1][0].destination == "saga"


def test_a_row_of_a_transaction_that_was_undone_is_never_delivered(
    postgres: sa.Engine, table: sa.Table
) -> None:
    with postgres.connect() as connection:
        connection.execute(sa.insert(table).values(fact(1)))
        connection.rollback()
    destination = Destination()
    assert Outbox(postgres, table, destination).flush("MUG") == 0
    assert destination.batches == []


def test_a_row_that_was_refused_stays_with_its_error_and_goes_the_next_time(
    postgres: sa.Engine, table: sa.Table
) -> None:
    append(postgres, table, fact(1), fact(2))
    destination = Destination(lambda row: "busy" if row.body["data"]["version"] == 2 else None)
    outbox = Outbox(postgres, table, destination)
    assert outbox.flush("MUG") == 1
    assert outbox.flush("MUG") == 0
    assert state(postgres, table) == [(True, 1, None), (False, 2, "busy")]
    destination.refuse = lambda _: None
    assert outbox.relay(older_than=NO_AGE) == 1
    # The last error stays to be read: it says why the row was late.
    assert state(postgres, table) == [(True, 1, None), (True, 3, "busy")]


def test_a_delivery_that_raises_marks_nothing(postgres: sa.Engine, table: sa.Table) -> None:
    append(postgres, table, fact(1))

    def deliver(_: Sequence[Waiting]) -> Mapping[int, str]:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        Outbox(postgres, table, deliver).flush("MUG")
    assert state(postgres, table) == [(False, 0, None)]


def test_a_long_error_is_cut(postgres: sa.Engine, table: sa.Table) -> None:
    append(postgres, table, fact(1))
    Outbox(postgres, table, Destination(lambda _: "x" * 10_000)).flush("MUG")
    assert state(postgres, table) == [(False, 1, "x" * 500)]


def test_the_relay_leaves_young_rows_to_those_who_wrote_them(
    postgres: sa.Engine, table: sa.Table
) -> None:
    append(postgres, table, fact(1), fact(2))
    with postgres.begin() as connection:
        old = sa.func.now() - timedelta(minutes=1)
        first = sa.select(sa.func.min(table.c.seq)).scalar_subquery()
        connection.execute(sa.update(table).where(table.c.seq == first).values(created_at=old))
    destination = Destination()
    assert Outbox(postgres, table, destination).relay(older_than=timedelta(seconds=10)) == 1
    assert destination.accepted == [1]


def test_the_relay_takes_the_oldest_first_and_no_more_than_its_limit(
    postgres: sa.Engine, table: sa.Table
) -> None:
    append(postgres, table, *(fact(n, f"S{n}") for n in range(5)))
    destination = Destination()
    outbox = Outbox(postgres, table, destination)
    while outbox.relay(older_than=NO_AGE, limit=2):
        pass
    assert [len(batch) for batch in destination.batches] == [2, 2, 1]
    assert destination.accepted == list(range(5))


def test_two_relays_at_once_deliver_each_row_once(postgres: sa.Engine, table: sa.Table) -> None:
    append(postgres, table, *(fact(n, f"S{n}") for n in range(4)))
    holding, let_go = threading.Event(), threading.Event()

    def slow(rows: Sequence[Waiting]) -> Mapping[int, str]:
        holding.set()
        assert let_go.wait(timeout=20)
        return first(rows)

    first, other = Destination(), Destination()
    worker = threading.Thread(
        target=lambda: Outbox(postgres, table, slow).relay(older_than=NO_AGE, limit=3)
    )
    worker.start()
    try:
        assert holding.wait(timeout=20)
        with second(postgres) as engine:
            # The rows that the first one holds are skipped, not waited for.
            assert Outbox(engine, table, other).relay(older_than=NO_AGE) == 1
    finally:
        let_go.set()
        worker.join(timeout=20)
    assert first.accepted == [0, 1, 2]
    assert other.accepted == [3]
    assert state(postgres, table) == [(True, 1, None)] * 4


def test_waiting_rows_are_found_by_an_index(postgres: sa.Engine) -> None:
    """The table grows for ever; what waits in it does not."""
    query = "SELECT seq FROM outbox WHERE published_at IS NULL AND subject = ANY(ARRAY['MUG'])"
    with postgres.connect() as connection:
        connection.execute(sa.text("SET LOCAL enable_seqscan = off"))
        plan = connection.execute(sa.text(f"EXPLAIN {query}"))
        assert any("outbox_waiting" in line for (line,) in plan)
