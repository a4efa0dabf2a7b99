"""A cancellation at every moment of the saga wins entirely, or not at all.

The saga is held just before, or just after, each task's effect; the customer cancels; it goes on.
"""

import pytest

from tests.chaos.graph import Kind, saga
from tests.chaos.ground import Ground, Kept
from tests.chaos.moments import Moment, Race, cancel_at, moments
from tests.support.polling import eventually
from tests.support.shop import Shop

SAGA = saga()
MOMENTS = moments(SAGA)
BEFORE_PIVOT = [m for m in MOMENTS if m.task.kind is Kind.PIVOT and not m.effect_done]
SETTLING = [m for m in MOMENTS if m.task.name == SAGA.settles_pivot and not m.effect_done]


def never_both_never_neither(race: Race, ground: Ground) -> None:
    """Check the property: what the API said is what happened, with all that belongs to it."""
    accepted = 202 in race.answers
    assert accepted == (race.status == "CANCELLED"), race
    stands = race.status == "CONFIRMED"
    assert race.kept == Kept(stands, stands, stands), race
    last = f"order.{race.status.lower()}.v1"
    # The relay may have to bring what a step that was called off did not publish.
    eventually(lambda: last in ground.facts.of(race.order_id), f"{last} is told", within=90)
    told = ground.facts.of(race.order_id).keys() - {"order.placed.v1", "order.parked.v1"}
    assert told == {last}


@pytest.mark.parametrize("moment", MOMENTS, ids=lambda moment: moment.name)
def test_a_cancellation_wins_entirely_or_not_at_all(
    moment: Moment, ground: Ground, shop: Shop
) -> None:
    race = cancel_at(moment, ground, shop.stock(1))

    assert (race.answers, race.status) == ((moment.answer,), moment.status)
    never_both_never_neither(race, ground)


@pytest.mark.parametrize("moment", [*BEFORE_PIVOT, *SETTLING], ids=lambda moment: moment.name)
def test_two_cancellations_at_once_cancel_once(moment: Moment, ground: Ground, shop: Shop) -> None:
    race = cancel_at(moment, ground, shop.stock(1), times=2)

    assert race.answers == (moment.answer,) * 2
    assert race.status == moment.status
    never_both_never_neither(race, ground)
    assert ground.facts.of(race.order_id)[f"order.{race.status.lower()}.v1"] == 1
