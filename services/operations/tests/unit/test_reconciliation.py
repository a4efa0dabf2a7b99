"""A reconciliation, with books and executions that a test can look into."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from operations.reconciliation import Reconciled, reconcile
from operations.repairs import Clocks, Execution, Kind, Repair, Suspect, Trouble
from shared.contracts.saga import DEAD_TOKEN, UNDO_FROM
from shared.errors import TransientFault

NOW = datetime(2026, 11, 25, 12, tzinfo=UTC)
CLOCKS = Clocks(timedelta(minutes=5), timedelta(minutes=1), timedelta(hours=1))
ENDED = Execution("FAILED", NOW - timedelta(hours=1))
LOST = Suspect("lost", Trouble.OPEN, "PLACED", placed=True, document={"order_id": "lost"})
STOPPED = Suspect("stopped", Trouble.OPEN, "PARKED", dead_token="token")
BROKEN = Suspect("broken", Trouble.INCOMPLETE, "CONFIRMED, not shipped")


@dataclass
class Books:
    found: Sequence[Suspect]

    def suspects(self, clocks: Clocks) -> tuple[datetime, Sequence[Suspect]]:
        assert clocks is CLOCKS
        return NOW, self.found


@dataclass
class Executions:
    known: dict[str, Execution] = field(default_factory=dict)
    started: list[tuple[str, Mapping[str, Any]]] = field(default_factory=list)
    silent: set[str] = field(default_factory=set)

    def find(self, name: str) -> Execution | None:
        self._answer("find", name)
        return self.known.get(name)

    def start(self, name: str, document: Mapping[str, Any]) -> None:
        self._answer("start", name)
        self.started.append((name, document))
        self.known.setdefault(name, Execution("RUNNING", None))

    def _answer(self, call: str, name: str) -> None:
        if {name, f"{call} {name}"} & self.silent:
            raise TransientFault("no answer")


def run(
    found: Sequence[Suspect],
    executions: Executions,
    request: Any = None,
    *,
    seconds_each: float = 0,
) -> Reconciled:
    times = iter(range(1000))
    return reconcile(
        request,
        books=Books(found),
        executions=executions,
        clocks=CLOCKS,
        clock=lambda: next(times) * seconds_each,
        seconds=10,
    )


def test_a_lost_order_is_started_under_its_own_name_with_its_own_input() -> None:
    executions = Executions()
    (found,) = run([LOST], executions).findings
    assert executions.started == [("lost", {"order_id": "lost"})]
    assert (found.kind, found.repair, found.execution, found.done) == (
        Kind.NO_SAGA,
        Repair.START,
        "lost",
        True,
    )


def test_an_undo_has_the_next_name_and_knows_only_the_order() -> None:
    executions = Executions({"stopped": ENDED, "stopped-undo-1": ENDED})
    run([STOPPED], executions)
    ((name, document),) = executions.started
    assert name == "stopped-undo-2"
    assert document == {
        "order_id": "stopped",
        UNDO_FROM: "Withdraw Confirmation",
        DEAD_TOKEN: "token",
    }


def test_a_dry_run_says_the_same_and_does_nothing() -> None:
    known = {"stopped": ENDED}
    dry, wet = Executions(dict(known)), Executions(dict(known))
    would = run([LOST, STOPPED, BROKEN], dry, {"dry_run": True})
    did = run([LOST, STOPPED, BROKEN], wet, {"dry_run": False})
    assert dry.started == []
    assert [each.execution for each in would.findings] == [each.execution for each in did.findings]
    assert (would.repaired, did.repaired) == (0, 2)
    assert would.unrepairable == did.unrepairable == 1


def test_a_second_run_finds_the_first_ones_repairs_at_work() -> None:
    executions = Executions({"stopped": ENDED})
    run([LOST, STOPPED], executions)
    assert run([LOST, STOPPED], executions).findings == []
    assert len(executions.started) == 2


@pytest.mark.parametrize("call", ["find lost", "find lost-undo-1", "start lost"])
def test_one_order_without_an_answer_keeps_no_other_from_its_repair(call: str) -> None:
    executions = Executions({"stopped": ENDED}, silent={call})
    result = run([LOST, STOPPED], executions)
    assert [name for name, _ in executions.started] == ["stopped-undo-1"]
    assert (result.repaired, result.failed) == (1, 1)
    assert result.findings[0].fault == "no answer"
    assert not result.findings[0].done


def test_what_there_is_no_time_for_is_left_to_the_next_run_and_said() -> None:
    executions = Executions()
    suspects = [
        Suspect(f"{number}", Trouble.OPEN, "PLACED", placed=True, document={"order_id": "x"})
        for number in range(9)
    ]
    result = run(suspects, executions, seconds_each=4)
    assert (len(result.findings), result.left) == (2, 7)
    assert len(executions.started) == 2


@pytest.mark.parametrize("event", [None, {}, [], "", {"detail-type": "Scheduled Event"}])
def test_any_event_is_a_wish_to_repair(event: Any) -> None:
    assert run([LOST], Executions(), event).repaired == 1


@pytest.mark.parametrize("wish", ["yes", 1, None, "false"])
def test_a_wish_that_is_neither_true_nor_false_is_refused_by_name(wish: Any) -> None:
    executions = Executions()
    with pytest.raises(ValueError, match=r"^dry_run: "):
        run([LOST], executions, {"dry_run": wish})
    assert executions.started == []
