"""Each invariant, broken by hand in one place: the audit names exactly what was broken.

`BREAKS` holds one break for each invariant at least; a test compares it with the files.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta

import boto3
import psycopg
import pytest
import sqlalchemy as sa

from inventory.adapters.cleaning import SqlAttic as InventoryAttic
from operations.adapters.invariants import invariants
from operations.domain import Patience
from orders.adapters.cleaning import SqlAttic as OrdersAttic
from tests.support.postgres import auditor_url

from .conftest import AT_ONCE, World

EVERY = [check for place in ("orders", "inventory", "effects") for check in invariants(place)]

# Breaks a world; returns what an audit must name, by invariant: the subjects, and nothing else.
Break = Callable[[World], Mapping[str, Sequence[str]]]
BREAKS: dict[str, list[Break]] = {}


def breaks(invariant: str) -> Callable[[Break], Break]:
    """Register what breaks an invariant."""

    def register(by: Break) -> Break:
        BREAKS.setdefault(invariant, []).append(by)
        return by

    return register


def test_every_invariant_is_broken_by_a_test() -> None:
    assert BREAKS.keys() == {check.name for check in EVERY}


def test_every_invariant_says_itself_in_a_sentence() -> None:
    assert len({check.name for check in EVERY}) == len(EVERY)
    for check in EVERY:
        assert check.sentence[0].isupper(), check.name
        assert check.sentence.endswith("."), check.name


def test_a_world_in_order_is_silent(world: World) -> None:
    found = world.audit()
    assert list(found) == [check.name for check in EVERY]
    assert {name: finding.violations for name, finding in found.items() if finding.count} == {}


# ── money ───────────────────────────────────────────────────────────────────────────────────────


@breaks("a_confirmed_order_was_charged_once")
def a_confirmed_order_was_never_charged(world: World) -> Mapping[str, Sequence[str]]:
    order = world.an_order("CONFIRMED")
    currency = world.one("SELECT currency FROM orders WHERE id = :id", id=order)
    world.change("orders", "DELETE FROM sandbox_gateway.ledger WHERE key = :id", id=order)
    return {
        "a_confirmed_order_was_charged_once": [order],
        "the_gateway_keeps_what_was_confirmed": [currency],
    }


@breaks("a_confirmed_order_was_charged_once")
def a_confirmed_order_was_refunded(world: World) -> Mapping[str, Sequence[str]]:
    order = world.an_order("CONFIRMED")
    currency = world.one("SELECT currency FROM orders WHERE id = :id", id=order)
    world.change(
        "orders",
        "UPDATE sandbox_gateway.ledger SET status = 'reversed' WHERE key = :id",
        "UPDATE payments SET status = 'refunded' WHERE order_id::text = :id",
        id=order,
    )
    return {
        "a_confirmed_order_was_charged_once": [order],
        "the_gateway_keeps_what_was_confirmed": [currency],
        "payments_keep_what_was_confirmed": [currency],
    }


@breaks("an_undone_order_keeps_no_money")
def a_refund_stays_half_done(world: World) -> Mapping[str, Sequence[str]]:
    order = world.one("SELECT order_id FROM payments WHERE status = 'refunded' LIMIT 1")
    world.change(
        "orders", "UPDATE payments SET status = 'refunding' WHERE order_id::text = :id", id=order
    )
    return {"an_undone_order_keeps_no_money": [order]}


@breaks("an_undone_order_keeps_no_money")
@breaks("the_gateway_keeps_what_was_confirmed")
def a_cancelled_order_was_charged(world: World) -> Mapping[str, Sequence[str]]:
    order = world.an_order("CANCELLED")
    world.change(
        "orders",
        "UPDATE sandbox_gateway.ledger SET status = 'captured', amount = 5, currency = 'EUR'"
        " WHERE key = :id",
        id=order,
    )
    return {
        "an_undone_order_keeps_no_money": [order],
        "the_gateway_keeps_what_was_confirmed": ["EUR"],
    }


@breaks("payments_keep_what_was_confirmed")
def a_payment_says_another_amount(world: World) -> Mapping[str, Sequence[str]]:
    order = world.one("SELECT id FROM orders WHERE status = 'CONFIRMED' AND currency = 'JPY'")
    world.change(
        "orders", "UPDATE payments SET amount = amount + 1 WHERE order_id::text = :id", id=order
    )
    return {
        "a_confirmed_order_was_charged_once": [order],
        "payments_keep_what_was_confirmed": ["JPY"],
    }


@breaks("money_belongs_to_an_order")
def a_charge_under_another_key(world: World) -> Mapping[str, Sequence[str]]:
    world.change(
        "orders",
        "INSERT INTO sandbox_gateway.ledger VALUES ('a-second-key', 'captured', 7, 'EUR', 'ch')",
    )
    return {
        "money_belongs_to_an_order": ["a-second-key"],
        "the_gateway_keeps_what_was_confirmed": ["EUR"],
    }


@breaks("money_belongs_to_an_order")
def a_payment_without_an_order(world: World) -> Mapping[str, Sequence[str]]:
    order = "00000000-0000-7000-8000-000000000001"
    world.change("orders", "INSERT INTO payments VALUES (:id, 'charged', 7, 'CHF', 'ch')", id=order)
    return {
        "money_belongs_to_an_order": [order],
        "payments_keep_what_was_confirmed": ["CHF"],
    }


# ── orders ──────────────────────────────────────────────────────────────────────────────────────


@breaks("every_order_ends")
def an_order_is_open_for_too_long(world: World) -> Mapping[str, Sequence[str]]:
    order = world.an_order("PLACED")
    late = timedelta(seconds=AT_ONCE.sagas + AT_ONCE.outboxes + 1)
    world.change(
        "orders",
        "UPDATE orders SET placed_at = now() - CAST(:late AS interval) WHERE id::text = :id",
        id=order,
        late=late,
    )
    return {"every_order_ends": [order]}


@breaks("a_parked_order_has_a_saga")
def a_parked_order_was_forgotten(world: World) -> Mapping[str, Sequence[str]]:
    # Parked as it should be, with its fact and everything; only its saga does not run.
    order = world.an_order("PLACED")
    world.change(
        "orders",
        "UPDATE orders SET status = 'PARKED', version = 2 WHERE id::text = :id",
        "INSERT INTO parked_orders (order_id, step, cause, task_token, parked_at)"
        " SELECT id, 'Close Order', 'x', 't', now() FROM orders WHERE id::text = :id",
        _fact("order.parked.v1", version=2),
        id=order,
    )
    return {"a_parked_order_has_a_saga": [order]}


@breaks("a_parked_order_has_a_saga")
def a_parked_order_was_resumed_and_its_saga_ended(world: World) -> Mapping[str, Sequence[str]]:
    order = world.an_order("PLACED")
    world.change(
        "orders",
        "UPDATE orders SET status = 'PARKED', version = 2 WHERE id::text = :id",
        _fact("order.parked.v1", version=2),
        id=order,
    )
    return {"a_parked_order_has_a_saga": [order]}


@breaks("an_order_was_placed_once")
def an_order_that_nobody_was_told_of(world: World) -> Mapping[str, Sequence[str]]:
    order = world.an_order("PLACED")
    world.change(
        "orders",
        "DELETE FROM outbox WHERE subject = :id AND type = 'order.placed.v1'",
        id=order,
    )
    _forget_mail(world, order, "order.placed.v1")
    return {"an_order_was_placed_once": [order], "an_orders_versions_have_no_gaps": [order]}


@breaks("an_order_was_placed_once")
def a_fact_about_no_order(world: World) -> Mapping[str, Sequence[str]]:
    order = world.an_order("PLACED")
    world.change("orders", "DELETE FROM orders WHERE id::text = :id", id=order)
    # Its reservation was made a moment ago: the order may be younger than the audit's list.
    world.change(
        "inventory",
        "UPDATE reservations SET created_at = now() WHERE order_id::text = :id",
        id=order,
    )
    return {"an_order_was_placed_once": [order]}


@breaks("an_order_ended_once")
def an_end_that_was_not_told(world: World) -> Mapping[str, Sequence[str]]:
    order = world.an_order("CANCELLED")
    world.change(
        "orders",
        "DELETE FROM outbox WHERE subject = :id AND type = 'order.cancelled.v1'",
        id=order,
    )
    _forget_mail(world, order, "order.cancelled.v1")
    return {"an_order_ended_once": [order], "an_orders_versions_have_no_gaps": [order]}


@breaks("an_order_ended_once")
def an_end_that_another_fact_told(world: World) -> Mapping[str, Sequence[str]]:
    order = world.an_order("CANCELLED")
    world.change(
        "orders",
        "UPDATE outbox SET type = 'order.rejected.v1'"
        " WHERE subject = :id AND type = 'order.cancelled.v1'",
        id=order,
    )
    _forget_mail(world, order, "order.cancelled.v1")
    _mail(world, order, "order.rejected.v1", "m-new")
    return {"an_order_ended_once": [order]}


@breaks("an_order_ended_once")
def an_open_order_whose_end_was_told(world: World) -> Mapping[str, Sequence[str]]:
    order = world.an_order("PLACED")
    world.change(
        "orders",
        _fact("order.rejected.v1", version=2),
        "UPDATE orders SET version = 2 WHERE id::text = :id",
        id=order,
    )
    return {"an_order_ended_once": [order]}


@breaks("an_orders_versions_have_no_gaps")
def a_version_that_was_left_out(world: World) -> Mapping[str, Sequence[str]]:
    order = world.an_order("CANCELLED")
    world.change(
        "orders",
        "UPDATE outbox SET body = jsonb_set(body, '{data,version}', '3')"
        " WHERE subject = :id AND type = 'order.cancelled.v1'",
        id=order,
    )
    return {"an_orders_versions_have_no_gaps": [order]}


@breaks("nothing_waits_in_orders_outbox")
def a_fact_that_nobody_publishes(world: World) -> Mapping[str, Sequence[str]]:
    order = world.an_order("PLACED")
    world.change(
        "orders",
        "UPDATE outbox SET published_at = NULL, created_at = now() - interval '301 seconds'"
        " WHERE subject = :id AND type = 'order.placed.v1'",
        id=order,
    )
    return {"nothing_waits_in_orders_outbox": [order]}


@breaks("nothing_waits_in_orders_outbox")
def a_saga_that_nobody_starts(world: World) -> Mapping[str, Sequence[str]]:
    order = world.an_order("PLACED")
    world.change(
        "orders",
        "UPDATE outbox SET published_at = NULL, created_at = now() - interval '301 seconds'"
        " WHERE subject = :id AND type = 'saga.start'",
        id=order,
    )
    return {"nothing_waits_in_orders_outbox": [order]}


# ── stock ───────────────────────────────────────────────────────────────────────────────────────


@breaks("stock_is_conserved")
def a_unit_that_vanished(world: World) -> Mapping[str, Sequence[str]]:
    _without_checks(world)
    world.change("inventory", "UPDATE stock SET available = available - 1 WHERE sku = 'sku-3'")
    return {"stock_is_conserved": ["sku-3"]}


@breaks("stock_is_never_negative")
def a_unit_that_was_sold_twice(world: World) -> Mapping[str, Sequence[str]]:
    _without_checks(world)
    world.change(
        "inventory",
        "UPDATE stock SET received = received - available - 1, available = -1 WHERE sku = 'sku-3'",
        "UPDATE deliveries SET units = units - 101 WHERE delivery_id = 'd-sku-3'",
    )
    return {"stock_is_never_negative": ["sku-3"]}


@breaks("reserved_stock_has_its_reservations")
def a_reservation_that_the_shelf_forgot(world: World) -> Mapping[str, Sequence[str]]:
    world.change(
        "inventory",
        "UPDATE stock SET reserved = reserved + 2, available = available - 2 WHERE sku = 'sku-3'",
    )
    return {"reserved_stock_has_its_reservations": ["sku-3"]}


@breaks("shipped_stock_has_its_shipments")
def a_shipment_that_the_shelf_forgot(world: World) -> Mapping[str, Sequence[str]]:
    world.change(
        "inventory",
        "UPDATE stock SET shipped = shipped - 1, available = available + 1 WHERE sku = 'sku-6'",
    )
    return {"shipped_stock_has_its_shipments": ["sku-6"]}


@breaks("shipped_stock_has_its_shipments")
def a_product_that_was_shipped_and_is_not_there(world: World) -> Mapping[str, Sequence[str]]:
    world.change(
        "inventory",
        "DELETE FROM deliveries WHERE delivery_id = 'd-sku-6'",
        "DELETE FROM stock WHERE sku = 'sku-6'",
    )
    return {
        "shipped_stock_has_its_shipments": ["sku-6"],
        "a_products_versions_have_no_gaps": ["sku-6"],
    }


@breaks("received_stock_was_delivered")
def a_delivery_that_was_received_twice(world: World) -> Mapping[str, Sequence[str]]:
    world.change(
        "inventory",
        "UPDATE stock SET received = received + 5, available = available + 5 WHERE sku = 'sku-3'",
    )
    return {"received_stock_was_delivered": ["all skus"]}


@breaks("a_confirmed_order_was_shipped_once")
def a_confirmed_order_was_never_shipped(world: World) -> Mapping[str, Sequence[str]]:
    order = _confirmed_alone(world)
    world.change(
        "inventory",
        "UPDATE stock SET shipped = shipped - line.units, reserved = reserved + line.units FROM ("
        " SELECT r.lines -> 0 ->> 'sku' AS sku, (r.lines -> 0 ->> 'quantity')::int AS units"
        " FROM reservations r WHERE r.order_id::text = :id) line WHERE stock.sku = line.sku",
        "UPDATE shipments SET status = 'cancelled' WHERE order_id::text = :id",
        id=order,
    )
    return {"a_confirmed_order_was_shipped_once": [order]}


@breaks("a_confirmed_order_was_shipped_once")
def a_confirmed_order_was_shipped_short(world: World) -> Mapping[str, Sequence[str]]:
    order = _confirmed_alone(world)
    world.change(
        "inventory",
        "UPDATE stock SET shipped = shipped + 1, available = available - 1 FROM reservations r"
        " WHERE r.order_id::text = :id AND stock.sku = r.lines -> 0 ->> 'sku'",
        "UPDATE reservations SET lines = jsonb_set(lines, '{0,quantity}',"
        " to_jsonb((lines -> 0 ->> 'quantity')::int + 1)) WHERE order_id::text = :id",
        id=order,
    )
    return {"a_confirmed_order_was_shipped_once": [order]}


@breaks("an_undone_order_holds_no_stock")
def a_rejected_order_keeps_its_reservation(world: World) -> Mapping[str, Sequence[str]]:
    order = world.one("SELECT order_id FROM payments WHERE status = 'declined' LIMIT 1")
    world.change(
        "inventory",
        "UPDATE reservations SET status = 'reserved' WHERE order_id::text = :id",
        "UPDATE stock SET reserved = reserved + line.units, available = available - line.units FROM"
        " (SELECT r.lines -> 0 ->> 'sku' AS sku, (r.lines -> 0 ->> 'quantity')::int AS units"
        " FROM reservations r WHERE r.order_id::text = :id) line WHERE stock.sku = line.sku",
        id=order,
    )
    return {"an_undone_order_holds_no_stock": [order]}


@breaks("an_undone_order_holds_no_stock")
def a_cancelled_order_was_shipped(world: World) -> Mapping[str, Sequence[str]]:
    order = world.an_order("CANCELLED")
    world.change("inventory", "INSERT INTO shipments VALUES (:id, 'shipped', NULL, 'T')", id=order)
    return {"an_undone_order_holds_no_stock": [order]}


@breaks("held_stock_belongs_to_an_order")
def stock_is_held_for_nobody(world: World) -> Mapping[str, Sequence[str]]:
    order = "00000000-0000-7000-8000-000000000001"
    world.change(
        "inventory",
        "INSERT INTO reservations VALUES (:id, 'reserved', NULL,"
        """ '[{"sku": "sku-3", "quantity": 1}]', now() - interval '2 minutes')""",
        "UPDATE stock SET reserved = reserved + 1, available = available - 1 WHERE sku = 'sku-3'",
        id=order,
    )
    return {"held_stock_belongs_to_an_order": [order]}


@breaks("held_stock_belongs_to_an_order")
def a_shipment_to_nobody(world: World) -> Mapping[str, Sequence[str]]:
    order = "00000000-0000-7000-8000-000000000001"
    world.change(
        "inventory",
        "INSERT INTO shipments VALUES (:id, 'shipped', NULL, 'T', now() - interval '2 minutes')",
        id=order,
    )
    return {"held_stock_belongs_to_an_order": [order]}


@breaks("a_products_versions_have_no_gaps")
def a_change_of_a_product_that_was_not_told(world: World) -> Mapping[str, Sequence[str]]:
    world.change("inventory", "UPDATE stock SET version = 2 WHERE sku = 'sku-3'")
    return {"a_products_versions_have_no_gaps": ["sku-3"]}


@breaks("nothing_waits_in_inventorys_outbox")
def a_listing_that_nobody_publishes(world: World) -> Mapping[str, Sequence[str]]:
    world.change(
        "inventory",
        "UPDATE outbox SET published_at = NULL, created_at = now() - interval '301 seconds'"
        " WHERE subject = 'sku-3'",
    )
    return {"nothing_waits_in_inventorys_outbox": ["sku-3"]}


@breaks("the_catalogue_says_what_was_listed")
def a_listing_that_the_catalogue_missed(world: World) -> Mapping[str, Sequence[str]]:
    world.change("orders", "DELETE FROM catalogue WHERE sku = 'sku-3'")
    return {"the_catalogue_says_what_was_listed": ["sku-3"]}


@breaks("the_catalogue_says_what_was_listed")
def a_price_that_nobody_set(world: World) -> Mapping[str, Sequence[str]]:
    world.change("orders", "UPDATE catalogue SET unit_price = 1 WHERE sku = 'sku-3'")
    return {"the_catalogue_says_what_was_listed": ["sku-3"]}


# ── effects ─────────────────────────────────────────────────────────────────────────────────────


@breaks("every_fact_reached_its_consumers")
def a_sale_that_nobody_counted(world: World) -> Mapping[str, Sequence[str]]:
    # And another was counted twice, so that the sums agree.
    order = world.an_order("CONFIRMED")
    _forget_record(world, order, "order.confirmed.v1", "countSales")
    return {"every_fact_reached_its_consumers": [order]}


@breaks("every_fact_reached_its_consumers")
def a_mail_that_was_begun_and_never_sent(world: World) -> Mapping[str, Sequence[str]]:
    order = world.an_order("PARKED")
    record = _forget_record(world, order, "order.parked.v1", "sendEmail")
    world.put(world.consumers.records, {"id": record, "status": "INPROGRESS"})
    return {"every_fact_reached_its_consumers": [order]}


@breaks("every_end_was_mailed")
def an_end_that_was_not_mailed(world: World) -> Mapping[str, Sequence[str]]:
    order = world.an_order("CANCELLED")
    _forget_mail(world, order, "order.cancelled.v1")
    return {"every_end_was_mailed": [order]}


@breaks("no_fact_was_mailed_twice")
def a_fact_that_was_mailed_twice(world: World) -> Mapping[str, Sequence[str]]:
    order = world.an_order("CONFIRMED")
    _mail(world, order, "order.placed.v1", "m-again")
    return {"no_fact_was_mailed_twice": [order]}


@breaks("no_fact_was_mailed_twice")
def a_mail_about_nothing(world: World) -> Mapping[str, Sequence[str]]:
    order = "00000000-0000-7000-8000-000000000001"
    _mail(world, order, "order.confirmed.v1", "m-new")
    return {"no_fact_was_mailed_twice": [order]}


@breaks("sales_are_what_was_confirmed")
def a_sale_that_was_counted_twice(world: World) -> Mapping[str, Sequence[str]]:
    item = world.items(world.consumers.sales)[0]
    world.put(world.consumers.sales, item | {"orders": item["orders"] + 1})
    return {"sales_are_what_was_confirmed": [f"{item['day']} {item['sku']}"]}


@breaks("sales_are_what_was_confirmed")
def a_day_that_was_lost(world: World) -> Mapping[str, Sequence[str]]:
    item = world.items(world.consumers.sales)[0]
    world.take(world.consumers.sales, {name: item[name] for name in ("day", "sku")})
    measures = len(item) - len({"day", "sku"})
    return {"sales_are_what_was_confirmed": [f"{item['day']} {item['sku']}"] * measures}


@breaks("sales_are_what_was_confirmed")
def sales_of_what_nobody_ordered(world: World) -> Mapping[str, Sequence[str]]:
    day = (datetime.now(UTC) - timedelta(days=9)).date().isoformat()
    world.put(world.consumers.sales, {"day": day, "sku": "sku-x", "units": 1})
    return {"sales_are_what_was_confirmed": [f"{day} sku-x"]}


@pytest.mark.parametrize(
    ("invariant", "by"),
    [
        pytest.param(invariant, by, id=f"{invariant}-{by.__name__}")
        for invariant, some in BREAKS.items()
        for by in some
    ],
)
def test_the_audit_names_exactly_what_was_broken(invariant: str, by: Break, world: World) -> None:
    expected = by(world)
    assert invariant in expected
    found = world.violations()
    assert {
        name: [violation.subject for violation in violations] for name, violations in found.items()
    } == {name: list(subjects) for name, subjects in expected.items()}
    for violation in (violation for violations in found.values() for violation in violations):
        assert violation.actual != violation.expected
        assert violation.actual
        assert violation.expected


# ── what is not a violation ─────────────────────────────────────────────────────────────────────


def test_an_order_on_its_way_is_no_violation_whatever_its_effects(world: World) -> None:
    """Open at orders' snapshot; by inventory's it may have got anywhere."""
    order = world.an_order("PLACED")
    world.change(
        "inventory",
        "UPDATE stock SET reserved = reserved - line.units, shipped = shipped + line.units FROM"
        " (SELECT r.lines -> 0 ->> 'sku' AS sku, (r.lines -> 0 ->> 'quantity')::int AS units"
        " FROM reservations r WHERE r.order_id::text = :id) line WHERE stock.sku = line.sku",
        "INSERT INTO shipments VALUES (:id, 'shipped', NULL, 'T')",
        id=order,
    )
    world.change(
        "orders",
        "INSERT INTO sandbox_gateway.ledger VALUES (:id, 'captured', 7, 'EUR', 'ch')",
        "INSERT INTO payments VALUES (:id, 'pending', 7, 'EUR')",
        id=order,
    )
    assert world.violations() == {}


def test_a_reservation_younger_than_the_list_of_orders_is_not_missed(world: World) -> None:
    world.change(
        "inventory",
        "INSERT INTO reservations VALUES (:id, 'reserved', NULL, "
        """'[{"sku": "sku-3", "quantity": 1}]')""",
        "UPDATE stock SET reserved = reserved + 1, available = available - 1 WHERE sku = 'sku-3'",
        id="00000000-0000-7000-8000-000000000001",
    )
    assert world.violations() == {}


def test_what_may_still_be_on_its_way_is_not_missed(world: World) -> None:
    order = world.an_order("CANCELLED")
    _forget_mail(world, order, "order.cancelled.v1")
    _forget_record(world, order, "order.cancelled.v1", "sendEmail")
    world.change("orders", "DELETE FROM catalogue WHERE sku = 'sku-3'")
    item = world.items(world.consumers.sales)[0]
    world.take(world.consumers.sales, {name: item[name] for name in ("day", "sku")})
    assert world.violations() != {}
    assert world.violations(Patience(sagas=3600, outboxes=300, effects=300, deploys=0)) == {}


def test_a_figure_above_what_was_confirmed_is_never_on_its_way(world: World) -> None:
    item = world.items(world.consumers.sales)[0]
    world.put(world.consumers.sales, item | {"units": item["units"] + 1000})
    patient = Patience(sagas=3600, outboxes=300, effects=300, deploys=0)
    assert list(world.violations(patient)) == ["sales_are_what_was_confirmed"]


def test_facts_from_before_the_tables_have_no_effects_in_them(world: World) -> None:
    """The local cloud's tables are new at each start; Postgres keeps its orders."""
    world.change("orders", "UPDATE outbox SET published_at = published_at - interval '1 hour'")
    world.change("inventory", "UPDATE outbox SET published_at = published_at - interval '1 hour'")
    world.change("orders", "DELETE FROM catalogue WHERE sku = 'sku-3'")
    for table, keys in (
        (world.consumers.records, ("id",)),
        (world.consumers.deliveries, ("order_id", "message_id")),
        (world.consumers.sales, ("day", "sku")),
    ):
        for item in world.items(table):
            world.take(table, {name: item[name] for name in keys})
    assert world.violations() == {}


def test_while_a_stack_is_deployed_its_consumers_may_miss_a_fact_or_not(world: World) -> None:
    order = world.an_order("CANCELLED")
    _forget_mail(world, order, "order.cancelled.v1")
    item = world.items(world.consumers.sales)[0]
    world.take(world.consumers.sales, {name: item[name] for name in ("day", "sku")})
    assert world.violations(Patience(sagas=3600, outboxes=300, effects=0, deploys=60)) == {}


def test_a_reconciled_orders_second_execution_counts_as_its_saga(world: World) -> None:
    order = world.an_order("PLACED")
    world.change(
        "orders",
        "UPDATE orders SET status = 'PARKED', version = 2 WHERE id::text = :id",
        _fact("order.parked.v1", version=2),
        id=order,
    )
    assert list(world.violations()) == ["a_parked_order_has_a_saga"]
    boto3.client("stepfunctions").start_execution(
        stateMachineArn=world.state_machine, name=f"{order}-undo-1"
    )
    assert world.violations() == {}


# ── how it reads ────────────────────────────────────────────────────────────────────────────────


def test_violations_are_counted_whole_and_named_to_a_hundred(world: World) -> None:
    world.change(
        "orders",
        "INSERT INTO outbox (id, destination, type, subject, body, published_at)"
        " SELECT gen_random_uuid(), 'events', 'order.placed.v1', 'x-' || i, '{}', '2020-01-01'"
        " FROM generate_series(1, 250) i",
    )
    finding = world.audit()["an_order_was_placed_once"]
    assert finding.count == 250
    assert len(finding.violations) == 100
    assert finding.violations[0].subject == "x-1"


@pytest.mark.parametrize(
    "statement",
    [
        "DELETE FROM orders",
        "UPDATE orders SET total = 0",
        "INSERT INTO parked_orders (order_id) VALUES (NULL)",
        "TRUNCATE outbox",
        "CREATE TABLE mine (n int)",
        "DROP TABLE orders",
    ],
)
def test_the_auditor_cannot_change_anything(healthy: World, statement: str) -> None:
    with (
        psycopg.connect(auditor_url(healthy.orders).replace("+psycopg", "")) as connection,
        pytest.raises(psycopg.errors.InsufficientPrivilege),
    ):
        connection.execute(statement)


def test_an_audit_leaves_nothing_behind(world: World) -> None:
    world.audit()
    for engine in (world.orders, world.inventory):
        with engine.connect() as connection:
            others = connection.execute(
                sa.text("SELECT count(*) FROM pg_stat_activity WHERE usename = 'auditor'"
                        " AND datname = current_database()")
            ).scalar_one()  # fmt: skip
            assert others == 0


# ── breaking things ─────────────────────────────────────────────────────────────────────────────


def _fact(type_: str, *, version: int) -> str:
    """Return the statement that publishes one more fact of order `:id`."""
    return (
        "INSERT INTO outbox (id, destination, type, subject, body, created_at)"
        f" SELECT gen_random_uuid(), 'events', '{type_}', subject,"
        f" jsonb_set(body, '{{data,version}}', '{version}'), now()"
        " FROM outbox WHERE subject = :id AND type = 'order.placed.v1'"
    )


def _confirmed_alone(world: World) -> str:
    """Return a confirmed order of one line."""
    return world.one(
        "SELECT id FROM orders WHERE status = 'CONFIRMED' AND jsonb_array_length(lines) = 1"
        " ORDER BY id LIMIT 1"
    )


def _without_checks(world: World) -> None:
    names = "SELECT conname FROM pg_constraint WHERE conrelid = 'stock'::regclass AND contype = 'c'"
    with world.copy("inventory").begin() as connection:
        for name in connection.execute(sa.text(names)).scalars().all():
            connection.execute(sa.text(f"ALTER TABLE stock DROP CONSTRAINT {name}"))


def _mail(world: World, order: str, type_: str, message_id: str) -> None:
    world.put(
        world.consumers.deliveries, {"order_id": order, "message_id": message_id, "type": type_}
    )


def _forget_mail(world: World, order: str, type_: str) -> None:
    (item,) = (
        item
        for item in world.items(world.consumers.deliveries)
        if (item["order_id"], item["type"]) == (order, type_)
    )
    world.take(
        world.consumers.deliveries, {name: item[name] for name in ("order_id", "message_id")}
    )


def _forget_record(world: World, order: str, type_: str, consumer: str) -> str:
    record = world.one(
        """SELECT :consumer || '#' || encode(sha256(convert_to('"' || id || '"', 'UTF8')), 'hex')"""
        " FROM outbox WHERE subject = :id AND type = :type",
        consumer=consumer,
        id=order,
        type=type_,
    )
    world.take(world.consumers.records, {"id": record})
    return record


# ── after a clean-up ────────────────────────────────────────────────────────────────────────────

_AGES = {
    "orders": (
        """
        UPDATE orders SET placed_at = placed_at - interval '100 days',
            closed_at = closed_at - interval '100 days'
        WHERE status IN ('CONFIRMED', 'REJECTED', 'CANCELLED')
        """,
        """
        UPDATE outbox SET created_at = created_at - interval '100 days',
            published_at = published_at - interval '100 days',
            body = CASE WHEN destination = 'events' THEN jsonb_set(
                body, '{time}', to_jsonb((body ->> 'time')::timestamptz - interval '100 days')
            ) ELSE body END
        FROM orders WHERE orders.id::text = subject AND closed_at IS NOT NULL
        """,
    ),
    "inventory": (
        "UPDATE deliveries SET received_at = received_at - interval '100 days'",
        """
        UPDATE outbox SET created_at = created_at - interval '100 days',
            published_at = published_at - interval '100 days'
        """,
    ),
}


def test_an_audit_is_silent_after_a_clean_up_of_what_is_old(world: World) -> None:
    for database, statements in _AGES.items():
        world.change(database, *statements)
    for item in world.items(world.consumers.sales):
        world.take(world.consumers.sales, {name: item[name] for name in ("day", "sku")})
        day = date.fromisoformat(str(item["day"])) - timedelta(days=100)
        world.put(world.consumers.sales, item | {"day": day.isoformat()})
    assert world.violations() == {}

    attic = OrdersAttic(world.orders, key_days=30, outbox_days=90)
    assert attic.empty_outbox(seconds=60) > 0
    InventoryAttic(world.inventory, outbox_days=90).empty_outbox(seconds=60)

    assert world.violations() == {}
    # Who asked for what is no longer kept would be told of it.
    missed = world.violations(replace(AT_ONCE, facts=1000 * 24 * 3600))
    assert {"an_order_was_placed_once", "an_order_ended_once"} <= missed.keys()


def test_a_fact_that_is_lost_within_what_is_kept_is_found_after_a_clean_up(world: World) -> None:
    order = world.an_order("CONFIRMED")
    world.change(
        "orders",
        "UPDATE orders SET closed_at = now() - interval '50 days' WHERE id = :id",
        "DELETE FROM outbox WHERE subject = CAST(:id AS uuid)::text AND type = 'order.placed.v1'",
        id=order,
    )
    found = world.violations()
    assert [each.subject for each in found["an_order_was_placed_once"]] == [order]
