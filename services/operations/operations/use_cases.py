"""What operations does, and the collaborators that it needs."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import fields, replace
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
    """Read `{"effects": 0}` and its like, each field optional; a schedule's event asks for nothing.

    Raises ValueError naming the field.
    """
    if not isinstance(request, Mapping):
        raise ValueError(f"{request!r} is no object")  # noqa: TRY004 - the caller's data, no bug
    asked = {} if "detail-type" in request else dict(request)
    names = [field.name for field in fields(usual)]
    for name in asked:
        if name not in names:
            raise ValueError(f"{name}: unknown; one of {', '.join(names)}")
    return replace(usual, **asked)
