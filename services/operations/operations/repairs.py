"""What may be wrong with an order, and what can be done about it: the rules of a reconciliation.

A repair is an execution of the saga, never a change of somebody's data. An order that has none is
started under its own name; every other is undone, which is safe before, after and beside whatever
was done. What an undo would not mend is told, and left to a person.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

MAX_UNDOS = 3
"""An order that is as it was after so many undos needs a person."""


class Trouble(StrEnum):
    """What the books say about an order, before anybody asked for its executions."""

    OPEN = "OPEN"  # PLACED or PARKED, and no saga was running
    KEPT = "KEPT"  # closed as undone, but something is held, shipped or charged
    INCOMPLETE = "INCOMPLETE"  # confirmed, but not all of it has happened
    STRAY = "STRAY"  # stock or money of an order that does not exist
    OVERDUE = "OVERDUE"  # its saga has been running for longer than any may


class Kind(StrEnum):
    """What is found in the end."""

    NO_SAGA = "NO_SAGA"
    SAGA_ENDED = "SAGA_ENDED"
    KEPT = "KEPT"
    INCOMPLETE = "INCOMPLETE"
    STRAY = "STRAY"
    OVERDUE = "OVERDUE"
    REPAIR_FAILED = "REPAIR_FAILED"


class Repair(StrEnum):
    """What to do."""

    START = "START"
    UNDO = "UNDO"
    REPORT = "REPORT"


@dataclass(frozen=True, slots=True)
class Suspect:
    """An order that is not as it should be, with `actual` in words.

    `document` is what its saga starts with, if that is still known and could lead to a confirmed
    order; `dead_token` what was kept for an operator.
    """

    order_id: str
    trouble: Trouble
    actual: str
    placed: bool = False
    document: Mapping[str, Any] | None = None
    dead_token: str | None = None


@dataclass(frozen=True, slots=True)
class Execution:
    """A saga, or an undo; `ended_at` is None while it runs."""

    status: str
    ended_at: datetime | None


@dataclass(frozen=True, slots=True)
class Decision:
    """What is found, what to do, and, for an undo, as which of the order's undos."""

    kind: Kind
    repair: Repair
    number: int = 0


_TOLD = {
    Trouble.INCOMPLETE: Kind.INCOMPLETE,
    Trouble.STRAY: Kind.STRAY,
    Trouble.OVERDUE: Kind.OVERDUE,
}

EXPECTED = {
    Kind.NO_SAGA: "a saga that brings the order to its end",
    Kind.SAGA_ENDED: "closed when its saga ends",
    Kind.KEPT: "nothing held, nothing shipped, nothing charged, nobody waited for",
    Kind.INCOMPLETE: "charged once, shipped once, nobody waited for",
    Kind.STRAY: "an order that it belongs to",
    Kind.OVERDUE: "an end, or a place among the parked",
    Kind.REPAIR_FAILED: f"repaired by {MAX_UNDOS} undos at most",
}


def told_at_once(trouble: Trouble) -> Decision | None:
    """Return what is only told, whatever the order's executions say; None: they must be asked."""
    kind = _TOLD.get(trouble)
    return Decision(kind, Repair.REPORT) if kind else None


def decide(
    suspect: Suspect,
    saga: Execution | None,
    undos: Sequence[Execution],
    *,
    settled_before: datetime,
) -> Decision | None:
    """Say what to do about an order, from what its executions are; None: leave it alone.

    Whoever runs is not disturbed. What ended at `settled_before` or later says nothing yet: the
    books may have been read before its last effects.
    """
    executions = [each for each in (saga, *undos) if each]
    if any(each.ended_at is None or each.ended_at >= settled_before for each in executions):
        return None
    if len(undos) >= MAX_UNDOS:
        return Decision(Kind.REPAIR_FAILED, Repair.REPORT)
    kind = Kind.KEPT if suspect.trouble is Trouble.KEPT else _without(saga)
    if not executions and suspect.placed and suspect.document:
        return Decision(kind, Repair.START)
    return Decision(kind, Repair.UNDO, len(undos) + 1)


def _without(saga: Execution | None) -> Kind:
    return Kind.SAGA_ENDED if saga else Kind.NO_SAGA


@dataclass(frozen=True, slots=True)
class Clocks:
    """How long things may take: until an order has a saga, until an ended saga's effects show.

    `longest`: the longest run of a saga that is not parked.
    """

    started: timedelta
    settled: timedelta
    longest: timedelta
