"""The saga's file is read as it stands, and what no fault can reach is said, not left out."""

from collections.abc import Callable
from copy import deepcopy
from typing import Any

import boto3
import pytest

from tests.chaos.cells import Fault, Lasting, generate
from tests.chaos.graph import (
    CannotBeFaulted,
    Kind,
    build,
    definition,
    functions,
    saga,
    wiring,
)
from tests.saga.lint import FORWARD, PARK, UNDO, UNDO_OF

Break = Callable[[dict[str, Any]], Any]


def broken(change: Break) -> dict[str, Any]:
    """Return the definition after a change; a retry block is one object under several names."""
    whole = definition()
    states = {name: deepcopy(state) for name, state in whole["States"].items()}
    change(states)
    return {**whole, "States": states}


def test_every_task_of_the_file_is_found_with_its_kind() -> None:
    kinds = {name: task.kind for name, task in saga().tasks.items()}

    assert kinds == {
        **dict.fromkeys(FORWARD[:-1], Kind.FORWARD),
        FORWARD[-1]: Kind.PIVOT,
        **dict.fromkeys(UNDO[:-1], Kind.UNDO),
        UNDO[-1]: Kind.CLOSE,
        PARK: Kind.PARK,
    }


def test_each_task_is_addressed_at_the_function_that_really_does_it() -> None:
    tasks = saga().tasks

    assert tasks["Charge Payment"].function == "orders-local-chargePayment"
    assert tasks["Charge Payment"].order_id_at == "order_id"
    assert tasks["Release Stock"].function == "inventory-local-handleCommands"
    assert tasks["Release Stock"].command == "inventory.release.v1"
    assert tasks["Release Stock"].order_id_at == "subject"
    assert tasks["Park Order"].function == "orders-local-parkOrder"
    assert tasks["Close Order"].order_id_at == "order_id", "called with the whole document"


def test_a_task_is_reached_with_as_few_failures_as_possible() -> None:
    ways = saga().reached_by

    assert all(ways[name] == () for name in FORWARD)
    assert all(len(ways[name]) == 1 for name in UNDO)
    assert len(ways[PARK]) == 2
    for step, undo in UNDO_OF.items():
        if undo in ("Withdraw Confirmation", "Refund Payment"):
            assert ways[undo] == (step,)


def test_a_choice_on_what_an_order_never_brings_is_not_taken() -> None:
    # How a repair enters the saga: not the way of an ordinary order.
    def enter_at_the_undo(states: dict[str, Any]) -> None:
        states["Undo?"] = {
            "Type": "Choice",
            "Choices": [
                {
                    "And": [
                        {"Variable": "$.undo_from", "IsPresent": True},
                        {"Variable": "$.undo_from", "StringEquals": "confirm"},
                    ],
                    "Next": "Withdraw Confirmation",
                }
            ],
            "Default": "Reserve Stock",
        }

    changed = broken(enter_at_the_undo) | {"StartAt": "Undo?"}

    assert build(changed, wiring()) == saga()


def test_a_new_step_gets_its_cells_with_no_further_work() -> None:
    def one_more_step(states: dict[str, Any]) -> None:
        # Placed between charge and shipment; it answers under the charge's name here, because
        # orders.domain must know each step's reason.
        new = deepcopy(states["Charge Payment"])
        new["Next"] = "Create Shipment"
        states["Insure Parcel"] = new
        states["Payment Charged?"]["Choices"][0]["Next"] = "Insure Parcel"

    changed = build(broken(one_more_step), wiring())
    new = [cell for cell in generate(changed) if cell.task.name == "Insure Parcel"]

    assert changed.tasks["Insure Parcel"].kind is Kind.FORWARD
    assert len(new) == len(Fault) * len(Lasting)
    assert len(generate(changed)) == len(generate(saga())) + len(new)


UNREACHABLE: dict[str, tuple[Break, str]] = {
    "a task that nothing leads to": (
        lambda s: s.update({"Notify": deepcopy(s["Close Order"])}),
        "Notify: no path of successes and failures leads to it",
    ),
    "an undo that only an operator would reach": (
        lambda s: s["Confirm Order"]["Catch"][0].update(Next="Cancel Shipment"),
        "Withdraw Confirmation: no path of successes and failures leads to it",
    ),
    "a task that does not show its order": (
        lambda s: s["Refund Payment"]["Parameters"].clear(),
        "Refund Payment: shows no $.order_id by which its calls could be told apart",
    ),
    "a command without a subject": (
        lambda s: (
            s["Release Stock"]["Parameters"]["Message"].pop("subject.$"),
            s["Release Stock"]["Parameters"]["Message"]["data"].clear(),
        ),
        "Release Stock: shows no $.order_id by which its calls could be told apart",
    ),
    "a command that nobody is subscribed to": (
        lambda s: s["Create Shipment"]["Parameters"]["Message"].update(type="parcel.ship.v1"),
        "Create Shipment: no function is subscribed to parcel.ship.v1",
    ),
    "a function that is not known": (
        lambda s: s["Charge Payment"].update(Resource="${ChargeCardFunctionArn}"),
        "Charge Payment: no function is known for ${ChargeCardFunctionArn}",
    ),
    "a first step that does not show the order's lines": (
        lambda s: s["Reserve Stock"]["Parameters"]["Message"]["data"].pop("lines.$"),
        "Reserve Stock: comes before the order's id and shows no $.lines",
    ),
    "a path of successes without an end": (
        lambda s: s["Order Confirmed?"]["Choices"][0].update(Next="Charge Payment"),
        "Charge Payment: the path of successes runs in a circle",
    ),
}


@pytest.mark.parametrize("name", UNREACHABLE)
def test_the_run_fails_for(name: str) -> None:
    change, message = UNREACHABLE[name]

    with pytest.raises(CannotBeFaulted) as failure:
        build(broken(change), wiring())

    assert str(failure.value) == message


def test_every_call_that_a_role_allows_is_one_that_can_be_struck() -> None:
    """IAM has names of its own for some; a rule for one of those would be refused."""
    allowed = {operation for function in functions() for operation in function.operations}
    assert allowed
    session = boto3.Session()
    for operation in allowed:
        service, _, name = operation.partition(":")
        model = session.client(service, region_name="us-east-1").meta.service_model
        assert name in model.operation_names, operation
