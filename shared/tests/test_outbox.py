"""What commits is delivered, at least once, in order, and a failure leaves its trace."""

import threading
from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from functools import partial
from itertools import chain, count
from typing import Any

import msgspec
import pytest
import sqlalchemy as sa

from shared.contracts.inventory import StockLow
from shared.envelope import read, read_data
from shared.errors import MessageTooLarge
from shared.outbox import (
    EVENTS,
    HELD_BACK,
    MAX_BYTES,
    OVERHEAD_BYTES,
    RELAY_BATCH,
    Outbox,
    Waiting,
    fact_row,
    raw_row,
)
from shared.publisher import FactPublisher
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


def relay(
    outbox: Outbox,
    older_than: timedelta = NO_AGE,
    *,
    batch: int = RELAY_BATCH,
    seconds_each: float = 0,
) -> int:
    """Relay with 60 seconds of time, of which each batch takes `seconds_each`."""
    # Looked at once at the start, and once before each batch.
    clock = chain([0.0], count(0.0, seconds_each))
    return outbox.relay(older_than=older_than, seconds=60, batch=batch, clock=partial(next, clock))


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


def longest() -> str:
    """Return the longest name of a product whose fact can still leave."""
    room = len(msgspec.json.encode(fact(1, "")["body"])) + OVERHEAD_BYTES
    # The sku stands in the envelope and in its data.
    return "x" * ((MAX_BYTES - room) // 2)


def test_a_fact_that_no_topic_takes_is_refused_by_name_and_size() -> None:
    assert fact(1, longest())
    sku = longest() + "x"
    with pytest.raises(
        MessageTooLarge, match=r"stock\.low\.v1 about x+: \d{6} bytes, 261944 at most"
    ):
        fact(1, sku)
    with pytest.raises(MessageTooLarge, match=r"saga\.start about o-1: \d{6} bytes"):
        raw_row("saga", "saga.start", "o-1", {"lines": "€" * 90_000})


def test_a_refused_fact_takes_the_effect_that_it_tells_of_with_it(
    postgres: sa.Engine, table: sa.Table
) -> None:
    def reserve(sku: str) -> None:
        with postgres.begin() as connection:
            connection.execute(sa.insert(table).values(fact(1)))  # stands for the effect
            connection.execute(sa.insert(table).values(fact(2, sku)))

    with pytest.raises(MessageTooLarge):
        reserve(longest() + "x")
    assert state(postgres, table) == []
    reserve(longest())
    destination = Destination()
    assert Outbox(postgres, table, destination).relay(older_than=NO_AGE, seconds=60) == 2


def test_the_largest_fact_fits_into_a_call_once_it_has_been_in_the_database(
    postgres: sa.Engine, table: sa.Table
) -> None:
    append(postgres, table, fact(1, longest()))
    sent: list[Any] = []

    class Topic:
        def publish_batch(self, **call: Any) -> Any:
            sent.extend(call["PublishBatchRequestEntries"])
            return {"Failed": []}

    publisher = FactPublisher(Topic(), "arn")
    assert Outbox(postgres, table, publisher).relay(older_than=NO_AGE, seconds=60) == 1
    assert MAX_BYTES - OVERHEAD_BYTES - 2 <= len(sent[0]["Message"]) <= MAX_BYTES


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
    assert relay(outbox) == 1
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
    assert relay(outbox) == 1
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
    assert relay(Outbox(postgres, table, destination), timedelta(seconds=10)) == 1
    assert destination.accepted == [1]


def test_the_relay_takes_the_oldest_first_in_batches_until_nothing_is_left(
    postgres: sa.Engine, table: sa.Table
) -> None:
    append(postgres, table, *(fact(n, f"S{n}") for n in range(5)))
    destination = Destination()
    assert relay(Outbox(postgres, table, destination), batch=2) == 5
    assert [len(batch) for batch in destination.batches] == [2, 2, 1]
    assert destination.accepted == list(range(5))


def test_the_relay_begins_no_batch_that_it_may_not_live_to_commit(
    postgres: sa.Engine, table: sa.Table
) -> None:
    append(postgres, table, *(fact(n, f"S{n}") for n in range(9)))
    destination = Destination()
    # It has 60 seconds, and each batch takes 25.
    assert relay(Outbox(postgres, table, destination), batch=2, seconds_each=25) == 6
    assert destination.accepted == list(range(6))


def test_the_relay_drains_ten_thousand_rows_in_one_run(
    postgres: sa.Engine, table: sa.Table
) -> None:
    many = 10_000
    with postgres.begin() as connection:
        connection.execute(
            sa.text(
                "INSERT INTO outbox (id, destination, type, subject, body)"
                " SELECT gen_random_uuid(), 'events', 'stock.low.v1', 'S' || n,"
                " jsonb_build_object('data', jsonb_build_object('version', n))"
                " FROM generate_series(0, :last) n ORDER BY n"
            ),
            {"last": many - 1},
        )
    destination = Destination()
    assert relay(Outbox(postgres, table, destination)) == many
    assert destination.accepted == list(range(many))
    assert state(postgres, table) == [(True, 1, None)] * many


def test_rows_that_never_leave_do_not_stop_those_behind_them(
    postgres: sa.Engine, table: sa.Table
) -> None:
    append(postgres, table, *(fact(n, f"S{n}") for n in range(6)))
    # The whole first batch, for ever.
    destination = Destination(lambda row: "TooLarge" if row.body["data"]["version"] < 2 else None)
    outbox = Outbox(postgres, table, destination)
    assert relay(outbox, batch=2) == 4
    assert relay(outbox, batch=2) == 0
    assert destination.accepted == [2, 3, 4, 5]
    assert state(postgres, table) == [(False, 2, "TooLarge")] * 2 + [(True, 1, None)] * 4


def test_a_row_that_fails_holds_back_its_subject_in_later_batches_and_nobody_else(
    postgres: sa.Engine, table: sa.Table
) -> None:
    append(postgres, table, fact(1), fact(2, "TEA"), fact(3), fact(4, "TEA"), fact(5), fact(6))
    destination = Destination(lambda row: "busy" if row.body["data"]["version"] == 1 else None)
    outbox = Outbox(postgres, table, destination)
    assert relay(outbox, batch=2) == 2
    assert destination.accepted == [2, 4]
    assert [error for *_, error in state(postgres, table)] == [
        "busy",
        None,
        HELD_BACK,
        None,
        HELD_BACK,
        HELD_BACK,
    ]
    destination.refuse = lambda _: None
    destination.batches.clear()
    assert relay(outbox, batch=2) == 4
    assert destination.accepted == [1, 3, 5, 6]  # in their order, once the first could leave


def test_a_start_that_fails_does_not_hold_back_the_facts_of_its_order(
    postgres: sa.Engine, table: sa.Table
) -> None:
    start = raw_row("saga", "saga.start", "MUG", {"data": {"version": 0}})
    append(postgres, table, start, fact(1), fact(2))
    destination = Destination(lambda row: "away" if row.destination == "saga" else None)
    assert relay(Outbox(postgres, table, destination), batch=1) == 2
    assert destination.accepted == [1, 2]


def test_a_relay_that_dies_between_publishing_and_its_commit_publishes_again(
    postgres: sa.Engine, table: sa.Table
) -> None:
    """At least once: the same message under the same id, which consumers know again."""
    append(postgres, table, fact(1), fact(2))
    first, again = Destination(), Destination()

    def deliver_and_die(rows: Sequence[Waiting]) -> Mapping[int, str]:
        answer = first(rows)
        with second(postgres) as other, other.begin() as connection:
            # The server loses the relay as it does when the process is killed.
            killed = connection.execute(
                sa.text(
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                    " WHERE datname = current_database() AND pid <> pg_backend_pid()"
                )
            )
            assert killed.scalars().all() == [True]
        return answer

    with pytest.raises(sa.exc.OperationalError):
        relay(Outbox(postgres, table, deliver_and_die))
    assert state(postgres, table) == [(False, 0, None)] * 2
    assert relay(Outbox(postgres, table, again)) == 2
    assert [row.body for row in again.batches[0]] == [row.body for row in first.batches[0]]


def test_two_relays_at_once_deliver_each_row_once(postgres: sa.Engine, table: sa.Table) -> None:
    append(postgres, table, *(fact(n, f"S{n}") for n in range(4)))
    holding, let_go = threading.Event(), threading.Event()

    def slow(rows: Sequence[Waiting]) -> Mapping[int, str]:
        holding.set()
        assert let_go.wait(timeout=20)
        return first(rows)

    first, other = Destination(), Destination()
    worker = threading.Thread(
        # In one batch, after which its time is up.
        target=lambda: relay(Outbox(postgres, table, slow), batch=3, seconds_each=60)
    )
    worker.start()
    try:
        assert holding.wait(timeout=20)
        with second(postgres) as engine:
            # The rows that the first one holds are skipped, not waited for.
            assert relay(Outbox(engine, table, other)) == 1
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
