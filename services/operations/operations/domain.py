"""What an audit finds, and how patient it is."""

from collections.abc import Sequence
from dataclasses import dataclass

SHOWN = 100
"""So many violations of one invariant are named; all are counted."""


@dataclass(frozen=True, slots=True)
class Violation:
    """Something that is not as it should be; `subject` is an order's id, a sku, a currency."""

    subject: str
    actual: str
    expected: str


@dataclass(frozen=True, slots=True)
class Finding:
    """One invariant as an audit found it: `count` violations, of which the first are named."""

    invariant: str
    sentence: str
    count: int
    violations: Sequence[Violation]


@dataclass(frozen=True, slots=True)
class Patience:
    """How many seconds things may take before they count as a violation.

    `sagas`: the longest run of one. `outboxes`: until what is committed is published.
    `effects`: until what is published has taken effect at every consumer. `deploys`: until a
    stack that has made its tables listens to its topics. `facts`: how long facts are certain to be
    kept after their order is closed; what is older is not compared with them.
    """

    sagas: int
    outboxes: int
    effects: int
    deploys: int
    facts: int = 60 * 24 * 3600

    def __post_init__(self) -> None:
        """Refuse what no time can be."""
        for name in ("sagas", "outboxes", "effects", "deploys", "facts"):
            value = getattr(self, name)
            if type(value) is not int or value < 0:
                raise ValueError(f"{name}: {value!r} is no number of seconds")
