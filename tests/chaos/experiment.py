"""One cell of the fault matrix, from the placed order to its end, compared with what must be."""

import time
from dataclasses import asdict, dataclass, field
from typing import Any

from tests.chaos.cells import Cell, background_rules, by_order, by_sku, cell_rules
from tests.chaos.graph import Kind
from tests.chaos.ground import Ground, Kept
from tests.support.polling import eventually

_PATIENCE = 180
"""Seconds beyond what the cell must take: others use the machine too."""


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
    if result.resumed and ground.order(order_id).parked_at is not None:
        # The call that resumed it died before it could say so; asked again, it sees that.
        result.resumed.append(ground.resume(order_id))
    result.status, result.reason = order["status"], order["reason"]
    result.timeline = ground.shop.timeline(order_id)
    if not result.resumed:
        result.hits = faults.all()[own]["hits"]
    _compare(cell, ground, result)


def _operate(cell: Cell, ground: Ground, rules: list[str], result: Result, within: float) -> None:
    """Do what an operator does: see that the order waits, mend the fault, resume; and once more."""

    def waits() -> bool:
        result.hits = ground.faults.all()[rules[0]]["hits"]
        if cell.task.kind is Kind.PARK:
            return result.hits >= cell.least_hits
        return ground.order(result.order_id).parked_at is not None

    eventually(waits, f"{result.order_id} waits for an operator", within=within, every=0.5)
    while rules:
        ground.faults.remove(rules.pop())
    eventually(
        lambda: ground.order(result.order_id).parked_at is not None,
        f"{result.order_id} is parked",
        within=within,
        every=0.5,
    )
    result.parked_at = ground.order(result.order_id).parked_at
    result.parked_status = ground.shop.order(result.order_id)["status"]
    result.resumed = ground.resume_until_resumed(result.order_id, within=within)


def _compare(cell: Cell, ground: Ground, result: Result) -> None:
    expected = cell.expected
    for name in ("status", "reason", "parked_at", "parked_status"):
        actual, wanted = getattr(result, name), getattr(expected, name)
        if actual != wanted:
            result.wrong.append(f"{name} is {actual}, should be {wanted}")
    if result.hits < cell.least_hits:
        result.wrong.append(
            f"the fault struck {result.hits} times, {cell.least_hits} were meant: nothing is shown"
        )
    steps = [step["step"] for step in result.timeline]
    if cell.task.name not in steps:
        result.wrong.append(f"the saga never came by {cell.task.name}: {', '.join(steps)}")
    if expected.parked_at is None and any(step["kind"] == "operator" for step in result.timeline):
        result.wrong.append("an operator was called, and nothing called for one")
    if result.resumed.count("resumed") > 1:
        result.wrong.append("it was resumed twice")
    confirmed = expected.status == "CONFIRMED"
    if (kept := ground.kept(result.order_id)) != Kept(confirmed, confirmed, confirmed):
        result.wrong.append(f"{expected.status}, and yet the order keeps: {kept}")
    if (execution := ground.execution(result.order_id)) != "SUCCEEDED":
        result.wrong.append(f"the saga's execution is {execution}")
    if (waiting := ground.order(result.order_id).parked_at) is not None:
        result.wrong.append(f"an operator is still told to look at {waiting}")


def wrong_facts(result: Result, published: dict[str, int]) -> list[str]:
    """Compare the facts about a cell's order with those that must be, each published as one."""
    wanted = dict.fromkeys(result.expected["facts"], 1)
    return [
        f"{published.get(type_, 0)} different facts {type_}, should be {wanted.get(type_, 0)}"
        for type_ in sorted(wanted.keys() | published.keys())
        if published.get(type_, 0) != wanted.get(type_, 0)
    ]
