"""The saga as a graph: which task a fault can reach, how, and what kind of task it is.

Everything is read from the saga's file and the services' templates, so a new state gets its place
here with no further work. What cannot be read is a CannotBeFaulted: chaos that leaves a state out
silently would prove nothing about it.
"""

import heapq
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from itertools import count
from pathlib import Path
from typing import Any

from tests.saga.lint import ORDER, SERVICE, State, read
from tests.support.templates import load

STAGE = "local"
ROOT = Path(__file__).parents[2]
ORDER_ID = "$.order_id"
LINES = "$.lines"


class CannotBeFaulted(Exception):
    """A task of the saga that no fault can be brought to: named, with the reason."""


class Kind(StrEnum):
    """What a task is for; it decides what must come of a fault in it."""

    FORWARD = "forward"
    PIVOT = "pivot"  # the last forward task: after it the order stands
    UNDO = "undo"
    CLOSE = "close"  # the last undo: the order's last status is its effect
    PARK = "park"  # waits for an operator


@dataclass(frozen=True, slots=True)
class Task:
    """A Task state, with what is needed to address its calls."""

    name: str
    kind: Kind
    function: str  # as deployed: the function that is called, or that handles the command
    function_timeout: int  # seconds
    command: str | None  # the message's type; None where the function is called directly
    order_id_at: str  # where the order's id stands in the call's payload
    lines_at: str | None  # where the order's lines stand, if they are there
    timeout: int  # seconds, of one attempt
    attempts: int
    result_key: str  # where its outcome, or its error, stands in the saga's document


@dataclass(frozen=True, slots=True)
class Saga:
    """The tasks in the order of the file, and how each is reached."""

    start: str
    tasks: Mapping[str, Task]
    # The tasks that must fail for good so that the saga comes by, in order; by task.
    reached_by: Mapping[str, tuple[str, ...]]
    # The undo that finds out whether the pivot happened, when nobody knows.
    settles_pivot: str

    @property
    def pivot(self) -> Task:
        """The last forward task."""
        return next(task for task in self.tasks.values() if task.kind is Kind.PIVOT)

    @property
    def first(self) -> Task:
        """The first task of every order: the only one that may come before the order's id does."""
        return self.tasks[self.start]


@dataclass(frozen=True, slots=True)
class Function:
    """A deployed function."""

    name: str
    timeout: int  # seconds
    operations: tuple[str, ...] = ()  # the AWS calls that its role lets it make
    reads_queue: bool = False


@dataclass(frozen=True, slots=True)
class Wiring:
    """Who answers: by placeholder of the saga's file, and by type of message."""

    by_placeholder: Mapping[str, Function]
    by_command: Mapping[str, Function]


def saga() -> Saga:
    """Return the saga of the file, as deployed to the local stage."""
    return build(read(STAGE), wiring())


def build(definition: Mapping[str, Any], wired: Wiring) -> Saga:
    """Read a definition; raise CannotBeFaulted for a task that no fault can be brought to."""
    states: Mapping[str, State] = definition["States"]
    happy = [name for name in _happy(definition) if states[name]["Type"] == "Task"]
    if not happy:
        raise CannotBeFaulted("the saga has no task")
    tasks = {
        name: _task(name, state, _kind(name, states, happy), wired)
        for name, state in states.items()
        if state["Type"] == "Task"
    }
    ways = _ways(definition, tasks)
    for name in tasks:
        if name not in ways:
            raise CannotBeFaulted(f"{name}: no path of successes and failures leads to it")
    found = Saga(happy[0], tasks, ways, states[happy[-1]]["Catch"][0]["Next"])
    if found.first.lines_at is None:
        raise CannotBeFaulted(f"{happy[0]}: comes before the order's id and shows no {LINES}")
    return found


# ── kinds ───────────────────────────────────────────────────────────────────────────────────────


def _happy(definition: Mapping[str, Any]) -> Iterator[str]:
    """Walk from the start to an end along successes alone."""
    states, name, seen = definition["States"], definition["StartAt"], set[str]()
    while name not in seen:
        seen.add(name)
        yield name
        following = _success(states[name])
        if following is None:
            return
        name = following
    raise CannotBeFaulted(f"{name}: the path of successes runs in a circle")


def _kind(name: str, states: Mapping[str, State], happy: list[str]) -> Kind:
    state = states[name]
    if name in happy:
        return Kind.PIVOT if name == happy[-1] else Kind.FORWARD
    if state["Resource"].endswith(".waitForTaskToken") and "FunctionName" in state["Parameters"]:
        return Kind.PARK
    return Kind.CLOSE if states[state["Next"]]["Type"] == "Succeed" else Kind.UNDO


# ── addresses ───────────────────────────────────────────────────────────────────────────────────


def _task(name: str, state: State, kind: Kind, wired: Wiring) -> Task:
    parameters: Any = state.get("Parameters")
    if ":sns:publish" in state["Resource"]:
        payload = parameters["Message"]
        command = payload.get("type", "")
        function = wired.by_command.get(command)
        if function is None:
            raise CannotBeFaulted(f"{name}: no function is subscribed to {command or 'its type'}")
    else:
        command = None
        if ":lambda:invoke" in state["Resource"]:
            payload, target = parameters["Payload"], parameters["FunctionName"]
        else:
            payload, target = parameters, state["Resource"]
        function = wired.by_placeholder.get(target.removeprefix("${").removesuffix("}"))
        if function is None:
            raise CannotBeFaulted(f"{name}: no function is known for {target}")
    # A task without parameters is called with the whole document.
    at = "order_id" if payload is None else _place_of(payload, ORDER_ID)
    if at is None:
        raise CannotBeFaulted(f"{name}: shows no {ORDER_ID} by which its calls could be told apart")
    lines = "lines" if payload is None else _place_of(payload, LINES)
    retries = [retry["MaxAttempts"] for retry in state.get("Retry", [])]
    return Task(
        name=name,
        kind=kind,
        function=function.name,
        function_timeout=function.timeout,
        command=command,
        order_id_at=at,
        lines_at=lines,
        timeout=state["TimeoutSeconds"],
        attempts=1 + sum(retries),
        result_key=state.get("ResultPath", "$").removeprefix("$."),
    )


def _place_of(payload: Mapping[str, Any], path: str) -> str | None:
    """Return the dotted key whose value is exactly `path`, the shallowest first."""
    waiting: list[tuple[str, Any]] = list(payload.items())
    for key, value in waiting:
        if value == path:
            return key.removesuffix(".$")
        if isinstance(value, Mapping):
            waiting += [(f"{key}.{inner}", found) for inner, found in value.items()]
    return None


# ── ways ────────────────────────────────────────────────────────────────────────────────────────


def _ways(definition: Mapping[str, Any], tasks: Mapping[str, Task]) -> dict[str, tuple[str, ...]]:
    """Return the cheapest way to each task: fewest failures, then least time to wait for them."""
    states = definition["States"]
    found: dict[str, tuple[str, ...]] = {}
    tie = count()
    waiting: list[tuple[int, int, int, str, tuple[str, ...]]] = [
        (0, 0, next(tie), definition["StartAt"], ())
    ]
    while waiting:
        faults, seconds, _, name, way = heapq.heappop(waiting)
        if name in found:
            continue
        found[name] = way
        following = _success(states[name])
        task = tasks.get(name)
        if task and task.kind is Kind.PARK:
            continue  # beyond it an operator decides, and nothing new begins there
        if following is not None:
            heapq.heappush(waiting, (faults, seconds, next(tie), following, way))
        for catch in states[name].get("Catch", []):
            wait = task.attempts * (task.timeout if task.command else 1) if task else 0
            heapq.heappush(
                waiting,
                (faults + 1, seconds + wait, next(tie), catch["Next"], (*way, name)),
            )
    return {name: found[name] for name in tasks if name in found}


def _success(state: State) -> str | None:
    """Return the state that follows if all goes well, None at an end."""
    if state["Type"] == "Choice":
        for rule in state["Choices"]:
            if _holds(rule) is not False:
                return str(rule["Next"])
        return state.get("Default")
    return state.get("Next")


def _holds(rule: Mapping[str, Any]) -> bool | None:
    """Say whether a rule holds for an ordinary order; None where a task's outcome decides.

    Whether something is present is known: an order brings ORDER, and nothing else.
    """
    if "Not" in rule:
        inner = _holds(rule["Not"])
        return None if inner is None else not inner
    if "And" in rule:
        parts = [_holds(part) for part in rule["And"]]
        return False if False in parts else None if None in parts else True
    if "Or" in rule:
        parts = [_holds(part) for part in rule["Or"]]
        return True if True in parts else None if None in parts else False
    if "IsPresent" in rule:
        top = rule["Variable"].removeprefix("$.").split(".")[0]
        return bool((top in ORDER) == rule["IsPresent"])
    return None


# ── the templates ───────────────────────────────────────────────────────────────────────────────


def wiring() -> Wiring:
    """Read who answers from the services' templates."""
    substitutions: dict[str, Function] = {}
    commands: dict[str, Function] = {}
    for template in sorted((ROOT / "services").glob("*/serverless.yml")):
        service = load(template)
        functions = _functions(service)
        resources = _resources(template.parent)
        for resource in resources.values():
            properties = resource.get("Properties", {})
            if resource["Type"] == "AWS::StepFunctions::StateMachine":
                substitutions |= _substitutions(properties, functions)
            elif resource["Type"] == "AWS::SNS::Subscription" and "commandsTopicArn" in str(
                properties["TopicArn"]
            ):
                reader = _reader(service, properties["Endpoint"], functions)
                commands |= dict.fromkeys(properties["FilterPolicy"]["type"], reader)
    return Wiring(substitutions, commands)


def functions() -> list[Function]:
    """Return every function of the services, by name."""
    found = [
        function
        for template in (ROOT / "services").glob("*/serverless.yml")
        for function in _functions(load(template)).values()
    ]
    return sorted(found, key=lambda function: function.name)


def _functions(service: Mapping[str, Any]) -> dict[str, Function]:
    """Return the functions by the logical name that the framework gives them."""
    return {
        f"{key[0].upper()}{key[1:]}LambdaFunction": Function(
            f"{service['service']}-{STAGE}-{key}",
            int(_filled(service, function.get("timeout", 6))),
            _operations(_filled(service, item) for item in function.get("iamRoleStatements", [])),
            any("sqs" in event for event in function.get("events", [])),
        )
        for key, function in service.get("functions", {}).items()
    }


# IAM names what is allowed, the SDK what is called.
_CALLED = {"sns:Publish": "sns:PublishBatch", "s3:GetObjectVersion": "s3:GetObject"}


def _operations(statements: Iterable[Mapping[str, Any]]) -> tuple[str, ...]:
    actions: set[str] = set()
    for statement in statements:
        action = statement["Action"]
        actions.update([action] if isinstance(action, str) else action)
    called = (_CALLED.get(action, action) for action in actions)
    return tuple(sorted(name.replace("states:", "stepfunctions:") for name in called))


def _filled(service: Mapping[str, Any], value: Any) -> Any:
    """Follow a reference to the service's own settings."""
    if isinstance(value, str) and (found := re.fullmatch(r"\$\{self:custom\.(\w+)\}", value)):
        return service["custom"][found[1]]
    return value


def _resources(folder: Path) -> dict[str, Any]:
    return {
        name: resource
        for file in sorted(folder.glob("resources/*.yml"))
        for name, resource in load(file).get("Resources", {}).items()
    }


def _substitutions(
    properties: Mapping[str, Any], functions: Mapping[str, Function]
) -> dict[str, Function]:
    return {
        placeholder: functions[value["Fn::GetAtt"][0]]
        for placeholder, value in properties["DefinitionSubstitutions"].items()
        if isinstance(value, dict) and value.get("Fn::GetAtt", [""])[0] in functions
    }


def _reader(
    service: Mapping[str, Any], queue: Mapping[str, Any], functions: Mapping[str, Function]
) -> Function:
    """Return the function whose event source is the queue."""
    for key, function in service["functions"].items():
        for event in function.get("events", []):
            if event.get("sqs", {}).get("arn") == queue:
                return functions[f"{key[0].upper()}{key[1:]}LambdaFunction"]
    raise CannotBeFaulted(f"{service['service']}: no function reads the queue {queue}")


def definition() -> dict[str, Any]:
    """Return the file's content for the local stage: what the tests modify."""
    assert SERVICE.is_dir()
    return read(STAGE)
