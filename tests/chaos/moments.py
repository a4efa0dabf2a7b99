"""Every moment at which a customer may cancel: before and after each effect of the saga."""

from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from tests.chaos.cells import Rule, after, by_order, by_sku, rule_for
from tests.chaos.graph import Kind, Saga, Task
from tests.chaos.ground import Ground, Kept
from tests.support.polling import eventually

_WITHIN = 120


@dataclass(frozen=True, slots=True)
class Moment:
    """The saga stands still just before, or just after, a task's effect."""

    task: Task
    effect_done: bool
    background: tuple[Task, ...]
    answer: int  # what the API must say to a cancellation
    status: str  # how the order must end
    unheard: bool = False
    """The tasks on the way had taken effect and only their answers were lost."""

    @property
    def name(self) -> str:
        """Name it in one line; unique."""
        where = "after" if self.effect_done else "before"
        return f"{where} {self.task.name}" + (", confirmed unheard" if self.unheard else "")


@dataclass(frozen=True, slots=True)
class Race:
    """What came of cancelling."""

    answers: tuple[int, ...]
    status: str
    kept: Kept
    order_id: str


def moments(saga: Saga) -> list[Moment]:
    """Return every moment of the saga, with what must come of a cancellation at it."""
    found = []
    for task in saga.tasks.values():
        background = tuple(saga.tasks[name] for name in saga.reached_by[task.name])
        for effect_done in (False, True):
            answer, status = _end(task, effect_done=effect_done)
            found += [Moment(task, effect_done, background, answer, status)]
    # While the saga asks whether the order was confirmed, it was: too late to cancel.
    found += [
        Moment(
            saga.tasks[saga.settles_pivot],
            effect_done,
            (saga.pivot,),
            409,
            "CONFIRMED",
            unheard=True,
        )
        for effect_done in (False, True)
    ]
    return found


def _end(task: Task, *, effect_done: bool) -> tuple[int, str]:
    if task.kind is Kind.PIVOT and effect_done:
        return 409, "CONFIRMED"
    if task.kind is Kind.CLOSE and effect_done:
        return 409, "REJECTED"  # closed for another reason a moment ago
    return 202, "CANCELLED"


def cancel_at(moment: Moment, ground: Ground, sku: str, *, times: int = 1) -> Race:
    """Stop an order's saga at the moment, cancel it so often at once, and let it go on."""
    faults = ground.faults
    if moment.task is ground.saga.first:
        with faults.during(_hold(moment, by_sku(moment.task, sku))) as (hold,):
            order_id = ground.place(sku)
            answers = _cancel_while_held(ground, order_id, hold, times)
            faults.release(hold)
            return _end_of(ground, order_id, answers)
    with ground.held(sku) as order_id:
        rules = [
            _hold(moment, by_order(moment.task, order_id)),
            *_way(moment.background, order_id, unheard=moment.unheard),
        ]
        ids = [faults.add(rule) for rule in rules]
    try:
        answers = _cancel_while_held(ground, order_id, ids[0], times)
    finally:
        for fault_id in ids:
            faults.remove(fault_id)
    if moment.task.kind is Kind.PARK:
        ground.resume_until_resumed(order_id, within=_WITHIN)
    return _end_of(ground, order_id, answers)


def _hold(moment: Moment, where: dict[str, str]) -> Rule:
    at = after(moment.task) if moment.effect_done else "request"
    return rule_for(moment.task, at=at, do="hold", where=where, times=1)


def _way(background: Iterable[Task], order_id: str, *, unheard: bool) -> list[Rule]:
    return [
        rule_for(
            task,
            at=after(task) if unheard else "request",
            do="error",
            where=by_order(task, order_id),
            times=None,
        )
        for task in background
    ]


def _cancel_while_held(ground: Ground, order_id: str, hold: str, times: int) -> tuple[int, ...]:
    eventually(lambda: ground.faults.all()[hold]["holding"], "the saga stands still", within=90)
    with ThreadPoolExecutor(max_workers=times) as pool:
        answers = pool.map(lambda _: ground.shop.cancel(order_id).status_code, range(times))
        return tuple(answers)


def _end_of(ground: Ground, order_id: str, answers: tuple[int, ...]) -> Race:
    order = ground.until_over(order_id, within=_WITHIN)
    return Race(answers, order["status"], ground.kept(order_id), order_id)
