"""What `budgets.toml` says: how large a zip may be, and what a function may import."""

import tomllib
from pathlib import Path
from typing import Any

BUDGETS: dict[str, Any] = tomllib.loads(Path(__file__).with_suffix(".toml").read_text())
KINDS: dict[str, dict[str, Any]] = BUDGETS["kinds"]


def kind_of(function: str) -> str:
    """Return the kind of `service/function`; raise if it has none, or several."""
    (kind,) = [name for name, kind in KINDS.items() if function in kind["modules"]]
    return kind
