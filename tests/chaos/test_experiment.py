"""What a cell's end is held to, and when its experiment is repeated."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.chaos.cells import Cell, generate
from tests.chaos.experiment import RUNS, Result, blank, compare, until_shown
from tests.chaos.graph import saga
from tests.chaos.ground import Kept, Seen

CELLS = {cell.slug: cell for cell in generate(saga())}
ONCE = CELLS["charge-payment-error-before-once"]
PARKED = CELLS["refund-payment-error-before-always"]


class Ended:
    """An order that is over."""

    def __init__(
        self, kept: Kept, *, execution: str = "SUCCEEDED", parked_at: str | None = None
    ) -> None:
        self._kept, self._execution, self._parked_at = kept, execution, parked_at

    def kept(self, _order_id: str) -> Kept:
        """What it still holds."""
        return self._kept

    def execution(self, _order_id: str) -> str:
        """How its saga ended."""
        return self._execution

    def order(self, _order_id: str) -> Seen:
        """The order as the database has it."""
        return Seen("CONFIRMED", None, self._parked_at)


ALL, NOTHING = Kept(True, True, True), Kept(False, False, False)  # noqa: FBT003


def step(name: str, *errors: str, kind: str = "forward") -> dict[str, Any]:
    return {"step": name, "kind": kind, "attempts": [{"error": error} for error in (*errors, None)]}


def ended(cell: Cell, *steps: dict[str, Any], **seen: Any) -> Result:
    """Return a result that is as it must be, but for what is `seen`."""
    result = blank(cell)
    result.hits = cell.least_hits
    result.timeline = list(steps)
    for name in ("status", "reason", "parked_at", "parked_status"):
        setattr(result, name, getattr(cell.expected, name))
    for name, value in seen.items():
        setattr(result, name, value)
    return result


def test_an_order_that_ended_as_it_must_is_neither_wrong_nor_missed() -> None:
    result = ended(ONCE, step("Charge Payment", "Fault"))
    compare(ONCE, Ended(ALL), result)
    assert (result.wrong, result.missed) == ([], [])


def test_another_end_is_wrong_where_nothing_else_failed() -> None:
    result = ended(ONCE, step("Charge Payment", "Fault"), status="REJECTED")
    compare(ONCE, Ended(NOTHING), result)
    assert result.wrong == ["status is REJECTED, should be CONFIRMED"]
    assert result.missed == []


def test_another_end_is_missed_where_a_step_failed_that_was_not_to() -> None:
    late = step("Reserve Stock", "States.Timeout")
    result = ended(ONCE, late, step("Charge Payment", "Fault"), status="REJECTED")
    compare(ONCE, Ended(NOTHING), result)
    assert result.wrong == []
    assert "Reserve Stock failed, and was not to: States.Timeout" in result.missed


def test_the_right_end_is_right_whatever_else_failed() -> None:
    late = step("Reserve Stock", "States.Timeout")
    result = ended(ONCE, late, step("Charge Payment", "Fault"))
    compare(ONCE, Ended(ALL), result)
    assert (result.wrong, result.missed) == ([], [])


@pytest.mark.parametrize(
    ("seen", "steps"),
    [({"hits": 0}, [step("Charge Payment")]), ({}, [step("Reserve Stock")])],
    ids=["a fault that never struck", "a saga that never came by"],
)
def test_nothing_is_shown_by(seen: dict[str, Any], steps: list[dict[str, Any]]) -> None:
    result = ended(ONCE, *steps, **seen)
    compare(ONCE, Ended(ALL), result)
    assert result.missed
    assert result.wrong == []


@pytest.mark.parametrize(
    "end",
    [
        Ended(Kept(True, False, True)),  # noqa: FBT003
        Ended(NOTHING),
        Ended(ALL, execution="FAILED"),
        Ended(ALL, parked_at="Refund Payment"),
    ],
    ids=["half of it", "nothing of it", "a failed saga", "an operator called in vain"],
)
def test_an_end_that_is_not_whole_is_wrong_however_it_came(end: Ended) -> None:
    result = ended(ONCE, step("Reserve Stock", "States.Timeout"), hits=0)
    compare(ONCE, end, result)
    assert len(result.wrong) == 1


def test_an_operator_whom_nothing_called_for_is_wrong() -> None:
    result = ended(ONCE, step("Charge Payment", "Fault"), step("Park Order", kind="operator"))
    compare(ONCE, Ended(ALL), result)
    assert result.wrong == ["an operator was called, and nothing called for one"]


def test_resumed_twice_is_wrong() -> None:
    steps = step("Refund Payment", "Fault"), step("Park Order", kind="operator")
    result = ended(PARKED, *steps, resumed=["resumed", "resumed"])
    compare(PARKED, Ended(NOTHING), result)
    assert result.wrong == ["it was resumed twice"]


def runs(*results: Result) -> Callable[[], Result]:
    left: Iterator[Result] = iter(results)
    return lambda: next(left)


def test_an_experiment_is_repeated_until_it_is_the_one_that_was_meant() -> None:
    result = until_shown(runs(ended(ONCE, missed=["late"]), ended(ONCE)))
    assert (result.runs, result.earlier, result.wrong) == (2, [["late"]], [])


def test_what_ended_wrong_is_never_repeated() -> None:
    result = until_shown(runs(ended(ONCE, wrong=["lost"], missed=["late"])))
    assert (result.runs, result.wrong) == (1, ["lost"])


def test_what_is_never_shown_is_wrong() -> None:
    result = until_shown(runs(*(ended(ONCE, missed=["late"]) for _ in range(RUNS))))
    assert (result.runs, result.wrong) == (RUNS, ["late"])
