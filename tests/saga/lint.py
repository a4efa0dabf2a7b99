"""Walks the saga's file and names what breaks its promises (docs/architecture.md, the saga).

The file is the story, this is its grammar: `faults` returns one sentence for each fault.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from shared.contracts.saga import DEAD_TOKEN, FIRST_UNDO, UNDO_FROM
from tests.support.templates import load

SERVICE = Path(__file__).parents[2] / "services/orders"
SAGA = SERVICE / "saga/place_order.asl.yml"

# Each forward step and its undo, in the order in which the steps are taken.
UNDO_OF = {
    "Reserve Stock": "Release Stock",
    "Charge Payment": "Refund Payment",
    "Create Shipment": "Cancel Shipment",
    "Confirm Order": "Withdraw Confirmation",
}
FORWARD = list(UNDO_OF)
CLOSE = "Close Order"
PARK = "Park Order"
# Newest first, and the close at the end.
UNDO = [*reversed(UNDO_OF.values()), CLOSE]
END_WELL = "Confirmed"
END_UNDONE = "Closed"
# The outcome by which each step succeeds; the only other one that a step may have is a refusal.
SUCCESS = {
    "Reserve Stock": "reserved",
    "Charge Payment": "charged",
    "Create Shipment": "shipped",
    "Confirm Order": "confirmed",
}
# A repair of an order that nobody knows: no undo may be taken, and no parking could be seen.
END_UNKNOWN = "Unknown Order"
WITHDRAWAL = {
    "withdrawn": "Cancel Shipment",
    "confirmed": END_WELL,
    "unknown_order": END_UNKNOWN,
}

# What the saga of an order starts with.
ORDER = ("order_id", "currency", "total", "lines", "payment_token")
# A repair starts with the order's id and these.
REPAIR = (UNDO_FROM, DEAD_TOKEN)
BEGIN = "Begin At"

_BEGIN = {
    "Type": "Choice",
    "Choices": [{"Variable": f"$.{UNDO_FROM}", "IsPresent": True, "Next": UNDO[0]}],
    "Default": FORWARD[0],
}

MAX_ATTEMPTS = 20
_JSONATA_KEYS = ("QueryLanguage", "Arguments", "Output", "Assign", "Condition", "Items")

State = Mapping[str, Any]


@dataclass(frozen=True)
class Code:
    """What the code says that the file must agree with."""

    outcomes: Mapping[str, frozenset[str]]  # by task
    commands: Mapping[str, str]  # message type, by task
    result_keys: tuple[str, ...]  # where Close Order looks for outcomes, in step order


def read(stage: str) -> dict[str, Any]:
    """Return the saga as deployed to `stage`; ARNs stay placeholders."""
    custom = load(SERVICE / "serverless.yml")["custom"]
    settings = custom["sagaStages"].get(stage, custom["sagaStages"]["other"])
    return dict(_filled(load(SAGA), settings))


def _filled(node: Any, settings: Mapping[str, Any]) -> Any:
    if isinstance(node, dict):
        return {key: _filled(value, settings) for key, value in node.items()}
    if isinstance(node, list):
        return [_filled(value, settings) for value in node]
    if isinstance(node, str) and (found := re.fullmatch(r"\$\{self:custom\.saga\.(\w+)\}", node)):
        return settings[found[1]]
    return node


def faults(saga: Mapping[str, Any], code: Code) -> list[str]:
    """Return what is wrong with `saga`, nothing if it is as it should be."""
    states: Mapping[str, State] = saga["States"]
    structure = list(_structure(saga, states))
    if structure:
        return structure  # the rest would stumble over it
    tasks = {name: state for name, state in states.items() if state["Type"] == "Task"}
    reachable = _reachable(saga["StartAt"], states)
    found = [f"{name}: cannot be reached" for name in states if name not in reachable]
    found += [
        *_clocks(tasks),
        *_catches(states, tasks, code),
        *_places(tasks),
        *_commands(tasks, code),
        *_frugal(tasks),
    ]
    for name in [*FORWARD, *UNDO]:
        found += _outcomes(name, states, code.outcomes[name])
    found += _undo_order(states)
    found += _resume(states)
    return found


def _structure(saga: Mapping[str, Any], states: Mapping[str, State]) -> Iterator[str]:
    yield from _dialect(saga, states)
    tasks = {name for name, state in states.items() if state["Type"] == "Task"}
    expected = {*FORWARD, *UNDO, PARK}
    yield from (f"{name}: no such task" for name in sorted(expected - tasks))
    yield from (
        f"{name}: a task that is neither a step, nor the undo named for one"
        for name in sorted(tasks - expected)
    )
    for name, state in states.items():
        for target in _targets(state):
            if target not in states:
                yield f"{name}: goes on to {target}, which does not exist"
    if saga["StartAt"] != BEGIN or BEGIN not in states:
        yield f"the saga starts at {saga['StartAt']}, not at {BEGIN}"
    elif states[BEGIN] != _BEGIN:
        yield (
            f"{BEGIN}: does not lead to {UNDO[0]} where there is {UNDO_FROM}, else to {FORWARD[0]}"
        )
    if UNDO[0] != FIRST_UNDO:
        yield f"{BEGIN}: repairs expect to begin at {FIRST_UNDO}"


def _dialect(saga: Mapping[str, Any], states: Mapping[str, State]) -> Iterator[str]:
    for where, text in _leaves(saga):
        if text is None:
            # Found in a deployed saga: the default took the null's place, and undid nothing.
            yield f"{where}: null, which CloudFormation drops"
        elif "{%" in text:
            yield f"{where}: {text!r} is JSONata, this file is JSONPath"
    for name, state in {"the file": saga, **states}.items():
        for key in _JSONATA_KEYS:
            if key in state:
                yield f"{name}: {key} belongs to JSONata, this file is JSONPath"


def _clocks(tasks: Mapping[str, State]) -> Iterator[str]:
    for name, task in tasks.items():
        if not _positive(task.get("TimeoutSeconds")):
            yield f"{name}: no TimeoutSeconds"
        retries = task.get("Retry", [])
        if not any(retry["ErrorEquals"] == ["States.ALL"] for retry in retries):
            yield f"{name}: no Retry of States.ALL"
        for retry in retries:
            attempts = retry.get("MaxAttempts")
            if not _positive(attempts) or attempts > MAX_ATTEMPTS:
                yield f"{name}: Retry is not bounded: MaxAttempts is {attempts}"
            if retry.get("BackoffRate", 0) <= 1 or not _positive(retry.get("MaxDelaySeconds")):
                yield f"{name}: Retry has no bounded backoff"
            if retry.get("JitterStrategy") != "FULL":
                yield f"{name}: Retry has no jitter"


def _catches(states: Mapping[str, State], tasks: Mapping[str, State], code: Code) -> Iterator[str]:
    places = dict(zip(FORWARD, code.result_keys, strict=True))
    for name, task in tasks.items():
        catches = task.get("Catch", [])
        if [catch["ErrorEquals"] for catch in catches] != [["States.ALL"]]:
            yield f"{name}: no Catch of States.ALL, and of nothing else"
            continue
        target, place = catches[0]["Next"], catches[0].get("ResultPath", "$")
        if name in places:
            expected = f"$.{places[name]}"
            if place != expected or task.get("ResultPath") != expected:
                yield f"{name}: leaves its outcome and its error not at {expected} alone"
            if target != UNDO_OF[name]:
                yield f"{name}: its outcome is unknown, but {target} follows, not its undo"
        elif name == PARK:
            if target != PARK:
                yield f"{name}: fails into {target}, and nobody would know of the order"
        else:
            yield from _stuck(name, target, place, states)


def _places(tasks: Mapping[str, State]) -> Iterator[str]:
    """Each result has a place of its own in the document: nothing overwrites the story."""
    taken = {f"$.{key}" for key in (*ORDER, *REPAIR, "stuck", "stuck_at")}
    for name, task in tasks.items():
        place = task.get("ResultPath", "$")
        if not re.fullmatch(r"\$\.\w+", place) or place in taken:
            yield f"{name}: its result overwrites what the saga knows, at {place}"
        taken.add(place)


def _stuck(name: str, target: str, place: str, states: Mapping[str, State]) -> Iterator[str]:
    expected = {"Type": "Pass", "Result": name, "ResultPath": "$.stuck_at", "Next": PARK}
    if place != "$.stuck" or states[target] != expected:
        yield f"{name}: fails, and does not lead to {PARK} under its own name"


def _commands(tasks: Mapping[str, State], code: Code) -> Iterator[str]:
    ids = set()
    for name, task in tasks.items():
        waits = task["Resource"].endswith(".waitForTaskToken")
        if waits and "$$.Task.Token" not in {text for _, text in _leaves(task)}:
            yield f"{name}: waits for a task token that it does not send"
        if name not in code.commands:
            continue
        parameters = task.get("Parameters", {})
        message = parameters.get("Message", {})
        attribute = parameters.get("MessageAttributes", {}).get("type", {}).get("StringValue")
        wanted = code.commands[name]
        if message.get("type") != wanted or attribute != wanted:
            yield f"{name}: its message and attribute are not both of type {wanted}"
        if message.get("id.$") in ids or "$.order_id" not in message.get("id.$", ""):
            yield f"{name}: its message's id is not its own, derived from the order"
        ids.add(message.get("id.$"))


def _frugal(tasks: Mapping[str, State]) -> Iterator[str]:
    """What a repair passes through reads what a repair has: the order's id, and where it stuck."""
    known = {"$.order_id", "$.stuck", "$.stuck_at"}
    for name in [*UNDO, PARK]:
        for where, text in _leaves(tasks[name].get("Parameters", {})):
            for path in re.findall(r"(?<!\$)\$\.\w+", text or ""):
                if path not in known:
                    yield f"{name}: {where} reads {path}, which a repair does not have"


def _outcomes(name: str, states: Mapping[str, State], possible: frozenset[str]) -> Iterator[str]:
    task = states[name]
    following = states[task["Next"]]
    if len(possible) == 1:
        if following["Type"] == "Choice":
            yield f"{name}: can only answer {', '.join(possible)}, and needs no Choice"
        return
    if following["Type"] != "Choice":
        yield f"{name}: no Choice looks at its outcome"
        return
    branches: dict[str, str] = {}
    for rule in following["Choices"]:
        if set(rule) != {"Variable", "StringEquals", "Next"} or rule["Variable"] != (
            f"{task['ResultPath']}.outcome"
        ):
            yield f"{task['Next']}: looks at something else than {name}'s outcome"
            return
        branches[rule["StringEquals"]] = rule["Next"]
    for outcome in sorted(branches.keys() - possible):
        yield f"{task['Next']}: {outcome} is no outcome that the code of {name} returns"
    for outcome in sorted(possible - branches.keys()):
        yield f"{task['Next']}: nothing follows the outcome {outcome} of {name}"
    yield from _branches(name, branches, following.get("Default"))


def _branches(name: str, branches: Mapping[str, str], default: str | None) -> Iterator[str]:
    """Check where the outcomes lead. A refused step has no effect: what came before is undone."""
    if name in UNDO_OF:
        position = FORWARD.index(name)
        onward = FORWARD[position + 1] if position + 1 < len(FORWARD) else END_WELL
        before = UNDO_OF[FORWARD[position - 1]] if position else CLOSE
        expected = {SUCCESS[name]: onward, "refused": before}
        unknown = UNDO_OF[name]
    else:
        expected, unknown = WITHDRAWAL, f"Stuck at {name}"
    for outcome, target in branches.items():
        if outcome in expected and target != expected[outcome]:
            yield f"{name}: {outcome} leads to {target}, not to {expected[outcome]}"
    if default != unknown:
        yield f"{name}: an unknown outcome leads to {default}, not to {unknown}"


def _undo_order(states: Mapping[str, State]) -> Iterator[str]:
    """From whichever undo the saga enters, the older ones follow, none is left out."""
    for position, name in enumerate(UNDO):
        following = UNDO[position + 1] if position + 1 < len(UNDO) else END_UNDONE
        if states[states[name]["Next"]]["Type"] == "Choice":
            continue  # looked at with the outcomes
        if states[name]["Next"] != following:
            yield f"{name}: {states[name]['Next']} follows, not {following}: newest first"
        # Null would say "drop it", but CloudFormation drops nulls, and the default overwrites.
        if states[name].get("ResultPath") in (None, "$"):
            yield f"{name}: its result overwrites what the steps left behind"
    for end, type_ in {END_WELL: "Succeed", END_UNDONE: "Succeed", END_UNKNOWN: "Fail"}.items():
        if states.get(end, {}).get("Type") != type_:
            yield f"{end}: is no end"


def _resume(states: Mapping[str, State]) -> Iterator[str]:
    resume = states[states[PARK]["Next"]]
    known = {
        rule["StringEquals"]: rule["Next"]
        for rule in resume.get("Choices", [])
        if rule["Variable"] == "$.stuck_at"
    }
    stuck = {
        str(state["Result"])
        for state in states.values()
        if state["Type"] == "Pass" and state.get("ResultPath") == "$.stuck_at"
    }
    yield from (f"Resume At: does not know {name}" for name in sorted(stuck - known.keys()))
    yield from (f"Resume At: {name} is never stuck" for name in sorted(known.keys() - stuck))
    for name, target in known.items():
        if target != name:
            yield f"Resume At: {name} goes on from {target}"


def _targets(state: State) -> Iterator[str]:
    for holder in [state, *state.get("Catch", []), *state.get("Choices", [])]:
        if "Next" in holder:
            yield holder["Next"]
    if "Default" in state:
        yield state["Default"]


def _reachable(start: str, states: Mapping[str, State]) -> set[str]:
    found: set[str] = set()
    waiting = [start]
    while waiting:
        name = waiting.pop()
        if name not in found:
            found.add(name)
            waiting += _targets(states[name])
    return found


def _leaves(node: Any, where: str = "") -> Iterator[tuple[str, str | None]]:
    """Yield every string and every null, with its path."""
    if isinstance(node, dict):
        for key, value in node.items():
            yield from _leaves(value, f"{where}.{key}".lstrip("."))
    elif isinstance(node, list):
        for value in node:
            yield from _leaves(value, where)
    elif node is None or isinstance(node, str):
        yield where, node


def _positive(value: Any) -> bool:
    return type(value) is int and value > 0
