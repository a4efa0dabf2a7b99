"""Finds what no saga will bring to its end, and has the saga bring it there."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Protocol

from operations.repairs import (
    EXPECTED,
    MAX_UNDOS,
    Clocks,
    Decision,
    Execution,
    Kind,
    Repair,
    Suspect,
    decide,
    told_at_once,
)
from shared.contracts.saga import undo_document, undo_name
from shared.errors import TransientFault


@dataclass(frozen=True, slots=True)
class Repaired:
    """One thing that was found, and what was done: `done` if the `execution` was started.

    `fault` says why nothing could be found out or done this time; the next run tries again.
    """

    order_id: str
    kind: Kind | None
    actual: str
    expected: str
    repair: Repair | None
    execution: str | None = None
    done: bool = False
    fault: str | None = None


@dataclass(frozen=True, slots=True)
class Reconciled:
    """What a run found; `left` suspects were not looked into for want of time."""

    dry_run: bool
    findings: Sequence[Repaired]
    left: int

    @property
    def repaired(self) -> int:
        """How many repairs were started."""
        return sum(found.done for found in self.findings)

    @property
    def unrepairable(self) -> int:
        """How many need a person."""
        return sum(found.repair is Repair.REPORT for found in self.findings)

    @property
    def failed(self) -> int:
        """How many could not be looked into or repaired this time."""
        return sum(found.fault is not None for found in self.findings)


class Books(Protocol):
    """What the other services hold."""

    def suspects(self, clocks: Clocks) -> tuple[datetime, Sequence[Suspect]]:
        """Return when the books were read, and so many orders that are not as they should be."""


class Executions(Protocol):
    """Executions of the saga; both calls raise TransientFault when there is no answer."""

    def find(self, name: str) -> Execution | None:
        """Return the execution of this name, if there is one."""

    def start(self, name: str, document: Mapping[str, Any]) -> None:
        """Start it, once: a second time is the same start."""


def reconcile(
    request: Any,
    *,
    books: Books,
    executions: Executions,
    clocks: Clocks,
    clock: Callable[[], float],
    seconds: float,
) -> Reconciled:
    """Repair what can be repaired, unless `{"dry_run": true}`, and tell of the rest."""
    dry_run = dry_run_of(request)
    begun = clock()
    read_at, suspects = books.suspects(clocks)
    findings: list[Repaired] = []
    for number, suspect in enumerate(suspects):
        if clock() - begun > seconds:
            return Reconciled(dry_run, findings, len(suspects) - number)
        findings += _one(suspect, executions, read_at - clocks.settled, dry_run=dry_run)
    return Reconciled(dry_run, findings, 0)


def dry_run_of(request: Any) -> bool:
    """Read `{"dry_run": true}`; a schedule's event has no such field. Raises ValueError."""
    wish = request.get("dry_run", False) if isinstance(request, Mapping) else False
    if not isinstance(wish, bool):
        raise ValueError(f"dry_run: {wish!r} is neither true nor false")  # noqa: TRY004 - input
    return wish


def _one(
    suspect: Suspect, executions: Executions, settled_before: datetime, *, dry_run: bool
) -> Iterator[Repaired]:
    found: Repaired | None = None
    try:
        decision = told_at_once(suspect.trouble) or decide(
            suspect,
            executions.find(suspect.order_id),
            _undos(suspect.order_id, executions),
            settled_before=settled_before,
        )
        if decision is None:
            return
        found = _told(suspect, decision)
        if found.execution and not dry_run:
            executions.start(found.execution, _document(suspect, decision))
            found = replace(found, done=True)
    except TransientFault as fault:
        # The next run begins anew, under the same name; the others need not wait for it.
        found = found or Repaired(suspect.order_id, None, suspect.actual, "", None)
        found = replace(found, fault=str(fault))
    yield found


def _undos(order_id: str, executions: Executions) -> list[Execution]:
    """Ask for the order's undos, which are numbered without a gap."""
    undos: list[Execution] = []
    while len(undos) < MAX_UNDOS and (undo := executions.find(undo_name(order_id, len(undos) + 1))):
        undos.append(undo)
    return undos


def _told(suspect: Suspect, decision: Decision) -> Repaired:
    names = {
        Repair.START: suspect.order_id,
        Repair.UNDO: undo_name(suspect.order_id, decision.number),
        Repair.REPORT: None,
    }
    return Repaired(
        suspect.order_id,
        decision.kind,
        suspect.actual,
        EXPECTED[decision.kind],
        decision.repair,
        names[decision.repair],
    )


def _document(suspect: Suspect, decision: Decision) -> Mapping[str, Any]:
    if decision.repair is Repair.START and suspect.document:
        return suspect.document
    return undo_document(suspect.order_id, suspect.dead_token)
