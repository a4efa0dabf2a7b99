"""Money: each path, each place to die, and in the end what was captured is what was meant."""

import contextlib
from collections.abc import Iterator
from typing import Any
from uuid import UUID

import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from orders.adapters.sandbox_gateway import SandboxGateway
from orders.adapters.tables import gateway_ledger, payments
from shared.errors import TransientFault
from shared.ids import uuid7

from .conftest import World, at_once
from .till import CHARGE_DEATHS, REFUND_DEATHS, Died, Till

DECLINED = {"outcome": "refused", "reason": "DECLINED"}
TOO_LATE = {"outcome": "refused", "reason": "ALREADY_REFUNDED"}
CHARGED = {"outcome": "charged"}
REFUNDED = {"outcome": "refunded"}


@pytest.fixture
def till(postgres: sa.Engine) -> Till:
    return Till(postgres, uuid7())


def row(world: World, order_id: UUID) -> str | None:
    query = sa.select(payments.c.status).where(payments.c.order_id == order_id)
    return str(world.run(query).scalar_one_or_none())


def captured(world: World, order_id: UUID) -> int:
    """Return what the gateway holds of the customer's money."""
    query = sa.select(gateway_ledger.c.amount).where(
        gateway_ledger.c.key == str(order_id), gateway_ledger.c.status == "captured"
    )
    return int(world.run(query).scalar_one_or_none() or 0)


def test_an_approved_card_is_charged_once(world: World, till: Till) -> None:
    assert [till.charge(), till.charge()] == [CHARGED] * 2
    assert captured(world, till.order_id) == 1800
    assert row(world, till.order_id) == "charged"


def test_a_declined_card_is_not_charged_and_has_nothing_to_refund(world: World, till: Till) -> None:
    till.token = "tok_declined"
    assert [till.charge(), till.charge()] == [DECLINED] * 2
    assert till.refund() == REFUNDED
    assert captured(world, till.order_id) == 0
    assert row(world, till.order_id) == "declined"


@pytest.mark.parametrize(
    ("token", "held", "end"), [("tok_error", 0, "void"), ("tok_timeout", 1800, "refunded")]
)
def test_an_outcome_that_nobody_knows_is_undone(
    world: World, till: Till, token: str, held: int, end: str
) -> None:
    till.token = token
    for _ in range(3):
        with pytest.raises(TransientFault):
            till.charge()
        assert captured(world, till.order_id) == held  # once, however often it is tried
    assert till.refund() == REFUNDED
    assert captured(world, till.order_id) == 0
    assert row(world, till.order_id) == end


def test_refunding_twice_gives_the_money_back_once(world: World, till: Till) -> None:
    till.charge()
    assert [till.refund(), till.refund()] == [REFUNDED] * 2
    assert captured(world, till.order_id) == 0
    assert row(world, till.order_id) == "refunded"


def test_a_refund_before_its_charge_refuses_the_late_charge(world: World, till: Till) -> None:
    assert till.refund() == REFUNDED
    assert [till.charge(), till.charge()] == [TOO_LATE] * 2
    assert captured(world, till.order_id) == 0
    assert row(world, till.order_id) == "void"


def test_the_gateway_itself_refuses_a_charge_after_its_reversal(
    world: World, postgres: sa.Engine
) -> None:
    gateway, key = SandboxGateway(postgres), uuid7()
    assert [gateway.reverse(str(key)), gateway.reverse(str(key))] == [False, False]
    charged = gateway.charge(str(key), amount=1800, currency="EUR", token="tok_visa")
    assert not charged.approved
    assert captured(world, key) == 0


@pytest.mark.parametrize("death", CHARGE_DEATHS)
def test_a_charge_that_died_anywhere_is_finished_by_its_retry(
    world: World, till: Till, death: str
) -> None:
    with pytest.raises(Died):
        till.charge(death)
    assert till.charge() == CHARGED
    assert captured(world, till.order_id) == 1800


@pytest.mark.parametrize("death", CHARGE_DEATHS)
def test_a_charge_that_died_anywhere_is_undone_by_its_refund(
    world: World, till: Till, death: str
) -> None:
    with pytest.raises(Died):
        till.charge(death)
    assert till.refund() == REFUNDED
    assert till.charge() == TOO_LATE
    assert captured(world, till.order_id) == 0


@pytest.mark.parametrize("death", REFUND_DEATHS)
def test_a_refund_that_died_anywhere_is_finished_by_its_retry(
    world: World, till: Till, death: str
) -> None:
    till.charge()
    with pytest.raises(Died):
        till.refund(death)
    assert till.refund() == REFUNDED
    assert captured(world, till.order_id) == 0
    assert row(world, till.order_id) == "refunded"


@pytest.mark.parametrize("death", REFUND_DEATHS)
def test_a_refund_that_died_once_it_had_begun_still_bars_the_charge(
    world: World, till: Till, death: str
) -> None:
    with pytest.raises(Died):
        till.refund(death)
    begun = death != "before begin_refund"
    assert till.charge() == (TOO_LATE if begun else CHARGED)
    assert captured(world, till.order_id) == (0 if begun else 1800)


def overtaken(when: str, till: Till, other: Till) -> Iterator[Any]:
    """Let a whole refund run in the middle of a charge."""
    inner = till.gateway.inner

    class Slow:
        def charge(self, *args: Any, **kwargs: Any) -> Any:
            if when == "before the capture":
                other.refund()
            result = inner.charge(*args, **kwargs)
            if when == "after the capture":
                other.refund()
            return result

        reverse = inner.reverse

    till.gateway.inner = Slow()
    yield till.charge()


@pytest.mark.parametrize("when", ["before the capture", "after the capture"])
def test_a_refund_in_the_middle_of_a_charge_leaves_nothing_captured(
    world: World, till: Till, engines: list[sa.Engine], when: str
) -> None:
    other = Till(engines[0], till.order_id)
    assert list(overtaken(when, till, other)) == [TOO_LATE]
    assert captured(world, till.order_id) == 0
    assert row(world, till.order_id) in {"refunded", "void"}


def test_charging_eight_times_at_once_captures_once(world: World, engines: list[sa.Engine]) -> None:
    order_id = uuid7()
    assert at_once(*(Till(engine, order_id).charge for engine in engines)) == [CHARGED] * 8
    assert captured(world, order_id) == 1800
    assert Till(engines[0], order_id).refund() == REFUNDED
    assert captured(world, order_id) == 0


def test_charging_and_refunding_at_once_leaves_nothing_captured(
    world: World, engines: list[sa.Engine]
) -> None:
    for _ in range(10):
        order_id = uuid7()
        tills = [Till(engine, order_id) for engine in engines]
        answers = at_once(
            *(till.charge for till in tills[:4]), *(till.refund for till in tills[4:])
        )
        assert all(isinstance(answer, dict) for answer in answers), answers
        assert captured(world, order_id) == 0


_steps = st.lists(
    st.tuples(st.just("charge"), st.sets(st.sampled_from(CHARGE_DEATHS), max_size=2))
    | st.tuples(st.just("refund"), st.sets(st.sampled_from(REFUND_DEATHS), max_size=2)),
    max_size=6,
)


@given(
    steps=_steps,
    token=st.sampled_from(["tok_visa", "tok_declined", "tok_error", "tok_timeout"]),
    undone=st.booleans(),
)
@settings(
    max_examples=150,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
def test_whatever_happened_before_the_last_step_settles_the_money(
    world: World, postgres: sa.Engine, steps: Any, token: str, undone: bool
) -> None:
    till = Till(postgres, uuid7(), token=token)
    refund_begun = False
    for name, deaths in steps:
        with contextlib.suppress(Died, TransientFault):
            getattr(till, name)(*deaths)
        refund_begun |= name == "refund" and "before begin_refund" not in deaths
        assert captured(world, till.order_id) in {0, 1800}
    if undone:
        assert till.refund() == REFUNDED
        assert captured(world, till.order_id) == 0
    else:
        try:
            outcome = till.charge()
        except TransientFault:
            return
        if refund_begun:
            assert outcome in (TOO_LATE, DECLINED)
            till.refund()  # the saga tries until it is done
        assert (outcome == CHARGED) is (captured(world, till.order_id) == 1800)
