"""Draws the fault matrix as one page that needs nothing from any other host."""

import json
from pathlib import Path
from typing import Any

_TEMPLATE = Path(__file__).with_name("matrix.html")


def draw(content: dict[str, Any]) -> str:
    """Return the page for a report (see matrix.report)."""
    data = json.dumps(content, separators=(",", ":"))
    # Inside a script element only "</" could end it, and "<!--" change its meaning.
    return _TEMPLATE.read_text().replace("/*DATA*/null", data.replace("<", "\\u003c"))
