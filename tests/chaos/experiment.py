"""One cell of the fault matrix, from the placed order to its end, compared with what must be."""

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from typing import Any, Protocol

from tests.chaos.cells import Cell, background_rules, by_order, by_sku, cell_rules
from tests.chaos.graph import Kind
from tests.chaos.ground import Ground, Kept, Seen
from tests.support.polling import eventually

_PATIENCE = 180
"""Seconds beyond what the cell must take: others use the machine too."""


RUNS = 3
"""How often a cell is tried until nothing else fails on its way."""
UNITS = 1 + RUNS
"""How many units of its sku a cell may need."""


@dataclass
class Result:
    """What a cell ended as, and everything that is not as it must be."""

    slug: str
    state: str
    kind: str
    fault: str
    lasting: str
    why: str
    expected: dict[str, Any]
    order_id: str = ""
    status: str = ""
    reason: str | None = None
    parked_at: str | None = None
    parked_status: str | None = None
    resumed: list[str] = field(default_factory=list)
    hits: int = 0
    seconds: float = 0
    timeline: list[dict[str, Any]] = field(default_factory=list)
    facts: dict[str, int] = field(default_factory=dict)
    wrong: list[str] = field(default_factory=list)
    missed: list[str] = field(default_factory=list)
    """Why this was not the experiment that was meant: something else failed on the way."""
    earlier: list[list[str]] = field(default_factory=list)
    """What each run before this one had missed."""

    @property
    def runs(self) -> int:
        """How often the cell was run."""
        return len(self.earlier) + 1

    @property
    def ended_as(self) -> str:
        """Say it in a few words."""
        parked = f"{self.parked_status} at {self.parked_at}, resumed, " if self.parked_at else ""
        return f"{parked}{self.status}{f' ({self.reason})' if self.reason else ''}"


def blank(cell: Cell) -> Result:
    """Return the result of a cell that has not run."""
    return Result(
        cell.slug,
        cell.task.name,
        cell.task.kind.value,
        cell.fault.value,
        cell.lasting.value,
        cell.expected.why,
        {key: value for key, value in asdict(cell.expected).items() if key != "why"},
    )


def run(cell: Cell, ground: Ground, sku: str, *, keep_rules: bool = False) -> Result:
    """Run a cell; never raises for what the cell did, the result says what went wrong.

    `keep_rules`: leave the rules of a cell whose messages may become dead letters.
    """
    return until_shown(lambda: _once(cell, ground, sku, keep_rules=keep_rules))


def until_shown(once: Callable[[], Result]) -> Result:
    """Run an experiment until it was the one that was meant, RUNS times at most.

    On a busy machine something else may fail on the way. It is then repeated, with a new order;
    what ended wrong is never repeated, and what was never shown is wrong.
    """
    earlier: list[list[str]] = []
    while True:
        result = once()
        result.earlier = earlier
        if result.wrong or not result.missed:
            return result
        if result.runs == RUNS:
            result.wrong += result.missed
            return result
        earlier = [*earlier, result.missed]


def _once(cell: Cell, ground: Ground, sku: str, *, keep_rules: bool) -> Result:
    result = blank(cell)
    began = time.monotonic()
    rules: list[str] = []
    try:
        _live(cell, ground, sku, rules, result)
    except Exception as error:  # noqa: BLE001 - whatever it is, it is this cell's result
        result.wrong.append(f"{type(error).__name__}: {error}")
    finally:
        if not (keep_rules and cell.leaves_dead_letters):
            for rule in rules:
                ground.faults.remove(rule)
    result.seconds = round(time.monotonic() - began, 1)
    return result


def _live(cell: Cell, ground: Ground, sku: str, rules: list[str], result: Result) -> None:
    faults = ground.faults
    if cell.task is ground.saga.first:
        # Its call comes before anybody knows the order's id.
        rules += map(faults.add, cell_rules(cell, by_sku(cell.task, sku)))
        order_id = ground.place(sku)
    else:
        with ground.held(sku) as order_id:
            rules += map(faults.add, cell_rules(cell, by_order(cell.task, order_id)))
            rules += map(faults.add, background_rules(cell, order_id))
    result.order_id = order_id
    own = rules[0]
    within = 2 * cell.seconds + _PATIENCE
    if cell.expected.parked_at:
        _operate(cell, ground, rules, result, within)
    order = ground.until_over(order_id, within=within)
    result.status, result.reason = order["status"], order["reason"]
    result.timeline = ground.shop.timeline(order_id)
    if not result.resumed:
        result.hits = faults.all()[own]["hits"]
    compare(cell, ground, result)


def _operate(cell: Cell, ground: Ground, rules: list[str], result: Result, within: float) -> None:
    """Do what an operator does: see that the order waits, mend the fault, resume; and once more."""

    def waits() -> bool:
        order = ground.order(result.order_id)
        result.hits = ground.faults.all()[rules[0]]["hits"]
        if ground.over(result.order_id):
            return True  # something else failed: it never came by this task
        if cell.task.kind is Kind.PARK:
            return result.hits >= cell.least_hits
        return order.parked_at is not None

    def parked() -> bool:
        return (
            ground.order(result.order_id).parked_at is not None
            # Asked last: it may park meanwhile.
            or ground.over(result.order_id)
        )

    eventually(waits, f"{result.order_id} waits for an operator", within=within, every=0.5)
    while rules:
        ground.faults.remove(rules.pop())
    eventually(parked, f"{result.order_id} is parked", within=within, every=0.5)
    if ground.over(result.order_id):
        return
    result.parked_at = ground.order(result.order_id).parked_at
    result.parked_status = ground.shop.order(result.order_id)["status"]
    result.resumed = ground.resume_until_closed(result.order_id, within=within)


class End(Protocol):
    """What there is to see of an order once it is over; tests.chaos.ground has it."""

    def kept(self, order_id: str) -> Kept:
        """What it still holds."""

    def execution(self, order_id: str) -> str:
        """How its saga ended."""

    def order(self, order_id: str) -> Seen:
        """The order as the database has it."""


def compare(cell: Cell, ground: End, result: Result) -> None:
    """Note what is not as it must be, or why the experiment shows nothing."""
    nothing_shown, differs = _nothing_shown(cell, result), _differs(cell, result)
    others = _unplanned(cell, result)
    if nothing_shown or (differs and others):
        result.missed = nothing_shown + others + differs
    else:
        result.wrong += differs
    # However it came to its end, the end is to be one and whole.
    confirmed = result.status == "CONFIRMED"
    if (kept := ground.kept(result.order_id)) != Kept(confirmed, confirmed, confirmed):
        result.wrong.append(f"{result.status}, and yet the order keeps: {kept}")
    if (execution := ground.execution(result.order_id)) != "SUCCEEDED":
        result.wrong.append(f"the saga's execution is {execution}")
    if (waiting := ground.order(result.order_id).parked_at) is not None:
        result.wrong.append(f"an operator is still told to look at {waiting}")


def _nothing_shown(cell: Cell, result: Result) -> list[str]:
    """Say why the fault was not the one that was meant, however the order ended."""
    found = []
    if cell.task.name not in (step["step"] for step in result.timeline):
        found.append(f"the saga never came by {cell.task.name}")
    if result.hits < cell.least_hits:
        found.append(f"the fault struck {result.hits} times, {cell.least_hits} were meant")
    return found


def _differs(cell: Cell, result: Result) -> list[str]:
    """Compare the order's end with the one that must be."""
    differs = [
        f"{name} is {getattr(result, name)}, should be {getattr(cell.expected, name)}"
        for name in ("status", "reason", "parked_at", "parked_status")
        if getattr(result, name) != getattr(cell.expected, name)
    ]
    operated = any(step["kind"] == "operator" for step in result.timeline)
    if operated and cell.expected.parked_at is None:
        differs.append("an operator was called, and nothing called for one")
    if result.resumed.count("resumed") > 1 and not cell.may_park_again:
        differs.append("it was resumed twice")
    return differs


def _unplanned(cell: Cell, result: Result) -> list[str]:
    """Say what failed and was not to: a busy machine exceeds the saga's timeouts too."""
    meant = {cell.task.name, *(task.name for task in cell.background)}
    return [
        f"{step['step']} failed, and was not to: {attempt['error']}"
        for step in result.timeline
        for attempt in step["attempts"]
        if attempt["error"] and step["step"] not in meant
    ]


def wrong_facts(result: Result, published: dict[str, int]) -> list[str]:
    """Compare the facts about a cell's order with those that must be, each published as one."""
    if result.missed:
        return []  # the audit judges them
    wanted = dict.fromkeys(result.expected["facts"], 1)
    return [
        f"{published.get(type_, 0)} different facts {type_}, should be {wanted.get(type_, 0)}"
        for type_ in sorted(wanted.keys() | published.keys())
        if published.get(type_, 0) != wanted.get(type_, 0)
    ]
