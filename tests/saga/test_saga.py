"""The saga's file keeps its promises, and the lint that says so sees each broken one."""

import ast
import inspect
from collections.abc import Callable
from copy import deepcopy
from types import ModuleType
from typing import Any

import pytest

import inventory.domain
import inventory.use_cases
import notifications.domain
import orders.domain
import orders.timeline
import orders.use_cases
from tests.saga.lint import UNDO, Code, faults, read

# Each step's use case; its code is read for the outcomes that it can return.
USE_CASES: dict[str, Callable[..., Any]] = {
    "Reserve Stock": inventory.use_cases.reserve,
    "Charge Payment": orders.use_cases.charge_payment,
    "Create Shipment": inventory.use_cases.ship,
    "Confirm Order": orders.use_cases.confirm_order,
    "Withdraw Confirmation": orders.use_cases.withdraw_confirmation,
    "Cancel Shipment": inventory.use_cases.cancel_shipment,
    "Refund Payment": orders.use_cases.refund_payment,
    "Release Stock": inventory.use_cases.release,
    "Close Order": orders.use_cases.close_order,
}


@pytest.mark.parametrize("stage", ["local", "production"])
def test_the_saga_keeps_its_promises(stage: str, code: Code) -> None:
    assert faults(read(stage), code) == []


@pytest.mark.parametrize("step", USE_CASES)
def test_a_step_returns_exactly_the_outcomes_that_it_declares(step: str, code: Code) -> None:
    assert _returned(USE_CASES[step]) == code.outcomes[step]


def test_every_declared_set_of_outcomes_belongs_to_a_step(code: Code) -> None:
    declared = {
        name: value
        for domain in (orders.domain, inventory.domain)
        for name, value in vars(domain).items()
        if name.endswith("_OUTCOMES") and not name.startswith("_")
    }
    assert len(declared) == len(code.outcomes)
    assert set(declared.values()) == set(code.outcomes.values())


@pytest.mark.parametrize(
    "reason",
    [
        *sorted(inventory.domain.RESERVE_REASONS | inventory.domain.SHIP_REASONS),
        orders.domain.DECLINED,
        orders.domain.ALREADY_REFUNDED,
        orders.domain.CANCEL_REQUESTED,
        orders.domain.ABANDONED,
        *orders.domain._STEPS.values(),
        "UNKNOWN",
    ],
)
def test_every_reason_to_reject_an_order_has_words_for_the_customer(reason: str) -> None:
    assert str(reason) in notifications.domain._REASONS


def test_the_timeline_knows_which_steps_are_undo() -> None:
    assert set(UNDO) == orders.timeline._UNDO


# One broken copy for each promise: what is done to it, and how the fault is told.

Break = Callable[[dict[str, Any]], Any]

BREAKS: dict[str, tuple[Break, str]] = {
    "a task without a timeout": (
        lambda s: s["Charge Payment"].pop("TimeoutSeconds"),
        "Charge Payment: no TimeoutSeconds",
    ),
    "a task without a retry": (
        lambda s: s["Release Stock"].pop("Retry"),
        "Release Stock: no Retry of States.ALL",
    ),
    "a retry without end": (
        lambda s: s["Create Shipment"]["Retry"][0].update(MaxAttempts=99999999),
        "Create Shipment: Retry is not bounded: MaxAttempts is 99999999",
    ),
    "a retry without backoff": (
        lambda s: s["Create Shipment"]["Retry"][0].update(BackoffRate=1),
        "Create Shipment: Retry has no bounded backoff",
    ),
    "a retry without jitter": (
        lambda s: s["Refund Payment"]["Retry"][0].pop("JitterStrategy"),
        "Refund Payment: Retry has no jitter",
    ),
    "a step without a catch": (
        lambda s: s["Reserve Stock"].pop("Catch"),
        "Reserve Stock: no Catch of States.ALL, and of nothing else",
    ),
    "a catch of timeouts alone": (
        lambda s: s["Charge Payment"]["Catch"][0].update(ErrorEquals=["States.Timeout"]),
        "Charge Payment: no Catch of States.ALL, and of nothing else",
    ),
    "a failed step that is not undone itself": (
        lambda s: s["Charge Payment"]["Catch"][0].update(Next="Release Stock"),
        "Charge Payment: its outcome is unknown, but Release Stock follows, not its undo",
    ),
    "an error that Close Order would not find": (
        lambda s: s["Charge Payment"]["Catch"][0].update(ResultPath="$.error"),
        "Charge Payment: leaves its outcome and its error not at $.charge alone",
    ),
    "an undo that fails into the close": (
        lambda s: s["Cancel Shipment"]["Catch"][0].update(Next="Close Order"),
        "Cancel Shipment: fails, and does not lead to Park Order under its own name",
    ),
    "an undo that is stuck under another's name": (
        lambda s: s["Refund Payment"]["Catch"][0].update(Next="Stuck at Release Stock"),
        "Refund Payment: fails, and does not lead to Park Order under its own name",
    ),
    "a parking that fails into the end": (
        lambda s: s["Park Order"]["Catch"][0].update(Next="Closed"),
        "Park Order: fails into Closed, and nobody would know of the order",
    ),
    "an undo under another name": (
        lambda s: s.update({"Undo Payment": s["Refund Payment"]}),
        "Undo Payment: a task that is neither a step, nor the undo named for one",
    ),
    "a step that is gone": (lambda s: s.pop("Confirm Order"), "Confirm Order: no such task"),
    "a renamed outcome": (
        lambda s: s["Payment Charged?"]["Choices"][0].update(StringEquals="paid"),
        "Payment Charged?: paid is no outcome that the code of Charge Payment returns",
    ),
    "an outcome that nobody looks at": (
        lambda s: s["Stock Reserved?"]["Choices"].pop(),
        "Stock Reserved?: nothing follows the outcome refused of Reserve Stock",
    ),
    "no look at the outcome at all": (
        lambda s: s["Confirm Order"].update(Next="Confirmed"),
        "Confirm Order: no Choice looks at its outcome",
    ),
    "a choice about another step's outcome": (
        lambda s: s["Shipment Created?"]["Choices"][0].update(Variable="$.charge.outcome"),
        "Shipment Created?: looks at something else than Create Shipment's outcome",
    ),
    "a refused payment that leaves the stock reserved": (
        lambda s: s["Payment Charged?"]["Choices"][1].update(Next="Close Order"),
        "Charge Payment: refused leads to Close Order, not to Release Stock",
    ),
    "an unknown outcome taken for a refusal": (
        lambda s: s["Shipment Created?"].update(Default="Refund Payment"),
        "Create Shipment: an unknown outcome leads to Refund Payment, not to Cancel Shipment",
    ),
    "an undo left out": (
        lambda s: s["Cancel Shipment"].update(Next="Release Stock"),
        "Cancel Shipment: Release Stock follows, not Refund Payment: newest first",
    ),
    "an undo that overwrites the story": (
        lambda s: s["Refund Payment"].pop("ResultPath"),
        "Refund Payment: its result overwrites what the saga knows, at $",
    ),
    "an undo that writes over a step's outcome": (
        lambda s: s["Refund Payment"].update(ResultPath="$.charge"),
        "Refund Payment: its result overwrites what the saga knows, at $.charge",
    ),
    "a null, which CloudFormation drops": (
        lambda s: s["Release Stock"].update(ResultPath=None),
        "States.Release Stock.ResultPath: null, which CloudFormation drops",
    ),
    "a withdrawn confirmation that ends well": (
        lambda s: s["Confirmation Withdrawn?"]["Choices"][0].update(Next="Confirmed"),
        "Withdraw Confirmation: withdrawn leads to Confirmed, not to Cancel Shipment",
    ),
    "a repair that leaves out the pivot": (
        lambda s: s["Begin At"]["Choices"][0].update(Next="Cancel Shipment"),
        (
            "Begin At: does not lead to Withdraw Confirmation where there is undo_from, else to"
            " Reserve Stock"
        ),
    ),
    "an order that is undone unless it asks not to be": (
        lambda s: s["Begin At"].update(Default="Withdraw Confirmation"),
        (
            "Begin At: does not lead to Withdraw Confirmation where there is undo_from, else to"
            " Reserve Stock"
        ),
    ),
    "an undo that reads what a repair does not have": (
        lambda s: s["Refund Payment"]["Parameters"].update({"amount.$": "$.total"}),
        "Refund Payment: amount.$ reads $.total, which a repair does not have",
    ),
    "an unknown order that is undone all the same": (
        lambda s: s["Confirmation Withdrawn?"]["Choices"][2].update(Next="Cancel Shipment"),
        "Withdraw Confirmation: unknown_order leads to Cancel Shipment, not to Unknown Order",
    ),
    "an unknown order that ends well": (
        lambda s: s["Unknown Order"].update(Type="Succeed"),
        "Unknown Order: is no end",
    ),
    "a stuck undo that cannot be resumed": (
        lambda s: s["Resume At"]["Choices"].pop(2),
        "Resume At: does not know Refund Payment",
    ),
    "a stuck undo that is skipped when resumed": (
        lambda s: s["Resume At"]["Choices"][2].update(Next="Release Stock"),
        "Resume At: Refund Payment goes on from Release Stock",
    ),
    "a state that does not exist": (
        lambda s: s["Release Stock"].update(Next="Close"),
        "Release Stock: goes on to Close, which does not exist",
    ),
    "a state that nothing leads to": (
        lambda s: s.update({"Notify": {"Type": "Pass", "Next": "Closed"}}),
        "Notify: cannot be reached",
    ),
    "JSONata": (
        lambda s: s["Charge Payment"].update(QueryLanguage="JSONata"),
        "Charge Payment: QueryLanguage belongs to JSONata, this file is JSONPath",
    ),
    "a JSONata expression": (
        lambda s: s["Charge Payment"]["Parameters"].update(amount="{% $states.input.total %}"),
        (
            "States.Charge Payment.Parameters.amount: '{% $states.input.total %}' is JSONata,"
            " this file is JSONPath"
        ),
    ),
    "a message whose attribute says something else": (
        lambda s: s["Release Stock"]["Parameters"]["MessageAttributes"]["type"].update(
            StringValue="inventory.released.v1"
        ),
        "Release Stock: its message and attribute are not both of type inventory.release.v1",
    ),
    "two commands with one id": (
        lambda s: s["Release Stock"]["Parameters"]["Message"].update(
            {"id.$": "States.Format('{}/reserve', $.order_id)"}
        ),
        "Release Stock: its message's id is not its own, derived from the order",
    ),
    "a task token that is not sent": (
        lambda s: s["Create Shipment"]["Parameters"]["Message"].pop("tasktoken.$"),
        "Create Shipment: waits for a task token that it does not send",
    ),
}


@pytest.mark.parametrize("name", BREAKS)
def test_the_lint_names(name: str, code: Code) -> None:
    # A retry block is one object under several names: the copy must not share it.
    saga = read("local")
    states = {state: deepcopy(content) for state, content in saga["States"].items()}
    break_, fault = BREAKS[name]
    break_(states)
    assert fault in faults({**saga, "States": states}, code)


def test_an_outcome_that_only_the_code_knows_is_named(code: Code) -> None:
    more = Code(
        {**code.outcomes, "Refund Payment": frozenset({"refunded", "refused"})},
        code.commands,
        code.result_keys,
    )
    assert "Refund Payment: no Choice looks at its outcome" in faults(read("local"), more)


def _returned(use_case: Callable[..., Any]) -> set[str]:
    """Collect the outcomes in a use case's code, and in the helpers of its module that it calls."""
    module = inspect.getmodule(use_case)
    assert module is not None
    found: set[str] = set()
    waiting, seen = [use_case.__name__], set()
    while waiting:
        name = waiting.pop()
        if name in seen:
            continue
        seen.add(name)
        for node in ast.walk(_definition(module, name)):
            if isinstance(node, ast.Dict):
                found |= {
                    str(value.value)
                    for key, value in zip(node.keys, node.values, strict=True)
                    if isinstance(key, ast.Constant)
                    and key.value == "outcome"
                    and isinstance(value, ast.Constant)
                }
            elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
                if node.func.id == "Outcome":
                    assert isinstance(node.args[0], ast.Constant), "an outcome must be legible"
                    found.add(str(node.args[0].value))
                elif _is_helper(module, node.func.id):
                    waiting.append(node.func.id)
    return found


def _is_helper(module: ModuleType, name: str) -> bool:
    function = getattr(module, name, None)
    return inspect.isfunction(function) and function.__module__ == module.__name__


def _definition(module: ModuleType, name: str) -> ast.AST:
    return ast.parse(inspect.getsource(getattr(module, name)))
