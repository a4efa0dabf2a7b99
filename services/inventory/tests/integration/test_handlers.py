"""The functions with captured events, a real Postgres, and AWS as one small server."""

import io
import json
import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from importlib import import_module
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest
import sqlalchemy as sa

from inventory.adapters.tables import outbox, stock
from inventory.domain import tracking_of
from tests.support.invocation import Invocation

from .conftest import FakeAws

Lines = Callable[[], list[dict[str, Any]]]

EVENTS = Path(__file__).parents[1] / "events"

# What the captured events hold, and each test replaces.
ORDER, SKU, TOKEN = "0199a3b2-7c41-7d52-8e5f-3a6b9c0d1e2f", "CUP-BLUE", "TASK-TOKEN"


def function(name: str) -> Any:
    """Import a function as Lambda does; its settings must stand by then."""
    return import_module(f"inventory.handlers.{name}").handler


def invoke(name: str, event: Any) -> Any:
    return function(name)(event, Invocation())


def event(name: str, *, order: str, sku: str = SKU) -> Any:
    text = (EVENTS / f"{name}.json").read_text()
    return json.loads(text.replace(ORDER, order).replace(SKU, sku).replace(TOKEN, f"token-{order}"))


def deliver(units: int) -> str:
    """Receive so many units of a new sku; return it."""
    sku = uuid4().hex
    product = {"sku": sku, "name": "Mug", "unit_price": 900, "currency": "EUR", "quantity": units}
    invoke("receive_stock", {"delivery_id": f"d-{sku}", "products": [product]})
    return sku


def on_shelf(postgres: sa.Engine, sku: str) -> tuple[int, ...]:
    columns = (stock.c.available, stock.c.reserved, stock.c.shipped)
    with postgres.connect() as connection:
        return tuple(connection.execute(sa.select(*columns).where(stock.c.sku == sku)).one())


@pytest.fixture
def lines(aws: FakeAws) -> Iterator[Lines]:
    """Return what reads the log lines that the functions have written so far."""
    assert aws.server_port  # the functions' settings stand
    function("handle_commands")
    (output,) = logging.getLogger("inventory").handlers
    assert isinstance(output, logging.StreamHandler)
    text = io.StringIO()
    before = output.setStream(text)
    yield lambda: [json.loads(line) for line in text.getvalue().splitlines()]
    output.setStream(before)


@pytest.fixture
def gone_topic(aws: FakeAws) -> Iterator[None]:
    aws.topic_is_gone = True
    yield
    aws.topic_is_gone = False


@pytest.mark.parametrize("times", [1, 2])
def test_each_command_takes_effect_once_and_answers_each_time(
    postgres: sa.Engine, aws: FakeAws, times: int
) -> None:
    sku, order = deliver(10), str(uuid4())
    tracking = tracking_of(UUID(order))
    for name, answer, bins in (
        ("reserve", {"outcome": "reserved"}, (8, 2, 0)),
        ("ship", {"outcome": "shipped", "tracking": tracking}, (8, 0, 2)),
        ("cancel_shipment", {"outcome": "cancelled"}, (8, 2, 0)),
        ("release", {"outcome": "released"}, (10, 0, 0)),
    ):
        for _ in range(times):
            aws.replies.clear()
            response = invoke("handle_commands", event(name, order=order, sku=sku))
            assert response == {"batchItemFailures": []}
            assert aws.replies == {f"token-{order}": answer}
        assert on_shelf(postgres, sku) == bins


def test_a_poison_message_fails_alone(postgres: sa.Engine, aws: FakeAws) -> None:
    sku, order = deliver(10), str(uuid4())
    batch = event("batch_with_poison", order=order, sku=sku)
    response = invoke("handle_commands", batch)
    poison = batch["Records"][1]["messageId"]
    assert response == {"batchItemFailures": [{"itemIdentifier": poison}]}
    # Its batch-mates, before and after it, were a reservation and its release.
    assert aws.replies[f"token-{order}"] == {"outcome": "released"}
    assert on_shelf(postgres, sku) == (10, 0, 0)


@pytest.mark.usefixtures("aws")
def test_a_batch_of_nothing_but_poison_fails_message_by_message() -> None:
    batch = event("batch_with_poison", order=str(uuid4()))
    poison = {"Records": [batch["Records"][1]]}
    failed = {"itemIdentifier": batch["Records"][1]["messageId"]}
    assert invoke("handle_commands", poison) == {"batchItemFailures": [failed]}


def test_a_late_reply_is_logged_once_and_the_message_is_done(aws: FakeAws, lines: Lines) -> None:
    sku, order = deliver(10), str(uuid4())
    aws.late_tokens.add(f"token-{order}")
    response = invoke("handle_commands", event("reserve", order=order, sku=sku))
    assert response == {"batchItemFailures": []}
    (late,) = [line for line in lines() if line["message"] != "stock_received"]
    assert late["message"] == "command_answered_late"
    assert (late["order_id"], late["outcome"]) == (order, "reserved")
    assert late["command"] == "inventory.reserve.v1"


def test_one_fact_is_logged_a_message_with_its_order(lines: Lines) -> None:
    order = str(uuid4())
    invoke("handle_commands", event("reserve", order=order, sku="no-such-sku"))
    (fact,) = lines()
    assert fact["message"] == "command_answered"
    assert fact["order_id"] == order
    assert (fact["outcome"], fact["reason"]) == ("refused", "UNKNOWN_SKU")


def test_a_database_that_is_away_fails_the_message_so_that_it_comes_again(
    postgres: sa.Engine, aws: FakeAws
) -> None:
    sku, order = deliver(10), str(uuid4())
    message = event("reserve", order=order, sku=sku)
    function("handle_commands")
    with away(postgres):
        failed = {"itemIdentifier": message["Records"][0]["messageId"]}
        assert invoke("handle_commands", message) == {"batchItemFailures": [failed]}
        assert f"token-{order}" not in aws.replies
    assert invoke("handle_commands", message) == {"batchItemFailures": []}
    assert on_shelf(postgres, sku) == (8, 2, 0)


@contextmanager
def away(postgres: sa.Engine) -> Iterator[None]:
    """Cut every connection to the database, and admit none for a while."""
    name = postgres.url.database
    admin = sa.create_engine(
        postgres.url.set(database="postgres"),
        isolation_level="AUTOCOMMIT",
        poolclass=sa.NullPool,
    )
    cut = sa.text("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = :name")
    with admin.connect() as connection:
        connection.execute(sa.text(f"ALTER DATABASE {name} ALLOW_CONNECTIONS false"))
        connection.execute(cut, {"name": name})
        yield
        connection.execute(sa.text(f"ALTER DATABASE {name} ALLOW_CONNECTIONS true"))


def test_low_stock_is_published_right_after_the_reservation(aws: FakeAws) -> None:
    sku = deliver(7)
    aws.published.clear()
    invoke("handle_commands", event("reserve", order=str(uuid4()), sku=sku))
    (fact,) = aws.published
    assert (fact["type"], fact["subject"], fact["data"]["available"]) == ("stock.low.v1", sku, 5)


@pytest.mark.usefixtures("gone_topic")
def test_a_topic_that_is_away_fails_no_command_and_the_relay_publishes_later(
    postgres: sa.Engine, aws: FakeAws
) -> None:
    sku, order = deliver(7), str(uuid4())
    response = invoke("handle_commands", event("reserve", order=order, sku=sku))
    assert response == {"batchItemFailures": []}
    assert aws.replies[f"token-{order}"] == {"outcome": "reserved"}

    aws.topic_is_gone = False
    aws.published.clear()
    invoke("relay_outbox", {})
    assert [fact for fact in aws.published if fact["subject"] == sku] == []  # not yet its turn
    with postgres.begin() as connection:
        age = sa.func.now() - timedelta(seconds=11)
        connection.execute(sa.update(outbox).where(outbox.c.subject == sku).values(created_at=age))
    # Other tests' facts may be older by now, and one call relays 500 at most.
    while invoke("relay_outbox", {})["relayed"]:
        pass
    ours = [fact["type"] for fact in aws.published if fact["subject"] == sku]
    assert ours == ["product.listed.v1", "stock.low.v1"]
    assert invoke("relay_outbox", {}) == {"relayed": 0}


def test_the_relay_works_through_more_than_one_batch(postgres: sa.Engine, aws: FakeAws) -> None:
    run, many = uuid4().hex, 250
    with postgres.begin() as connection:
        connection.execute(
            sa.text(
                "INSERT INTO outbox (id, destination, type, subject, body, created_at)"
                " SELECT gen_random_uuid(), 'events', 'stock.low.v1', :run || n,"
                " jsonb_build_object('subject', :run || n), now() - interval '1 minute'"
                " FROM generate_series(1, :many) n ORDER BY n"
            ),
            {"run": run, "many": many},
        )
    assert invoke("relay_outbox", {})["relayed"] >= many
    ours = [fact["subject"] for fact in aws.published if fact["subject"].startswith(run)]
    assert ours == [f"{run}{n}" for n in range(1, many + 1)]


def test_a_large_delivery_is_published_in_batches(aws: FakeAws) -> None:
    run = uuid4().hex
    rows = [
        {"sku": f"{run}-{n}", "name": "Mug", "unit_price": 1, "currency": "EUR", "quantity": 1}
        for n in range(25)
    ]
    answer = invoke("receive_stock", {"delivery_id": run, "products": rows})
    assert answer == {"delivery_id": run, "products": 25, "units": 25, "duplicate": False}
    ours = [fact["subject"] for fact in aws.published if fact["subject"].startswith(run)]
    assert len(ours) == len(set(ours)) == 25


@pytest.mark.usefixtures("aws")
def test_a_delivery_that_cannot_be_received_names_the_fields() -> None:
    with pytest.raises(Exception, match=r"delivery_id .*products\[0\]\.name"):
        invoke("receive_stock", {"delivery_id": "", "products": [{}]})


@pytest.mark.usefixtures("aws")
def test_migrate_answers_the_revision() -> None:
    assert invoke("migrate", {}) == {"revision": "0002"}
