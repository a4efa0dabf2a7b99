"""What must come of each fault follows from the task's kind, and each cell says why."""

import pytest

from tests.chaos.cells import (
    Cell,
    Fault,
    Lasting,
    background_rules,
    by_order,
    cell_rules,
    generate,
    hold_rule,
    short_form,
)
from tests.chaos.graph import Kind, saga

SAGA = saga()
CELLS = generate(SAGA)
EFFECT_UNHEARD = {Fault.ERROR_AFTER, Fault.NO_ANSWER, Fault.KILLED_AFTER, Fault.LATE}


def cells(**where: object) -> list[Cell]:
    found = [
        cell
        for cell in CELLS
        if all(
            getattr(cell.task if name in ("kind", "name") else cell, name) == value
            for name, value in where.items()
        )
    ]
    assert found, where
    return found


def test_every_task_meets_every_fault_once_and_always() -> None:
    assert len(CELLS) == len(SAGA.tasks) * len(Fault) * len(Lasting)
    assert len({cell.name for cell in CELLS}) == len({cell.slug for cell in CELLS}) == len(CELLS)
    assert all(cell.expected.why.endswith(".") for cell in CELLS)


@pytest.mark.parametrize("kind", [Kind.FORWARD, Kind.PIVOT])
def test_a_step_that_fails_once_is_retried_and_the_order_confirmed(kind: Kind) -> None:
    for cell in cells(kind=kind, lasting=Lasting.ONCE):
        assert (cell.expected.status, cell.expected.parked_at) == ("CONFIRMED", None), cell.name


def test_what_is_delivered_twice_ends_as_if_it_came_once() -> None:
    for cell in cells(fault=Fault.TWICE):
        forward = cell.task.kind in (Kind.FORWARD, Kind.PIVOT)
        assert cell.expected.status == ("CONFIRMED" if forward else "REJECTED"), cell.name
        assert (cell.expected.parked_at is None) == (cell.task.kind is not Kind.PARK)


@pytest.mark.parametrize(
    ("step", "reason"),
    [
        ("Reserve Stock", "RESERVE_FAILED"),
        ("Charge Payment", "PAYMENT_FAILED"),
        ("Create Shipment", "SHIPMENT_FAILED"),
    ],
)
def test_a_step_that_fails_for_good_is_undone_for_its_own_reason(step: str, reason: str) -> None:
    for cell in cells(name=step, lasting=Lasting.ALWAYS):
        if cell.fault is not Fault.TWICE:
            assert (cell.expected.status, cell.expected.reason) == ("REJECTED", reason), cell.name
            assert cell.expected.facts == ("order.placed.v1", "order.rejected.v1")


def test_a_confirmation_that_happened_stands_although_nobody_heard_of_it() -> None:
    for cell in cells(kind=Kind.PIVOT, lasting=Lasting.ALWAYS):
        stands = cell.fault in {*EFFECT_UNHEARD, Fault.TWICE}
        assert cell.expected.status == ("CONFIRMED" if stands else "REJECTED"), cell.name
        assert cell.expected.reason == (None if stands else "CONFIRM_FAILED")


def test_an_undo_that_fails_for_good_parks_the_order_at_itself() -> None:
    for cell in cells(kind=Kind.UNDO, lasting=Lasting.ALWAYS):
        if cell.fault is not Fault.TWICE:
            assert cell.expected.parked_at == cell.task.name
            assert cell.expected.parked_status == "PARKED"
            assert cell.expected.facts == (
                "order.placed.v1",
                "order.parked.v1",
                "order.rejected.v1",
            )


def test_an_undo_that_fails_once_parks_nothing() -> None:
    for kind in (Kind.UNDO, Kind.CLOSE):
        for cell in cells(kind=kind, lasting=Lasting.ONCE):
            assert (cell.expected.status, cell.expected.parked_at) == ("REJECTED", None), cell.name


def test_an_order_that_was_closed_waits_with_the_status_that_it_has() -> None:
    for cell in cells(kind=Kind.CLOSE, lasting=Lasting.ALWAYS):
        if cell.fault is not Fault.TWICE:
            closed = cell.fault in EFFECT_UNHEARD
            assert cell.expected.parked_status == ("REJECTED" if closed else "PARKED"), cell.name
            assert ("order.parked.v1" in cell.expected.facts) is not closed


def test_whatever_happens_to_parking_the_order_is_parked_at_the_undo_that_failed() -> None:
    for cell in cells(kind=Kind.PARK):
        assert cell.expected.parked_at == cell.background[-1].name
        assert (cell.expected.status, cell.expected.parked_status) == ("REJECTED", "PARKED")


def test_a_fault_that_lasts_must_strike_each_attempt_or_the_cell_shows_nothing() -> None:
    for cell in cells(kind=Kind.UNDO, lasting=Lasting.ALWAYS):
        attempts = 1 if cell.fault is Fault.TWICE else cell.task.attempts
        assert cell.least_hits == attempts
    assert {cell.least_hits for cell in cells(lasting=Lasting.ONCE)} == {1}


def test_the_rules_of_a_direct_call_act_on_the_call() -> None:
    cell = cells(name="Charge Payment", fault=Fault.KILLED_AFTER, lasting=Lasting.ONCE)[0]

    assert cell_rules(cell, by_order(cell.task, "o-1")) == [
        {
            "function": "orders-local-chargePayment",
            "where": {"order_id": "o-1"},
            "at": "response",
            "do": "kill",
            "times": 1,
        }
    ]


def test_the_rules_of_a_command_act_on_its_message_and_on_its_answer() -> None:
    lost = cells(name="Release Stock", fault=Fault.NO_ANSWER, lasting=Lasting.ALWAYS)[0]
    late = cells(name="Release Stock", fault=Fault.LATE, lasting=Lasting.ONCE)[0]

    where = {"type": "inventory.release.v1", "subject": "o-1"}
    assert cell_rules(lost, by_order(lost.task, "o-1")) == [
        {
            "function": "inventory-local-handleCommands",
            "where": where,
            "at": "stepfunctions:SendTaskSuccess",
            "do": "lose",
            "times": None,
        }
    ]
    (rule,) = cell_rules(late, by_order(late.task, "o-1"))
    assert (rule["at"], rule["do"], rule["seconds"]) == ("request", "delay", 33)
    assert background_rules(lost, "o-1") == [
        {
            "function": "orders-local-chargePayment",
            "where": {"order_id": "o-1"},
            "at": "request",
            "do": "error",
            "times": None,
        }
    ]


def test_an_order_is_held_at_its_first_step_by_what_is_known_before_it_has_an_id() -> None:
    assert hold_rule(SAGA, "sku-1") == {
        "function": "inventory-local-handleCommands",
        "where": {"type": "inventory.reserve.v1", "data.lines.0.sku": "sku-1"},
        "at": "request",
        "do": "hold",
        "times": 1,
    }


def test_the_longest_cells_are_known_as_such() -> None:
    longest = max(CELLS, key=lambda cell: cell.seconds)

    assert longest.task.command
    assert longest.task.kind is Kind.UNDO
    assert longest.lasting is Lasting.ALWAYS
    # All of them side by side must fit into the ten minutes of a whole run, with the dead letters.
    assert longest.seconds < 240


def test_the_short_form_meets_every_task_and_every_kind_for_good() -> None:
    short = short_form(CELLS)

    assert {cell.task.name for cell in short} == SAGA.tasks.keys()
    lasting = [cell for cell in short if cell.lasting is Lasting.ALWAYS]
    assert {cell.task.kind for cell in lasting} == set(Kind)
    assert any(cell.expected.parked_at for cell in lasting)
    assert max(cell.seconds for cell in short) < 60
