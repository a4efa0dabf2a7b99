"""What operations does, and the collaborators that it needs."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import fields
from typing import Any, Protocol

from operations.domain import Finding, Patience


class Books(Protocol):
    """All that the other services hold."""

    def compare(self, patience: Patience) -> Iterable[Finding]:
        """Check every invariant, in order."""


def audit(request: Any, *, usual: Patience, books: Books) -> Sequence[Finding]:
    """Check every invariant, with the patience asked for, or else the usual one."""
    return list(books.compare(patience_of(request, usual)))


def patience_of(request: Any, usual: Patience) -> Patience:
    """Read `{"effects": 0}` and its like; a schedule's event has no such fields.

    Raises ValueError naming the field.
    """
    asked = request if isinstance(request, Mapping) else {}
    return Patience(
        **{field.name: asked.get(field.name, getattr(usual, field.name)) for field in fields(usual)}
    )
