"""What is done about an order, from what its executions are."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from operations.repairs import (
    EXPECTED,
    MAX_UNDOS,
    Decision,
    Execution,
    Kind,
    Repair,
    Suspect,
    Trouble,
    decide,
    told_at_once,
)

NOW = datetime(2026, 11, 25, 12, tzinfo=UTC)
SETTLED = NOW - timedelta(seconds=60)
RUNS = Execution("RUNNING", None)
ENDED = Execution("ABORTED", SETTLED - timedelta(seconds=1))
JUST_ENDED = Execution("SUCCEEDED", SETTLED)
DOCUMENT = {"order_id": "order"}

PLACED = Suspect("order", Trouble.OPEN, "PLACED", placed=True, document=DOCUMENT)
PARKED = Suspect("order", Trouble.OPEN, "PARKED", dead_token="token")
KEPT = Suspect("order", Trouble.KEPT, "REJECTED, stock reserved")


def decided(
    suspect: Suspect, saga: Execution | None, undos: list[Execution] | None = None
) -> Decision | None:
    return decide(suspect, saga, undos or [], settled_before=SETTLED)


def test_an_order_without_a_saga_is_given_its_saga() -> None:
    assert decided(PLACED, None) == Decision(Kind.NO_SAGA, Repair.START)


def test_without_the_payment_token_it_is_undone_instead() -> None:
    gone = Suspect("order", Trouble.OPEN, "PLACED", placed=True)
    assert decided(gone, None) == Decision(Kind.NO_SAGA, Repair.UNDO, 1)


def test_a_parked_order_whose_saga_is_gone_is_undone_even_if_it_could_be_started() -> None:
    assert decided(PARKED, None) == Decision(Kind.NO_SAGA, Repair.UNDO, 1)


def test_an_order_that_was_undone_before_is_not_started_any_more() -> None:
    assert decided(PLACED, None, [ENDED]) == Decision(Kind.NO_SAGA, Repair.UNDO, 2)


@pytest.mark.parametrize("status", ["SUCCEEDED", "FAILED", "ABORTED", "TIMED_OUT"])
@pytest.mark.parametrize("suspect", [PLACED, PARKED])
def test_an_open_order_whose_saga_has_ended_is_undone(suspect: Suspect, status: str) -> None:
    ended = Execution(status, NOW - timedelta(days=1))
    assert decided(suspect, ended) == Decision(Kind.SAGA_ENDED, Repair.UNDO, 1)


@pytest.mark.parametrize("saga", [None, ENDED])
def test_what_a_closed_order_keeps_is_undone_and_the_order_never_started(
    saga: Execution | None,
) -> None:
    assert decided(KEPT, saga) == Decision(Kind.KEPT, Repair.UNDO, 1)


def test_each_undo_has_a_number_of_its_own_and_the_last_is_followed_by_a_person() -> None:
    kinds = [decided(PARKED, ENDED, [ENDED] * count) for count in range(MAX_UNDOS + 1)]
    assert [each and (each.repair, each.number) for each in kinds] == [
        *((Repair.UNDO, number) for number in range(1, MAX_UNDOS + 1)),
        (Repair.REPORT, 0),
    ]
    assert kinds[-1] == Decision(Kind.REPAIR_FAILED, Repair.REPORT)


_executions = st.sampled_from([RUNS, ENDED, JUST_ENDED])


@given(
    st.sampled_from([PLACED, PARKED, KEPT]),
    st.none() | _executions,
    st.lists(_executions, max_size=MAX_UNDOS),
)
def test_nothing_is_done_beside_an_execution_that_runs_or_has_only_just_ended(
    suspect: Suspect, saga: Execution | None, undos: list[Execution]
) -> None:
    busy = {RUNS, JUST_ENDED} & {saga, *undos}
    assert (decided(suspect, saga, undos) is None) == bool(busy)


@pytest.mark.parametrize("trouble", list(Trouble))
def test_what_no_undo_mends_is_told_without_asking_for_executions(trouble: Trouble) -> None:
    found = told_at_once(trouble)
    if trouble in (Trouble.OPEN, Trouble.KEPT):
        assert found is None
    else:
        assert found == Decision(Kind(trouble.value), Repair.REPORT)


def test_every_kind_says_what_should_be() -> None:
    assert set(EXPECTED) == set(Kind)
