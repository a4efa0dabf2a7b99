"""Orders that lost their saga are brought to their end; those that have one are left alone.

The reconciler works on whatever it finds, also while it is scheduled beside these tests: a test
looks at its own orders only, and asks again until they are as they should be.
"""

import os
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from orders.adapters.catalogue import SqlCatalogue
from orders.adapters.order_book import SqlOrderBook
from orders.domain import WantedLine
from orders.use_cases import Placed, PlaceOrder, place_order
from shared.contracts.saga import encoded, undo_document, undo_name
from shared.errors import TransientFault
from shared.ids import uuid7
from tests.chaos.ground import Ground
from tests.support.cloud import ACCOUNT, REGION, Cloud
from tests.support.polling import eventually
from tests.support.shop import Answer, Customer, Shop

ROOT = Path(__file__).parents[2]
EXECUTION = f"arn:aws:states:{REGION}:{ACCOUNT}:execution:local-orderflow-place-order:"
MACHINE = EXECUTION.replace(":execution:", ":stateMachine:").rstrip(":")


def age(cloud: Cloud, order_id: str) -> None:
    """Let the order have been placed long enough ago for its saga to be missed."""
    engine = sa.create_engine(cloud.database_url("orders"), poolclass=sa.NullPool)
    with engine.begin() as connection:
        connection.execute(
            sa.text("UPDATE orders SET placed_at = placed_at - :more WHERE id = :id"),
            {"more": timedelta(minutes=10), "id": order_id},
        )


def reconcile(cloud: Cloud, order_id: str, *, dry_run: bool = False) -> list[Answer]:
    """Reconcile; return what is found about one order."""
    found = cloud.invoke("operations-local-reconcile", {"dry_run": dry_run})["findings"]
    return [each for each in found if each["order_id"] == order_id]


def repaired(cloud: Cloud, order_id: str, name: str) -> None:
    """Reconcile until the order's repair of this name was started, here or by the schedule."""

    def probe() -> bool:
        found = reconcile(cloud, order_id)
        assert all(each["execution"] == name for each in found), found
        return execution(cloud, name) is not None

    eventually(probe, f"{name} is started", within=90, every=1)


def execution(cloud: Cloud, name: str) -> Answer | None:
    """Return an execution of the saga, if there is one."""
    client = cloud.client("stepfunctions")
    try:
        found: Answer = client.describe_execution(executionArn=EXECUTION + name)
    except client.exceptions.ExecutionDoesNotExist:
        return None
    return found


def test_an_order_whose_saga_was_stopped_half_way_is_undone_and_closed(
    cloud: Cloud, shop: Shop, ground: Ground, customer: Customer
) -> None:
    sku = shop.stock(1)
    # The money is captured, and the saga ends before it hears of it.
    with ground.unheard("Charge Payment", sku, customer=customer) as order_id:
        cloud.client("stepfunctions").stop_execution(executionArn=EXECUTION + order_id)
        assert ground.kept(order_id).captured
    assert shop.order(order_id)["status"] == "PLACED"
    age(cloud, order_id)

    repaired(cloud, order_id, undo_name(order_id, 1))

    order = shop.closed(order_id)
    assert (order["status"], order["reason"]) == ("REJECTED", "ABANDONED")
    shop.told(customer, "not accepted")
    shop.can_buy_exactly(sku, 1)
    steps = [(step["step"], step["outcome"]) for step in shop.timeline(order_id)]
    assert [name for name, _ in steps[:2]] == ["Reserve Stock", "Charge Payment"]
    assert steps[2:] == [
        ("Withdraw Confirmation", "withdrawn"),
        ("Cancel Shipment", "cancelled"),
        ("Refund Payment", "refunded"),
        ("Release Stock", "released"),
        ("Close Order", "closed"),
    ]
    # Twice is safe: nothing is left to repair, and nothing more is started.
    assert reconcile(cloud, order_id) == []
    assert execution(cloud, undo_name(order_id, 2)) is None


class NoAnswer:
    """Step Functions, on the day that it did not answer."""

    def start(self, name: str, document: dict[str, Any]) -> None:  # noqa: ARG002
        raise TransientFault("no answer")


def orphan(cloud: Cloud, sku: str, customer: Customer) -> str:
    """Commit an order whose saga nobody will start: its start is marked as done, and was not."""
    engine = sa.create_engine(cloud.database_url("orders"), poolclass=sa.NullPool)
    placed = place_order(
        PlaceOrder(customer.id, customer.email, "EUR", (WantedLine(sku, 1),), "tok_visa"),
        catalogue=SqlCatalogue(engine),
        orders=SqlOrderBook(engine),
        saga=NoAnswer(),
        new_id=uuid7,
        now=lambda: datetime.now(UTC),
    )
    assert isinstance(placed, Placed)
    order_id = str(placed.order.id)
    with engine.begin() as connection:
        connection.execute(
            sa.text(
                "UPDATE outbox SET published_at = now()"
                " WHERE subject = :id AND destination = 'saga' AND published_at IS NULL"
            ),
            {"id": order_id},
        )
    assert execution(cloud, order_id) is None, "the relay was faster"
    return order_id


def test_an_order_without_a_saga_gets_it_and_is_confirmed(
    cloud: Cloud, shop: Shop, customer: Customer
) -> None:
    order_id = orphan(cloud, shop.stock(1), customer)
    assert reconcile(cloud, order_id) == [], "it is too young to be missed"
    age(cloud, order_id)

    repaired(cloud, order_id, order_id)

    assert shop.closed(order_id)["status"] == "CONFIRMED"
    shop.told(customer, "confirmed")
    assert reconcile(cloud, order_id) == []


def test_an_order_that_was_cancelled_before_it_had_a_saga_is_cancelled(
    cloud: Cloud, shop: Shop, customer: Customer
) -> None:
    sku = shop.stock(1)
    order_id = orphan(cloud, sku, customer)
    assert shop.cancel(order_id).status_code == 202
    age(cloud, order_id)

    repaired(cloud, order_id, undo_name(order_id, 1))

    order = shop.closed(order_id)
    assert (order["status"], order["reason"]) == ("CANCELLED", "CUSTOMER_REQUEST")
    assert shop.timeline(order_id)[0]["step"] == "Withdraw Confirmation"
    shop.can_buy_exactly(sku, 1)


def test_a_dry_run_tells_and_changes_nothing(cloud: Cloud, shop: Shop, customer: Customer) -> None:
    order_id = orphan(cloud, shop.stock(1), customer)
    age(cloud, order_id)

    found = reconcile(cloud, order_id, dry_run=True)

    # The schedule, or a test beside this one, may have repaired it before; a dry run never does.
    assert found or execution(cloud, order_id)
    assert [(each["execution"], each["done"]) for each in found] in ([], [(order_id, False)])
    reconcile(cloud, order_id)
    assert shop.closed(order_id)["status"] == "CONFIRMED"


def test_make_reconcile_prints_what_it_found(cloud: Cloud) -> None:
    answer = subprocess.run(
        [sys.executable, ROOT / "tools/reconcile.py", "--dry-run"],
        env={**os.environ, "ORDERFLOW_PORT": str(cloud.port)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert answer.returncode == 0, answer.stderr
    assert "would be repaired" in answer.stdout


def test_a_saga_that_runs_is_not_touched_however_old_its_order_is(
    cloud: Cloud, shop: Shop, ground: Ground
) -> None:
    with ground.held(shop.stock(1)) as order_id:
        age(cloud, order_id)
        assert reconcile(cloud, order_id) == []
        running = execution(cloud, order_id)
        assert running is not None
        assert running["status"] == "RUNNING"

    assert shop.closed(order_id)["status"] == "CONFIRMED"
    assert execution(cloud, undo_name(order_id, 1)) is None


@pytest.mark.parametrize("token", ["tok_visa", "tok_declined"])
def test_undoing_an_order_that_is_closed_changes_nothing(
    cloud: Cloud, shop: Shop, token: str
) -> None:
    sku = shop.stock(1)
    before = shop.buy({sku: 1}, token=token)
    order_id = before["order_id"]
    name = f"{order_id}-by-hand"

    end = undone(cloud, name, undo_document(order_id))

    assert end["status"] == "SUCCEEDED"
    assert shop.order(order_id) == before
    shop.can_buy_exactly(sku, 0 if token == "tok_visa" else 1)


def test_undoing_an_order_that_nobody_knows_fails_at_once_and_does_nothing(cloud: Cloud) -> None:
    order_id = str(uuid7())

    end = undone(cloud, f"{order_id}-by-hand", undo_document(order_id))

    assert (end["status"], end["error"]) == ("FAILED", "UnknownOrder")
    assert cloud.commands(f"{order_id}-by-hand") == []


def undone(cloud: Cloud, name: str, document: dict[str, Any]) -> Answer:
    """Start an undo by hand; return its execution once it has ended."""
    cloud.client("stepfunctions").start_execution(
        stateMachineArn=MACHINE, name=name, input=encoded(document)
    )

    def probe() -> Answer | None:
        found = execution(cloud, name)
        return found if found and found["status"] != "RUNNING" else None

    return eventually(probe, f"{name} has ended") or {}
