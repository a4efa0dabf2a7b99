"""What a crash test does and when: a pure function of its seed.

The same seed, count of orders and services give the same schedule. What the machine makes of it
may differ from run to run, as it does between two crashes.
"""

import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from tests.chaos.graph import STAGE, Function

ORDERS_A_SECOND = 3.0
BLOWS_A_SECOND = 1.0
HOT_SKUS = 4

# What a buyer does, how often, and how such an order may end. Whatever happens, money that was
# declined is not taken, and what is not there is not sold.
KINDS: dict[str, tuple[int, frozenset[str]]] = {
    "happy": (10, frozenset({"CONFIRMED", "REJECTED"})),
    "cancelled": (4, frozenset({"CONFIRMED", "REJECTED", "CANCELLED"})),
    "declined": (2, frozenset({"REJECTED"})),
    "out of stock": (2, frozenset({"REJECTED"})),
    "oversize": (1, frozenset({"REJECTED"})),
    "gateway error": (1, frozenset({"REJECTED"})),
    "gateway timeout": (1, frozenset({"REJECTED"})),
}
TOKENS = {
    "declined": "tok_declined",
    "gateway error": "tok_error",
    "gateway timeout": "tok_timeout",
}

# Functions that take no part while orders run.
_IDLE = (f"inventory-{STAGE}-receiveStock",)
_DATABASES = ("orders", "inventory")


@dataclass(frozen=True, slots=True)
class Purchase:
    """An order to be placed, `at` seconds after the start."""

    at: float
    kind: str
    shelf: int  # which of the popular skus
    quantity: int
    cancel_after: float | None = None  # seconds after it was placed


@dataclass(frozen=True, slots=True)
class Blow:
    """Something that breaks, `at` seconds after the start.

    kill: a process of `function`, `share` of the way through those there are
    disconnect: connections to database `function`: the one at `share`, or `all` of them
    rule: the next matching call meets `rule`
    """

    at: float
    kind: str
    function: str
    share: float = 0.0
    all: bool = False
    rule: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Schedule:
    """All that will happen, each list in the order of time."""

    seed: int
    purchases: tuple[Purchase, ...]
    blows: tuple[Blow, ...]

    @property
    def seconds(self) -> float:
        """How long purchases and blows go on."""
        return max(self.purchases[-1].at, self.blows[-1].at)


def make(seed: int, orders: int, functions: Sequence[Function]) -> Schedule:
    """Draw the schedule of a seed."""
    dice = random.Random(seed)  # noqa: S311 - a schedule, not a secret
    seconds = orders / ORDERS_A_SECOND
    purchases = sorted(
        (_purchase(dice, dice.uniform(0, seconds)) for _ in range(orders)),
        key=lambda purchase: purchase.at,
    )
    # A process that only migrates, or only receives stock, has no part in an order.
    targets = [
        function
        for function in functions
        if function.name not in _IDLE and not function.name.endswith("-migrate")
    ]
    blows = sorted(
        (
            _blow(dice, dice.uniform(0, seconds + 5), targets)
            for _ in range(max(4, round(seconds * BLOWS_A_SECOND)))
        ),
        key=lambda blow: blow.at,
    )
    return Schedule(seed, tuple(purchases), tuple(blows))


def _purchase(dice: random.Random, at: float) -> Purchase:
    (kind,) = dice.choices(list(KINDS), [weight for weight, _ in KINDS.values()])
    shelf, quantity = dice.randrange(HOT_SKUS), dice.randint(1, 3)
    # Most sagas cross their pivot within two seconds: some cancellations win, some come late.
    after = round(dice.uniform(0, 2.5), 2) if kind == "cancelled" else None
    return Purchase(round(at, 2), kind, shelf, quantity, after)


def _blow(dice: random.Random, at: float, targets: Sequence[Function]) -> Blow:
    kind = dice.choices(["kill", "disconnect", "rule"], [3, 2, 6])[0]
    function, share = dice.choice(targets), round(dice.random(), 3)
    if kind == "kill":
        return Blow(round(at, 2), kind, function.name, share)
    if kind == "disconnect":
        return Blow(
            round(at, 2),
            kind,
            dice.choice(_DATABASES),
            share,
            all=dice.random() < 0.3,
        )
    return Blow(round(at, 2), kind, function.name, rule=_rule(dice, function))


def _rule(dice: random.Random, function: Function) -> dict[str, Any]:
    at = dice.choice(["request", "response", *function.operations])
    deeds = ["error", "kill", "lose", "delay"]
    if at == "request":
        # A message comes twice for certain at some time, a request only if a client repeats it.
        deeds += ["twice"] * (3 if function.reads_queue else 1)
    do = dice.choice(deeds)
    rule: dict[str, Any] = {"function": function.name, "at": at, "do": do, "times": 1}
    if do == "delay":
        rule["seconds"] = round(dice.uniform(0.5, 20), 1)
    return rule
