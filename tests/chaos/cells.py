"""The cells of the fault matrix, the rules that make each, and what must come of it.

A cell is a task, a fault in it, and how long the fault lasts. All of it is derived from the task's
kind and the fault's nature; nothing here knows a state by its name.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from orders.domain import reason_of
from tests.chaos.graph import Kind, Saga, Task

Rule = dict[str, Any]

LATE_SECONDS = 3
"""How long after its timeout a late answer comes."""

PARK_FAILURES = 2
"""Parking is tried again without end: a fault in it that lasts is mended after so many."""

_ANSWER = "stepfunctions:SendTaskSuccess"


class Fault(StrEnum):
    """What goes wrong."""

    ERROR_BEFORE = "error before the effect"
    ERROR_AFTER = "error after the effect"
    NO_ANSWER = "no answer until the timeout"
    LATE = "answered after the timeout"
    TWICE = "delivered twice"
    KILLED_BEFORE = "killed before the effect"
    KILLED_AFTER = "killed after the effect, before the answer"

    @property
    def takes_effect(self) -> bool:
        """Whether the step happens, although the saga may not hear of it."""
        return self not in (Fault.ERROR_BEFORE, Fault.KILLED_BEFORE)


class Lasting(StrEnum):
    """How long a fault lasts."""

    ONCE = "once"
    ALWAYS = "until retries are exhausted"


@dataclass(frozen=True, slots=True)
class Expectation:
    """How an order must end, and why that is right."""

    status: str
    reason: str | None
    parked_at: str | None  # the step under which it waits for an operator first
    parked_status: str | None  # its status while it waits
    facts: tuple[str, ...]  # each exactly once
    why: str


@dataclass(frozen=True, slots=True)
class Cell:
    """One experiment."""

    task: Task
    fault: Fault
    lasting: Lasting
    background: tuple[Task, ...]  # these fail always, so that the saga comes by the task
    expected: Expectation

    @property
    def name(self) -> str:
        """Name it in one line; unique."""
        return f"{self.task.name} / {self.fault} / {self.lasting}"

    @property
    def slug(self) -> str:
        """Name it in one word; unique."""
        words = f"{self.task.name} {self.fault.name} {self.lasting.name}".lower()
        return words.replace(" ", "-").replace("_", "-")

    @property
    def fails_attempts(self) -> bool:
        """Whether the saga sees its attempts fail."""
        if self.fault is Fault.TWICE:
            return False
        # Nobody waits for parking to answer within a time that could be exceeded.
        return not (self.task.kind is Kind.PARK and self.fault is Fault.LATE)

    @property
    def least_hits(self) -> int:
        """Return how often the fault must have struck at least, or the cell shows nothing."""
        if self.lasting is Lasting.ONCE or not self.fails_attempts:
            return 1
        return PARK_FAILURES if self.task.kind is Kind.PARK else self.task.attempts

    @property
    def leaves_dead_letters(self) -> bool:
        """Whether its messages may fail until they are dead: no operator mends this fault."""
        return (
            self.task.command is not None
            and self.lasting is Lasting.ALWAYS
            and self.expected.parked_at is None
        )

    @property
    def seconds(self) -> float:
        """Estimate how long its order takes, waits alone: the longest cells begin first."""
        failures = {
            Lasting.ONCE: 1,
            Lasting.ALWAYS: PARK_FAILURES if self.task.kind is Kind.PARK else self.task.attempts,
        }[self.lasting]
        own = failures * (_wait(self.task, self.fault) + 1) if self.fails_attempts else 0
        if self.task.kind is Kind.PARK:
            own += failures * 5
        ways = sum(
            task.attempts * (_wait(task, Fault.ERROR_BEFORE) + 1) for task in self.background
        )
        return 5 + own + ways


def _wait(task: Task, fault: Fault) -> int:
    """Return how long the saga waits for one attempt, in seconds."""
    if fault is Fault.TWICE:
        return 0
    if fault is Fault.LATE:
        return _delay(task) if task.kind is Kind.PARK else task.timeout
    if task.command:
        return task.timeout  # a message that failed says nothing to the saga
    return min(task.timeout, task.function_timeout) if fault is Fault.NO_ANSWER else 0


def _delay(task: Task) -> int:
    # Parking may take months: there "late" is later than the function's own timeout.
    clock = task.function_timeout if task.kind is Kind.PARK else task.timeout
    return clock + LATE_SECONDS


def generate(saga: Saga) -> list[Cell]:
    """Return every cell, in the order of the saga's file."""
    cells = []
    for task in saga.tasks.values():
        background = tuple(saga.tasks[name] for name in saga.reached_by[task.name])
        for fault in Fault:
            for lasting in Lasting:
                expected = expectation(task, fault, lasting, background)
                cells.append(Cell(task, fault, lasting, background, expected))
    return cells


# ── what must come of it ────────────────────────────────────────────────────────────────────────


def expectation(
    task: Task, fault: Fault, lasting: Lasting, background: tuple[Task, ...]
) -> Expectation:
    """Derive how the order must end, from the task's kind and the fault's nature alone."""
    exhausted = fault is not Fault.TWICE and (lasting is Lasting.ALWAYS or task.attempts == 1)
    match task.kind:
        case Kind.FORWARD:
            return _forward(task, fault, exhausted=exhausted)
        case Kind.PIVOT:
            return _pivot(task, fault, exhausted=exhausted)
        case Kind.UNDO | Kind.CLOSE:
            return _undo(task, fault, background, exhausted=exhausted)
        case Kind.PARK:
            return _park(task, fault, background)


def _forward(task: Task, fault: Fault, *, exhausted: bool) -> Expectation:
    if not exhausted:
        return _confirmed(_passing(task, fault))
    return _rejected(
        task,
        "Nobody knows whether the step happened, so the step itself is undone too: "
        + (
            "it had happened, and what it did is taken back."
            if fault.takes_effect
            else "it had not, and its undo bars it for ever."
        ),
    )


def _pivot(task: Task, fault: Fault, *, exhausted: bool) -> Expectation:
    if not exhausted:
        return _confirmed(_passing(task, fault))
    if fault.takes_effect and (fault is not Fault.LATE or _lands_in_time(task)):
        return _confirmed(
            "The order was confirmed and only the answers were lost. The saga asks before it "
            "undoes anything, finds it confirmed, and lets it stand: after the pivot it stands."
        )
    return _rejected(
        task,
        "The confirmation never happened. The saga bars it first, so that none can come late, "
        "and undoes all that came before.",
    )


def _undo(
    task: Task, fault: Fault, background: tuple[Task, ...], *, exhausted: bool
) -> Expectation:
    failed = background[0]
    if not exhausted:
        return _rejected(failed, f"{failed.name} failed for good. " + _passing(task, fault))
    closed = (
        task.kind is Kind.CLOSE
        and fault.takes_effect
        and (fault is not Fault.LATE or _lands_in_time(task))
    )
    if closed:
        return _rejected(
            failed,
            "The order was closed and only the answers were lost: the saga waits for an operator "
            "while the order truthfully says how it ended. Resumed, the saga gets the same answer.",
            parked_at=task.name,
            parked_status="REJECTED",
        )
    return _rejected(
        failed,
        "An undo that fails beyond its retries parks the order, since going on would leave it half "
        "undone. Resumed once the fault is mended (and once more, which changes nothing), the saga "
        "goes on from this very undo.",
        parked_at=task.name,
        parked_status="PARKED",
    )


def _park(task: Task, fault: Fault, background: tuple[Task, ...]) -> Expectation:
    failed, stuck = background[0], background[-1]
    harm = {
        Fault.TWICE: "Parked twice with the same token is parked once.",
        Fault.LATE: "Parking that comes late is still parking: the saga waits for an operator "
        "however long it takes.",
    }.get(fault, "Parking that failed is tried again without end, and a newer token replaces the "
        "older one.")  # fmt: skip
    return _rejected(
        failed,
        f"{harm} Resumed, {task.name} lets the saga go on from {stuck.name}.",
        parked_at=stuck.name,
        parked_status="PARKED",
    )


def _lands_in_time(task: Task) -> bool:
    """Whether the first attempt's late effect comes before the last attempt is given up."""
    return task.attempts * task.timeout > _delay(task)


def _passing(task: Task, fault: Fault) -> str:
    if fault is Fault.TWICE:
        return "The second delivery finds the first one's marker and gives the same answer."
    if task.attempts == 1:
        return "The step has one attempt alone."
    if fault.takes_effect:
        return (
            "The retry finds the step's marker: it takes effect once, and the answer is the same."
        )
    return "Nothing had happened, and the retry does it."


def _confirmed(why: str) -> Expectation:
    return Expectation(
        "CONFIRMED", None, None, None, ("order.placed.v1", "order.confirmed.v1"), why
    )


def _rejected(
    failed: Task, why: str, *, parked_at: str | None = None, parked_status: str | None = None
) -> Expectation:
    reason = reason_of({failed.result_key: {"Error": "chaos"}})
    if reason == "UNKNOWN":
        raise ValueError(f"{failed.name}: orders.domain has no reason for its failure")
    parked = ("order.parked.v1",) if parked_status == "PARKED" else ()
    facts = ("order.placed.v1", *parked, "order.rejected.v1")
    return Expectation("REJECTED", reason, parked_at, parked_status, facts, why)


# ── the rules that make it ──────────────────────────────────────────────────────────────────────


def hold_rule(saga: Saga, sku: str) -> Rule:
    """Hold an order's first call, found by its sku: there is time to use the order's id."""
    return rule_for(saga.first, at="request", do="hold", where=by_sku(saga.first, sku), times=1)


def cell_rules(cell: Cell, where: Mapping[str, str]) -> list[Rule]:
    """Return the cell's own rules; `where` finds the calls of its task."""
    times = 1 if cell.lasting is Lasting.ONCE else None
    command = cell.task.command is not None
    after = _ANSWER if command else "response"
    at, do = {
        Fault.ERROR_BEFORE: ("request", "error"),
        Fault.ERROR_AFTER: (after, "error"),
        Fault.NO_ANSWER: (after, "lose"),
        Fault.LATE: ("request", "delay"),
        Fault.TWICE: ("request", "twice"),
        Fault.KILLED_BEFORE: ("request", "kill"),
        Fault.KILLED_AFTER: (after, "kill"),
    }[cell.fault]
    rule = rule_for(cell.task, at=at, do=do, where=where, times=times)
    if cell.fault is Fault.LATE:
        rule["seconds"] = _delay(cell.task)
    return [rule]


def background_rules(cell: Cell, order_id: str) -> list[Rule]:
    """Return the rules by which the tasks on the way fail, always and before their effect."""
    return [
        rule_for(task, at="request", do="error", where=by_order(task, order_id), times=None)
        for task in cell.background
    ]


def rule_for(task: Task, *, at: str, do: str, where: Mapping[str, str], times: int | None) -> Rule:
    """Return a rule of the local cloud for a task's calls."""
    return {"function": task.function, "where": dict(where), "at": at, "do": do, "times": times}


def after(task: Task) -> str:
    """Name the moment between a task's effect and its answer."""
    return _ANSWER if task.command else "response"


def by_order(task: Task, order_id: str) -> dict[str, str]:
    """Find a task's calls by the order's id."""
    return _typed(task) | {task.order_id_at: order_id}


def by_sku(task: Task, sku: str) -> dict[str, str]:
    """Find a task's calls by the sku of the order's first line."""
    return _typed(task) | {f"{task.lines_at}.0.sku": sku}


def _typed(task: Task) -> dict[str, str]:
    return {"type": task.command} if task.command else {}


# ── a short form ────────────────────────────────────────────────────────────────────────────────

SHORT_FAULTS = (Fault.ERROR_BEFORE, Fault.KILLED_AFTER)


def short_form(cells: Sequence[Cell]) -> list[Cell]:
    """Choose what is over in a minute: each task once, and each kind of task for good."""
    once = [cell for cell in cells if cell.lasting is Lasting.ONCE and cell.fault in SHORT_FAULTS]
    # A command that fails for good takes minutes; a direct call does not.
    lasting = {
        cell.task.kind: cell
        for cell in reversed(cells)
        if cell.lasting is Lasting.ALWAYS
        and cell.fault is Fault.KILLED_AFTER
        and cell.task.command is None
    }
    return [*once, *reversed(lasting.values())]
