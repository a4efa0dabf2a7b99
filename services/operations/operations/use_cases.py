"""What operations does, and the collaborators that it needs."""

from collections.abc import Iterable, Sequence
from typing import Protocol

from operations.domain import Finding, Patience


class Auditor(Protocol):
    """Reads the others' data and compares it."""

    def findings(self, patience: Patience) -> Iterable[Finding]:
        """Check every invariant, in order."""


def audit(patience: Patience, *, auditor: Auditor) -> Sequence[Finding]:
    """Return each invariant as it was found."""
    return list(auditor.findings(patience))
