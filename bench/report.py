"""What every bench shares: medians, the machine, JSON in .local/bench/, plots of the docs."""

import json
import os
import platform
import re
import statistics
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

ROOT = Path(__file__).parents[1]
BENCH = ROOT / ".local/bench"
PLOTS = ROOT / "docs/performance"

OURS = "#2b6cb0"
BESIDE = "#d9d9d9"
GOAL = "#c53030"


def machine() -> dict[str, Any]:
    """Say what the figures were made on."""
    cpu = re.search(r"model name\s*: (.*)", Path("/proc/cpuinfo").read_text())
    memory = re.search(r"MemTotal:\s*(\d+)", Path("/proc/meminfo").read_text())
    return {
        "cpus": os.cpu_count(),
        "cpu": cpu[1] if cpu else platform.machine(),
        "memory_gb": round(int(memory[1]) / 2**20, 1) if memory else None,
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        "load": round(os.getloadavg()[0], 1),
    }


def median(values: Iterable[float], digits: int = 2) -> float:
    """Return the median, rounded."""
    return round(statistics.median(values), digits)


def percentile(values: Iterable[float], percent: float) -> float:
    """Return the least value that `percent` of all values do not exceed."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * percent / 100))]


def ratio(value: float, to: float, digits: int = 2) -> float:
    """Return `value / to`, rounded."""
    return round(value / to, digits)


def write(name: str, results: dict[str, Any]) -> Path:
    """Write `.local/bench/<name>.json`, with the machine and the time; return its path."""
    BENCH.mkdir(parents=True, exist_ok=True)
    path = BENCH / f"{name}.json"
    about = {"machine": machine(), "at": datetime.now(UTC).isoformat(timespec="seconds")}
    path.write_text(json.dumps({**about, **results}, indent=1) + "\n")
    return path


def axes(width: float = 8, height: float = 4) -> tuple[Figure, Axes]:
    """Return an empty plot in the documents' style; give it back to `draw`."""
    # Ids inside the file that stay the same: a plot changes when its figures do.
    mpl.rcParams["svg.hashsalt"] = "orderflow"
    figure = Figure(figsize=(width, height), layout="constrained")
    plot = figure.add_subplot()
    plot.spines[["top", "right"]].set_visible(False)
    return figure, plot


def draw(name: str, figure: Figure) -> Path:
    """Write `docs/performance/<name>.svg`; return its path."""
    PLOTS.mkdir(parents=True, exist_ok=True)
    path = PLOTS / f"{name}.svg"
    figure.savefig(path, metadata={"Date": None})
    # matplotlib ends lines with blanks, which the checks before a commit would take away.
    path.write_text(re.sub(r"[ \t]+$", "", path.read_text(), flags=re.MULTILINE))
    return path
