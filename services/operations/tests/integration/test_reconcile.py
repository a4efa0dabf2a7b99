"""Every kind of finding on both real databases, made and mended by the services' own code."""

import importlib
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import boto3
import pytest
import sqlalchemy as sa

import inventory.use_cases as stockroom
import orders.use_cases as office
from inventory.adapters.books import SqlBooks
from inventory.domain import (
    CancelShipment,
    DeliveredProduct,
    Delivery,
    Listing,
    Release,
    Reserve,
    Ship,
)
from operations.adapters.databases import reading
from operations.adapters.executions import StepFunctionsExecutions
from operations.adapters.sagas import Sagas
from operations.adapters.suspects import HORIZON, SqlSuspects
from operations.reconciliation import Reconciled, Repaired, reconcile
from operations.repairs import MAX_UNDOS, Clocks
from orders.adapters.order_book import SqlOrderBook
from orders.adapters.payments import SqlPayments
from orders.adapters.sandbox_gateway import SandboxGateway
from orders.domain import Line, Order, Status
from shared.contracts.saga import undo_document, undo_name
from shared.ids import uuid7
from tests.support.invocation import Invocation
from tests.support.postgres import auditor_url, database
from tests.support.step_functions import MACHINE, FakeStates, step_functions

SERVICES = Path(__file__).parents[3]
CLOCKS = Clocks(timedelta(minutes=5), timedelta(minutes=1), timedelta(hours=1))
LONG_AGO = timedelta(minutes=30)
PRICE = 500


class Quiet:
    """Announces nothing: no test here looks at the outbox."""

    def flush(self, skus: Any) -> None:
        """Publish nothing."""


@dataclass
class World:
    """Two databases, and Step Functions' edge."""

    orders: sa.Engine
    inventory: sa.Engine
    states: FakeStates

    def __post_init__(self) -> None:
        self.book = SqlOrderBook(self.orders)
        self.shelf = SqlBooks(self.inventory)
        self.payments = SqlPayments(self.orders)
        self.gateway = SandboxGateway(self.orders)
        product = DeliveredProduct("CUP", Listing("Cup", PRICE, "EUR"), 10**6)
        stockroom.receive_stock(
            Delivery(str(uuid4()), (product,)), books=self.shelf, announcements=Quiet()
        )

    # What the saga would do.

    def take(self, order_id: str, *steps: "Step") -> None:
        """Take these steps, in order."""
        for step in steps:
            step(self, order_id)

    def place(self, ago: timedelta = LONG_AGO) -> str:
        """Place an order, so long ago."""
        order = Order(
            id=uuid7(),
            customer_id="ada",
            email="ada@example.com",
            currency="EUR",
            lines=(Line("CUP", 1, PRICE),),
            total=PRICE,
            status=Status.PLACED,
            version=1,
            placed_at=datetime.now(UTC) - ago,
        )
        self.book.place(order, {"order_id": str(order.id), "payment_token": "tok"}, None, "hash")
        return str(order.id)

    def reserve(self, order_id: str) -> None:
        """Take the first step."""
        stockroom.reserve(Reserve(UUID(order_id), {"CUP": 1}), books=self.shelf)

    def charge(self, order_id: str, amount: int = PRICE) -> None:
        """Take the second step."""
        office.charge_payment(
            UUID(order_id),
            amount=amount,
            currency="EUR",
            token="tok_visa",
            payments=self.payments,
            gateway=self.gateway,
        )

    def charge_unseen(self, order_id: str) -> None:
        """Let the gateway capture money that `payments` knows nothing of."""
        self.gateway.charge(order_id, amount=PRICE, currency="EUR", token="tok_visa")

    def ship(self, order_id: str) -> None:
        """Take the third step."""
        stockroom.ship(Ship(UUID(order_id)), books=self.shelf)

    def confirm(self, order_id: str) -> None:
        """Take the pivot, long ago."""
        assert self.book.confirm(UUID(order_id)) is Status.CONFIRMED
        self.age(order_id)

    def reject(self, order_id: str) -> None:
        """Close the order, long ago, whatever it holds."""
        assert self.book.close(UUID(order_id), "DECLINED") is Status.REJECTED
        self.age(order_id)

    def park(self, order_id: str) -> None:
        """Park the order with a token."""
        self.book.park(UUID(order_id), "Refund Payment", "no answer", f"token-{order_id}")

    def park_confirmed(self, order_id: str) -> None:
        """Note a token without a change of status, as for an order that was confirmed unknown."""
        self.change(
            "INSERT INTO parked_orders (order_id, step, cause, task_token)"
            " VALUES (:id, 'Withdraw Confirmation', 'no answer', 'token')",
            id=order_id,
        )

    def undo(self, name: str) -> None:
        """Do all that the execution would, with what it was started with, and let it end."""
        document = self.states.document(name)
        order_id = UUID(document["order_id"])
        assert document["undo_from"] == "Withdraw Confirmation"
        office.withdraw_confirmation(order_id, orders=self.book)
        stockroom.cancel_shipment(CancelShipment(order_id), books=self.shelf)
        office.refund_payment(order_id, payments=self.payments, gateway=self.gateway)
        stockroom.release(Release(order_id), books=self.shelf)
        office.close_order(order_id, document, orders=self.book)
        self.states.ended(name, "SUCCEEDED")
        self.age(str(order_id))

    # What a test does behind everyone's back.

    def age(self, order_id: str) -> None:
        """Let the order have been closed long ago, if it is closed."""
        self.change(
            "UPDATE orders SET closed_at = closed_at - interval '10 minutes' WHERE id = :id",
            id=order_id,
        )

    def change(self, statement: str, **values: Any) -> None:
        """Change a row at orders."""
        with self.orders.begin() as connection:
            assert connection.execute(sa.text(statement), values).rowcount

    def look(self, *, dry_run: bool = False) -> Reconciled:
        """Reconcile."""
        client = self.states.client
        return reconcile(
            {"dry_run": dry_run},
            books=SqlSuspects(
                reading(auditor_url(self.orders)),
                reading(auditor_url(self.inventory)),
                Sagas(client, MACHINE),
            ),
            executions=StepFunctionsExecutions(client, MACHINE),
            clocks=CLOCKS,
            clock=lambda: 0,
            seconds=1,
        )

    def found(self, order_id: str, *, dry_run: bool = False) -> list[Repaired]:
        """Reconcile; return what is found about one order."""
        findings = self.look(dry_run=dry_run).findings
        return [found for found in findings if found.order_id == order_id]

    def seen(self, order_id: str) -> tuple[str | None, str | None, str | None]:
        """Reconcile; return the one finding about an order: kind, repair and execution."""
        (found,) = self.found(order_id)
        assert found.fault is None
        assert found.done == (found.execution is not None)
        return found.kind, found.repair, found.execution


@pytest.fixture(scope="module")
def shared_world() -> Iterator[World]:
    with (
        database(SERVICES / "orders/orders/migrations") as orders,
        database(SERVICES / "inventory/inventory/migrations") as inventory,
        step_functions() as states,
    ):
        yield World(orders, inventory, states)


@pytest.fixture
def world(shared_world: World) -> World:
    """Return a world in which nothing else is wrong."""
    for engine, tables in {
        shared_world.orders: "orders, parked_orders, payments, outbox, sandbox_gateway.ledger",
        shared_world.inventory: "reservations, shipments, outbox",
    }.items():
        with engine.begin() as connection:
            connection.execute(sa.text(f"TRUNCATE {tables}"))
    shared_world.states.executions.clear()
    shared_world.states.silent.clear()
    assert shared_world.look().findings == []
    return shared_world


def test_an_order_that_never_had_a_saga_gets_the_one_that_its_outbox_holds(world: World) -> None:
    order_id = world.place()
    assert world.seen(order_id) == ("NO_SAGA", "START", order_id)
    assert world.states.document(order_id) == {"order_id": order_id, "payment_token": "tok"}
    assert world.found(order_id) == [], "it runs"


def test_an_order_whose_payment_token_is_gone_is_undone_instead(world: World) -> None:
    order_id = world.place()
    world.reserve(order_id)
    world.change("DELETE FROM outbox WHERE subject = :id", id=order_id)
    assert world.seen(order_id) == ("NO_SAGA", "UNDO", undo_name(order_id, 1))
    world.undo(undo_name(order_id, 1))
    order = world.book.get(UUID(order_id))
    assert order
    assert (order.status, order.reason) == (Status.REJECTED, "ABANDONED")
    assert world.found(order_id) == []


@pytest.mark.parametrize("given_up", ["cancel_requested_at", "withdrawn_at"])
def test_an_order_that_cannot_be_confirmed_any_more_is_not_charged_first(
    world: World, given_up: str
) -> None:
    order_id = world.place()
    world.change(f"UPDATE orders SET {given_up} = now() WHERE id = :id", id=order_id)
    assert world.seen(order_id)[1:] == ("UNDO", undo_name(order_id, 1))


@pytest.mark.parametrize("age", [timedelta(), CLOCKS.started - timedelta(seconds=20)])
def test_an_order_that_the_relay_may_still_start_is_left_to_it(
    world: World, age: timedelta
) -> None:
    assert world.found(world.place(age)) == []


@pytest.mark.parametrize("status", ["SUCCEEDED", "FAILED", "ABORTED", "TIMED_OUT"])
def test_an_order_whose_saga_has_ended_is_undone(world: World, status: str) -> None:
    order_id = world.place()
    world.take(order_id, *ALL)
    world.states.ended(order_id, status)
    assert world.seen(order_id) == ("SAGA_ENDED", "UNDO", undo_name(order_id, 1))
    world.undo(undo_name(order_id, 1))
    assert world.found(order_id) == []


@pytest.mark.parametrize("ended", [True, False])
def test_a_parked_order_that_nobody_can_resume_is_undone_and_its_token_forgotten(
    world: World, *, ended: bool
) -> None:
    order_id = world.place()
    world.charge(order_id)
    world.park(order_id)
    if ended:
        world.states.ended(order_id)
    name = undo_name(order_id, 1)
    assert world.seen(order_id) == ("SAGA_ENDED" if ended else "NO_SAGA", "UNDO", name)
    assert world.states.document(name) == undo_document(order_id, f"token-{order_id}")
    world.undo(name)
    assert world.book.parked(UUID(order_id)) is None
    assert world.found(order_id) == []


Step = Callable[[World, str], Any]

ALL: tuple[Step, ...] = (World.reserve, World.charge, World.ship)

KEPT: dict[str, tuple[tuple[Step, ...], str]] = {
    "stock": ((World.reserve,), "REJECTED, stock reserved"),
    "money": ((World.charge,), "REJECTED, payment charged, money captured"),
    "all of it": (ALL, "REJECTED, stock shipped, payment charged, money captured"),
    "a charge that nobody knows the end of": (
        (lambda world, order_id: world.payments.open(UUID(order_id), PRICE, "EUR"),),
        "REJECTED, payment pending",
    ),
    "money that our own books know nothing of": (
        (World.charge_unseen,),
        "REJECTED, money captured",
    ),
    "an operator's place": ((World.park,), "REJECTED, an operator is waited for in vain"),
}


@pytest.mark.parametrize("what", KEPT)
@pytest.mark.parametrize("lost", [False, True])
def test_what_a_rejected_order_keeps_is_given_back(world: World, what: str, *, lost: bool) -> None:
    steps, actual = KEPT[what]
    order_id = world.place()
    world.take(order_id, *steps)
    world.reject(order_id)
    if not lost:
        world.states.ended(order_id, "SUCCEEDED")
    (found,) = world.found(order_id)
    assert (found.kind, found.actual, found.done) == ("KEPT", actual, True)
    assert found.execution == undo_name(order_id, 1)
    world.undo(undo_name(order_id, 1))
    assert world.found(order_id) == []


def test_an_order_that_was_closed_just_now_is_not_yet_judged(world: World) -> None:
    order_id = world.place()
    world.reserve(order_id)
    world.book.close(UUID(order_id), "DECLINED")
    world.states.ended(order_id, "SUCCEEDED")
    assert world.found(order_id) == []


INCOMPLETE: dict[str, tuple[tuple[Step, ...], str]] = {
    "not shipped": ((World.reserve, World.charge), "CONFIRMED, not shipped"),
    "not charged": ((World.reserve, World.ship), "CONFIRMED, no payment"),
    "charged too little": (
        (World.reserve, World.ship, lambda world, order_id: world.charge(order_id, 1)),
        "CONFIRMED, payment charged: 1 EUR of 500 EUR, gateway captured: 1 EUR of 500 EUR",
    ),
    "given back behind our books": (
        (*ALL, lambda world, order_id: world.gateway.reverse(order_id)),
        "CONFIRMED, gateway reversed: 500 EUR of 500 EUR",
    ),
    "still waiting": (
        (*ALL, World.park_confirmed),
        "CONFIRMED, an operator is waited for in vain",
    ),
}


@pytest.mark.parametrize("what", INCOMPLETE)
def test_a_confirmed_order_that_lacks_something_is_told_and_not_touched(
    world: World, what: str
) -> None:
    steps, actual = INCOMPLETE[what]
    order_id = world.place()
    world.take(order_id, *steps)
    world.confirm(order_id)
    world.states.ended(order_id, "SUCCEEDED")
    (found,) = world.found(order_id)
    assert (found.kind, found.repair, found.actual) == ("INCOMPLETE", "REPORT", actual)
    assert list(world.states.executions) == [order_id]


def test_a_confirmed_order_that_lacks_nothing_is_in_order(world: World) -> None:
    order_id = world.place()
    world.take(order_id, *ALL)
    world.confirm(order_id)
    assert world.look().findings == []


def test_what_belongs_to_no_order_is_told_and_not_touched(world: World) -> None:
    held, shipped, paid, foreign = str(uuid7()), str(uuid7()), str(uuid7()), f"x-{uuid4()}"
    for order_id in (held, shipped):
        world.reserve(order_id)
    world.ship(shipped)
    world.charge(paid)
    world.gateway.charge(foreign, amount=1, currency="EUR", token="tok_visa")
    world.change("UPDATE payments SET updated_at = now() - interval '1 hour'")
    findings = {found.order_id: found for found in world.look().findings}
    assert {key: found.actual for key, found in findings.items()} == {
        held: "no such order, stock reserved",
        shipped: "no such order, stock shipped",
        paid: "no such order, money captured, payment charged",
        foreign: "no such order, money captured",
    }
    assert {(found.kind, found.repair) for found in findings.values()} == {("STRAY", "REPORT")}
    assert world.states.executions == {}


def test_a_saga_that_runs_for_too_long_is_told_and_not_touched(world: World) -> None:
    late, parked, young = (world.place(CLOCKS.longest * factor) for factor in (2, 2, 0.5))
    world.park(parked)
    for order_id in (late, parked, young):
        world.states.runs(order_id)
    assert world.seen(late) == ("OVERDUE", "REPORT", None)
    assert world.found(parked) == world.found(young) == []
    assert set(world.states.executions) == {late, parked, young}


@pytest.mark.parametrize("name", ["{}", "{}-undo-1", "{}-undo-2"])
@pytest.mark.parametrize("trouble", ["open", "parked", "closed"])
def test_nothing_is_done_beside_what_runs(world: World, name: str, trouble: str) -> None:
    order_id = world.place()
    world.take(order_id, *ALL)
    if trouble == "parked":
        world.park(order_id)
    elif trouble == "closed":
        world.reject(order_id)
    for known in ("{}", "{}-undo-1"):
        world.states.ended(known.format(order_id))
    world.states.runs(name.format(order_id))
    before = dict(world.states.executions)
    assert world.found(order_id) == []
    assert world.states.executions == before


def test_a_saga_that_ended_just_now_may_have_done_more_than_the_books_say(world: World) -> None:
    order_id = world.place()
    world.states.ended(order_id, "ABORTED", ago=CLOCKS.settled.total_seconds() / 2)
    assert world.found(order_id) == []


def test_what_is_as_it_was_after_three_undos_needs_a_person(world: World) -> None:
    order_id = world.place()
    world.states.ended(order_id)
    for number in range(1, MAX_UNDOS + 1):
        assert world.seen(order_id) == ("SAGA_ENDED", "UNDO", undo_name(order_id, number))
        world.states.ended(undo_name(order_id, number), "FAILED")
    assert world.seen(order_id) == ("REPAIR_FAILED", "REPORT", None)


def test_two_runs_at_once_start_the_same_repairs_once(world: World) -> None:
    lost, stopped = world.place(), world.place()
    world.states.ended(stopped)
    client = world.states.client
    first, second = (StepFunctionsExecutions(client, MACHINE) for _ in range(2))
    for name, document in ((lost, {"order_id": lost}), (undo_name(stopped, 1), {"a": 1})):
        first.start(name, document)
        second.start(name, document)
        world.states.ended(name, "SUCCEEDED")
        second.start(name, document)
        assert world.states.executions[name]["status"] == "SUCCEEDED"
    assert len(world.states.executions) == 3


def test_a_dry_run_starts_nothing(world: World) -> None:
    order_id = world.place()
    (found,) = world.found(order_id, dry_run=True)
    assert (found.execution, found.done) == (order_id, False)
    assert world.states.executions == {}


def test_an_execution_that_nobody_can_describe_now_is_left_to_the_next_run(world: World) -> None:
    unclear, lost = world.place(), world.place()
    world.states.silent.add(unclear)
    result = world.look()
    assert (result.repaired, result.failed) == (1, 1)
    assert list(world.states.executions) == [lost]
    world.states.silent.clear()
    assert world.seen(unclear) == ("NO_SAGA", "START", unclear)


def test_what_was_closed_before_the_horizon_is_not_searched_again_and_again(world: World) -> None:
    order_id = world.place()
    world.reserve(order_id)
    world.reject(order_id)
    old = UUID(int=int((datetime.now(UTC) - HORIZON * 1.01).timestamp() * 1000) << 80)
    world.change("UPDATE orders SET id = :old WHERE id = :id", id=order_id, old=old)
    with world.inventory.begin() as connection:
        connection.execute(sa.text("UPDATE reservations SET order_id = :old"), {"old": old})
    assert world.look().findings == []


def test_the_reconciler_can_read_and_not_write(world: World) -> None:
    order_id = world.place()
    engine = reading(auditor_url(world.orders))
    with pytest.raises(sa.exc.ProgrammingError, match="permission denied"), engine.begin() as it:
        it.execute(sa.text("UPDATE orders SET reason = 'X' WHERE id = :id"), {"id": order_id})


@pytest.fixture
def handler(world: World, monkeypatch: pytest.MonkeyPatch) -> Any:
    for name, value in {
        "AWS_ENDPOINT_URL": f"http://127.0.0.1:{world.states.server_port}",
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_DEFAULT_REGION": "us-east-1",
        "POWERTOOLS_SERVICE_NAME": "operations",
        "POWERTOOLS_METRICS_NAMESPACE": "Orderflow/test",
        "ORDERS_DATABASE_URL": auditor_url(world.orders),
        "INVENTORY_DATABASE_URL": auditor_url(world.inventory),
        "PLACE_ORDER_SAGA_ARN": MACHINE,
        "STARTED_SECONDS": "300",
        "SETTLED_SECONDS": "60",
        "SAGAS_SECONDS": "3600",
    }.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(boto3, "DEFAULT_SESSION", None)
    module = importlib.reload(importlib.import_module("operations.handlers.reconcile"))
    return module.handler


def test_the_function_tells_each_finding_in_a_line_and_counts_them(
    world: World,
    handler: Any,
    capsys: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    lost, stray = world.place(), str(uuid7())
    world.reserve(stray)
    answer = json.loads(json.dumps(handler({"source": "aws.events"}, Invocation())))
    assert (answer["repaired"], answer["unrepairable"], answer["failed"]) == (1, 1, 0)
    told = {vars(line)["order_id"]: vars(line) for line in caplog.records}
    assert {(line["msg"], line["dry_run"]) for line in told.values()} == {
        ("order_reconciled", False)
    }
    assert (told[lost]["repair"], told[lost]["execution"]) == ("START", lost)
    assert told[stray]["actual"] == "no such order, stock reserved"
    counted = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert (counted["Repaired"], counted["Unrepairable"]) == ([1], [1])


def test_a_dry_run_of_the_function_counts_nothing(
    capsys: pytest.CaptureFixture[str], world: World, handler: Any
) -> None:
    order_id = world.place()
    answer = handler({"dry_run": True}, Invocation())
    assert [found["order_id"] for found in answer["findings"]] == [order_id]
    assert (answer["dry_run"], answer["repaired"]) == (True, 0)
    assert "Repaired" not in capsys.readouterr().out
    assert world.states.executions == {}
