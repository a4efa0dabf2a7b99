"""Faults on purpose: the rules, the calls that they concern, and what they hold back.

Nothing of LocalStack is known here. Rules come and go in the gateway's threads; calls ask for them
on the executor's event loop, in the pollers and in the gateway, so one lock guards them all.
"""

import contextlib
import functools
import itertools
import json
import re
import threading
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any, Self

# What can be done where. An operation ("sns:PublishBatch") is an AWS call that a function makes.
DEEDS = {
    "request": ("error", "kill", "lose", "delay", "hold", "twice"),
    "response": ("error", "kill", "lose", "delay", "hold"),
    "operation": ("error", "kill", "lose", "delay", "hold"),
}
WAITS = ("delay", "hold")
OPERATION = re.compile(r"[a-z][a-z0-9-]*:[A-Z][A-Za-z0-9]*")
LONGEST_SECONDS = 12 * 60 * 60
"""As long as SQS can keep a message out of sight."""

_FIELDS = ("function", "where", "at", "do", "seconds", "times")
_NOTHING = object()


class BadRule(ValueError):
    """A rule that cannot be; the text begins with the name of the field that is wrong."""


@dataclass(frozen=True)
class Rule:
    """What happens (`do`), at which point (`at`), to which calls of which function."""

    function: str
    at: str
    do: str
    where: Mapping[str, str] = field(default_factory=dict)
    seconds: float | None = None
    times: int | None = 1

    @classmethod
    def parse(cls, given: object) -> Self:
        """Read a rule from parsed JSON. Raises BadRule."""
        if not isinstance(given, dict):
            raise BadRule("a rule is a JSON object")
        for name in given.keys() - set(_FIELDS):
            raise BadRule(f"{name}: there is no such field; there are {', '.join(_FIELDS)}")
        function = given.get("function")
        if not isinstance(function, str) or not function:
            raise BadRule("function: the function's name is missing")
        at = given.get("at")
        if not isinstance(at, str) or not (at in DEEDS or OPERATION.fullmatch(at)):
            raise BadRule("at: must be request, response or service:Operation")
        do = given.get("do")
        possible = DEEDS.get(at, DEEDS["operation"])
        if do not in possible:
            raise BadRule(f"do: at {at} it must be one of {', '.join(possible)}")
        return cls(
            function=function,
            at=at,
            do=str(do),
            where=_where(given.get("where")),
            seconds=_seconds(given.get("seconds"), needed=do == "delay"),
            times=_times(given.get("times", 1)),
        )

    def as_json(self) -> dict[str, Any]:
        """Give the rule back as it was given."""
        return {name: getattr(self, name) for name in _FIELDS}


def _where(given: object) -> dict[str, str]:
    if given is None:
        return {}
    if not isinstance(given, dict):
        raise BadRule("where: must be an object of dotted paths and their values")
    for path, value in given.items():
        if isinstance(value, dict | list) or not all(path.split(".")):
            raise BadRule(f"where: {path!r} must be a dotted path with a text, number or boolean")
    return {path: _text(value) for path, value in given.items()}


def _seconds(given: object, *, needed: bool) -> float | None:
    if given is None and not needed:
        return None
    if isinstance(given, bool) or not isinstance(given, int | float):
        raise BadRule("seconds: must be a number; a delay needs it")
    if not 0 < given <= LONGEST_SECONDS:
        raise BadRule(f"seconds: must be above 0 and at most {LONGEST_SECONDS}")
    return given


def _times(given: object) -> int | None:
    if given is None:
        return None
    if isinstance(given, bool) or not isinstance(given, int) or given < 1:
        raise BadRule("times: must be a whole number of at least 1, or null for every time")
    return given


def look_up(value: object, path: str) -> str | None:
    """Return the text at a dotted path; None if nothing is there. JSON in JSON is followed."""
    for name in path.split("."):
        inner = _parsed(value) if isinstance(value, str) else value
        match inner:
            case dict():
                value = inner.get(name, _NOTHING)
            case list() if name.isdecimal() and int(name) < len(inner):
                value = inner[int(name)]
            case _:
                return None
    return None if value is _NOTHING else _text(value)


def _text(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def _parsed(text: str | bytes) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return None


@dataclass(frozen=True)
class Subject:
    """What a call is about: what paths are looked up in, and which message it is, if it is one."""

    content: Any
    message_id: str | None = None
    crowd: bool = False
    """Several messages at once. A rule concerns one message, so none concerns a crowd."""

    @classmethod
    def of_payload(cls, payload: bytes) -> Self:
        """Read a function's event. That of a queue holds the messages' bodies as text."""
        event = _parsed(payload)
        records = event.get("Records") if isinstance(event, dict) else None
        match records:
            case [{"eventSource": "aws:sqs", "messageId": str(message_id), "body": body}]:
                return cls(_parsed(body), message_id)
            case [{"eventSource": "aws:sqs"}, _, *_]:
                return cls(None, crowd=True)
        return cls(event)


@dataclass(eq=False)
class _Wait:
    """Something that is held back until it is released or its time has come."""

    released: "Future[None]" = field(default_factory=Future)
    until: float = float("inf")

    def goes_on(self) -> bool:
        return not self.released.done() and time.monotonic() < self.until


@dataclass(eq=False)
class _Entry:
    id: str
    rule: Rule
    hits: int = 0
    waits: list[_Wait] = field(default_factory=list)
    postponed: set[str] = field(default_factory=set)
    """Messages that this rule has made come later; they are not made to come later again."""

    def matches(self, function: str, subject: Subject) -> bool:
        rule = self.rule
        return (
            rule.function == function
            and not subject.crowd
            and all(look_up(subject.content, path) == text for path, text in rule.where.items())
        )

    def is_used_up(self) -> bool:
        return self.rule.times is not None and self.hits >= self.rule.times

    def let_go(self) -> list[_Wait]:
        waits, self.waits = self.waits, []
        return [wait for wait in waits if wait.goes_on()]


class Fault:
    """One rule that has been applied to one call."""

    def __init__(self, faults: "Faults", entry: _Entry) -> None:
        self._faults = faults
        self._entry = entry
        self.do = entry.rule.do
        self.seconds = entry.rule.seconds if entry.rule.do == "delay" else None

    def __str__(self) -> str:
        return f"FAULT {self._entry.id}: {self.do} at {self._entry.rule.at}"

    @contextlib.contextmanager
    def waiting(self) -> Iterator["Future[None]"]:
        """Count the caller among what the rule holds. Done when that is to go on early."""
        wait = self._faults.hold(self._entry, _Wait())
        try:
            yield wait.released
        finally:
            self._faults.forget(self._entry, wait)

    def postpone(self, message_id: str) -> "Future[None]":
        """Count a message among what the rule holds, and let it pass when it comes again."""
        until = time.monotonic() + (self.seconds or LONGEST_SECONDS)
        with self._faults.lock:
            self._entry.postponed.add(message_id)
        return self._faults.hold(self._entry, _Wait(until=until)).released


class Concern:
    """One call of a function, or one message, and the rules that concern it."""

    def __init__(
        self, faults: "Faults", function: str, payload: bytes, subject: Subject | None = None
    ) -> None:
        self._faults = faults
        self._function = function
        self._payload = payload
        self._claimed: set[str] = set()
        if subject is not None:
            self.subject = subject

    @functools.cached_property
    def subject(self) -> Subject:
        """Parsed when a rule asks, so that without rules nothing is."""
        return Subject.of_payload(self._payload)

    def exists(self) -> bool:
        """Whether any rule concerns it, whatever it does."""
        return any(
            not entry.is_used_up() and entry.matches(self._function, self.subject)
            for entry in self._faults.entries()
        )

    def take(self, at: str, *, only: tuple[str, ...] = DEEDS["request"]) -> Fault | None:
        """Apply the first rule that concerns this point, if there is one and it does one of `only`.

        At an operation the rule stays with this call, so that it meets every retry.
        """
        for entry in self._faults.entries():
            if entry.rule.at != at or not entry.matches(self._function, self.subject):
                continue
            if entry.rule.do in WAITS and self.subject.message_id in entry.postponed:
                continue
            with self._faults.lock:
                if entry.id in self._claimed:
                    return Fault(self._faults, entry)
                if entry.is_used_up():
                    continue
                if entry.rule.do not in only:
                    return None
                entry.hits += 1
                if at not in DEEDS:
                    self._claimed.add(entry.id)
            return Fault(self._faults, entry)
        return None


class Faults:
    """The rules of one cloud, in the order in which they were made."""

    def __init__(self) -> None:
        self.lock = threading.RLock()
        self._entries: dict[str, _Entry] = {}
        self._ids = map(str, itertools.count(1))

    def __bool__(self) -> bool:
        return bool(self._entries)

    def add(self, rule: Rule) -> str:
        """Return the new rule's id. It concerns what arrives from now on."""
        with self.lock:
            entry = _Entry(next(self._ids), rule)
            self._entries = {**self._entries, entry.id: entry}
        return entry.id

    def remove(self, fault_id: str) -> bool:
        """Remove a rule, and let go what it holds. False if there is no such rule."""
        with self.lock:
            entry = self._entries.get(fault_id)
            self._entries = {id_: other for id_, other in self._entries.items() if id_ != fault_id}
        return self._let_go(entry)

    def clear(self) -> None:
        """Remove every rule."""
        for entry in self.entries():
            self.remove(entry.id)

    def release(self, fault_id: str) -> bool:
        """Let go what a rule holds. False if there is no such rule."""
        return self._let_go(self._entries.get(fault_id))

    def describe(self) -> list[dict[str, Any]]:
        """Return every rule, how often it was applied, and how many it holds back just now."""
        with self.lock:
            return [
                {
                    "id": entry.id,
                    "rule": entry.rule.as_json(),
                    "hits": entry.hits,
                    "holding": sum(wait.goes_on() for wait in entry.waits),
                }
                for entry in self._entries.values()
            ]

    def entries(self) -> list[_Entry]:
        """Return the rules of this moment; never changed once it is made."""
        return list(self._entries.values())

    def call(self, function: str, payload: bytes) -> Concern:
        """Return what may happen to a call."""
        return Concern(self, function, payload)

    def message(self, function: str, message_id: str, body: str) -> Concern:
        """Return what may happen to a message before its function is called."""
        return Concern(self, function, b"", Subject(_parsed(body), message_id))

    def hold(self, entry: _Entry, wait: _Wait) -> _Wait:
        """Note that something waits; if the rule is gone already it need not."""
        with self.lock:
            entry.waits = [other for other in entry.waits if other.goes_on()]
            if entry.id in self._entries:
                entry.waits.append(wait)
                return wait
        wait.released.set_result(None)
        return wait

    def _let_go(self, entry: _Entry | None) -> bool:
        with self.lock:
            waits = entry.let_go() if entry else []
        for wait in waits:  # Not under the lock: whoever waits may do anything then.
            wait.released.set_result(None)
        return entry is not None

    def forget(self, entry: _Entry, wait: _Wait) -> None:
        """Note that it waits no longer."""
        with self.lock:
            if wait in entry.waits:
                entry.waits.remove(wait)


FAULTS = Faults()
"""Those of this LocalStack."""
