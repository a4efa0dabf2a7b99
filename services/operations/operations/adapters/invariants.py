"""The invariants, each a file of SQL that opens with its sentence.

A query returns a row for each violation: the subject, what is, what should be. The folder says
where it runs: `orders` and `inventory` in those databases, `effects` in orders' after the
consumers' tables were read. What is in `prepare` is read by several of them.
"""

from dataclasses import dataclass
from pathlib import Path

FOLDER = Path(__file__).parents[1] / "invariants"


@dataclass(frozen=True, slots=True)
class Invariant:
    """A promise, and the query that finds who breaks it."""

    name: str
    sentence: str
    sql: str


def invariants(place: str) -> tuple[Invariant, ...]:
    """Return those that are checked in one place, in the order of their files."""
    return tuple(_read(path) for path in sorted((FOLDER / place).glob("*.sql")))


def preparation(name: str) -> str:
    """Return a query that several invariants build on."""
    return (FOLDER / "prepare" / name).read_text()


def _read(path: Path) -> Invariant:
    text = path.read_text()
    sentence = []
    for line in text.splitlines():
        # A second comment explains; it begins in brackets.
        if not line.startswith("-- ") or line.startswith("-- ("):
            break
        sentence.append(line.removeprefix("-- "))
    _, _, name = path.stem.partition("_")
    return Invariant(name, " ".join(sentence), text)
