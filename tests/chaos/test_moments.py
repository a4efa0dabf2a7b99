"""A customer may cancel at any moment, and at each it is known what must come of it."""

from tests.chaos.graph import Kind, saga
from tests.chaos.moments import moments

SAGA = saga()
ALL = moments(SAGA)


def test_every_task_has_a_moment_before_and_after_its_effect() -> None:
    plain = {(moment.task.name, moment.effect_done) for moment in ALL if not moment.unheard}

    assert plain == {(name, done) for name in SAGA.tasks for done in (False, True)}
    assert len({moment.name for moment in ALL}) == len(ALL)


def test_a_cancellation_is_refused_only_when_the_order_has_its_last_status() -> None:
    refused = {moment.name for moment in ALL if moment.answer == 409}

    assert refused == {
        "after Confirm Order",
        "after Close Order",
        "before Withdraw Confirmation, confirmed unheard",
        "after Withdraw Confirmation, confirmed unheard",
    }
    for moment in ALL:
        assert (moment.answer == 202) == (moment.status == "CANCELLED"), moment.name
        if moment.task.kind in (Kind.FORWARD, Kind.PIVOT):
            assert moment.status in ("CANCELLED", "CONFIRMED"), moment.name
