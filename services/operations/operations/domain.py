"""What an invariant is, and what breaks it."""

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Violation:
    """Something that is not as it should be; `subject` is an order's id, a sku, a currency."""

    subject: str
    is_: str
    should_be: str


@dataclass(frozen=True, slots=True)
class Finding:
    """One invariant as an audit found it: `count` violations, of which these are the first."""

    name: str
    sentence: str
    count: int
    violations: Sequence[Violation]


@dataclass(frozen=True, slots=True)
class Patience:
    """How many seconds things may take before they count as a violation.

    `sagas`: the longest run of one. `outboxes`: until what is committed is published.
    `effects`: until what is published has taken effect at every consumer.
    """

    sagas: int
    outboxes: int
    effects: int

    def __post_init__(self) -> None:
        """Refuse what no time can be."""
        for name in ("sagas", "outboxes", "effects"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name}: {getattr(self, name)} is no number of seconds")
