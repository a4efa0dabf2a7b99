"""A crash test that failed can be run again: its seed says all that it does."""

from tests.chaos.graph import functions
from tests.chaos.schedule import KINDS, make

FUNCTIONS = functions()


def test_the_same_seed_is_the_same_schedule() -> None:
    assert make(7, 200, FUNCTIONS) == make(7, 200, FUNCTIONS)


def test_another_seed_is_another_schedule() -> None:
    one, other = make(7, 50, FUNCTIONS), make(8, 50, FUNCTIONS)

    assert one.purchases != other.purchases
    assert one.blows != other.blows


def test_so_many_orders_are_placed_as_were_asked_for() -> None:
    for orders in (1, 20, 200):
        assert len(make(1, orders, FUNCTIONS).purchases) == orders


def test_a_long_schedule_has_buyers_and_blows_of_every_kind() -> None:
    schedule = make(1, 200, FUNCTIONS)

    assert {purchase.kind for purchase in schedule.purchases} == KINDS.keys()
    assert {blow.kind for blow in schedule.blows} == {"kill", "disconnect", "rule"}
    rules = [blow.rule for blow in make(1, 2000, FUNCTIONS).blows if blow.rule]
    assert {rule["do"] for rule in rules} == {"error", "kill", "lose", "delay", "twice"}
    assert {"request", "response", "stepfunctions:SendTaskSuccess", "sns:PublishBatch"} <= {
        rule["at"] for rule in rules
    }


def test_events_come_in_the_order_of_time() -> None:
    schedule = make(3, 100, FUNCTIONS)

    for events in (schedule.purchases, schedule.blows):
        assert sorted(events, key=lambda event: event.at) == list(events)
    assert schedule.seconds < 60


def test_a_rule_of_a_schedule_strikes_once() -> None:
    assert {blow.rule["times"] for blow in make(2, 500, FUNCTIONS).blows if blow.rule} == {1}


def test_nothing_that_only_deploys_is_broken() -> None:
    broken = {blow.function for blow in make(2, 2000, FUNCTIONS).blows}

    assert not [name for name in broken if name.endswith(("-migrate", "-receiveStock"))]
    assert "inventory-local-handleCommands" in broken
