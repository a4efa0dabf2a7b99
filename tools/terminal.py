"""What the operators' programs print alike."""

import sys
from datetime import timedelta

from rich.console import Console
from rich.text import Text

# A pipe has no width; nothing should be cut off in it.
_WIDE = 220


def console() -> Console:
    """Return a console as wide as the terminal, or wide enough where there is none."""
    return Console(width=None if sys.stdout.isatty() else _WIDE, highlight=False)


def plain(value: object) -> Text:
    """Return text as it is: no markup is read in it, and nothing in it moves the cursor."""
    return Text("".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in str(value)))


def age(time: timedelta) -> str:
    """Return a time in its two largest units: `3 d 4 h`, `12 s`."""
    seconds = max(0, int(time.total_seconds()))
    units = (("d", 86400), ("h", 3600), ("min", 60), ("s", 1))
    parts: list[tuple[int, str]] = []
    for name, size in units:
        count, seconds = divmod(seconds, size)
        if count or parts:
            parts.append((count, name))
    return " ".join(f"{count} {name}" for count, name in parts[:2] if count) or "0 s"
