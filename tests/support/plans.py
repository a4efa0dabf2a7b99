"""The query plans of all that a service's stores say to Postgres.

A test lets the stores do everything that they can on books of some size, under `listening`. Then
`faults` explains each statement, as it was sent and as the driver prepares it, and names what would
grow with the books; `unheard` names what the stores can say and did not.
"""

import ast
import re
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from types import ModuleType
from typing import Any

import sqlalchemy as sa

RECORDS = Path(__file__).parents[2] / ".local/plans"

_SPEAKS = {"execute", "scalar", "exec_driver_sql"}
_WHOLE = ("Index Scan", "Index Only Scan", "Bitmap Index Scan")


@dataclass
class Heard:
    """What was said: statements with parameters, by whom, and from which line."""

    statements: dict[str, Any] = field(default_factory=dict)
    lines: set[tuple[str, int]] = field(default_factory=set)
    functions: set[tuple[str, str]] = field(default_factory=set)


@contextmanager
def listening(engine: sa.Engine) -> Iterator[Heard]:
    """Note each statement that the engine sends meanwhile."""
    heard = Heard()

    def note(_connection: Any, _cursor: Any, statement: str, parameters: Any, *_: Any) -> None:
        first = parameters[0] if isinstance(parameters, list) else parameters
        heard.statements.setdefault(statement, first)
        frame = sys._getframe()
        while frame.f_back:
            frame = frame.f_back
            code = frame.f_code
            heard.lines.add((code.co_filename, frame.f_lineno))
            heard.functions.add((code.co_filename, code.co_name))

    sa.event.listen(engine, "before_cursor_execute", note)
    yield heard
    sa.event.remove(engine, "before_cursor_execute", note)


def unheard(heard: Heard, modules: Iterable[ModuleType]) -> list[str]:
    """Return each place in the modules that speaks to the database and was not heard."""
    silent = []
    for module in modules:
        file = str(module.__file__)
        tree = ast.parse(Path(file).read_text())
        for node in ast.walk(tree):
            if (
                isinstance(node, ast.Call)
                and isinstance(node.func, ast.Attribute)
                and node.func.attr in _SPEAKS
            ):
                extent = range(node.lineno, (node.end_lineno or node.lineno) + 1)
                if not any((file, line) in heard.lines for line in extent):
                    silent.append(f"{file}:{node.lineno}")
            if isinstance(node, ast.ClassDef) and node.name.startswith("Sql"):
                silent += [
                    f"{file}: {node.name}.{method.name}"
                    for method in node.body
                    if isinstance(method, ast.FunctionDef)
                    and not method.name.startswith("_")
                    # What opens a transaction says nothing of its own.
                    and method.name != "open"
                    and (file, method.name) not in heard.functions
                ]
    return silent


def faults(
    engine: sa.Engine, heard: Heard, growing: Sequence[str], *, record: str
) -> list[tuple[str, str]]:
    """Return each statement, with its fault, that reads a growing table or index whole.

    All plans are recorded in `.local/plans/<record>.txt`. Each statement is planned for the values
    that it came with, and for any values at all, as after its fifth time on one connection.
    """
    found, texts = [], []
    with engine.begin() as connection:
        for statement, parameters in heard.statements.items():
            if not re.match(r"\s*(SELECT|INSERT|UPDATE|DELETE|WITH)\b", statement):
                continue  # BEGIN and the like have no plan
            prepared = _prepared(statement, parameters)
            for kind, explained in (
                ("with its values", ("EXPLAIN (FORMAT JSON) " + statement, parameters)),
                ("prepared", ("EXPLAIN (GENERIC_PLAN, FORMAT JSON) " + prepared, None)),
            ):
                plan = connection.exec_driver_sql(*explained).scalar_one()[0]["Plan"]
                texts.append(f"-- {kind}\n{statement.strip()}\n{_drawn(plan)}\n")
                for node in _nodes(plan):
                    fault = _fault(node, growing)
                    if fault:
                        found.append((f"{fault}, {kind}", statement))
    RECORDS.mkdir(parents=True, exist_ok=True)
    (RECORDS / f"{record}.txt").write_text("\n".join(texts))
    return found


def _prepared(statement: str, values: dict[str, Any]) -> str:
    """Return the statement with $1 for its first parameter, and so on, as the driver sends it."""
    names: list[str] = []

    def place(match: re.Match[str]) -> str:
        if match[1] not in names:
            names.append(match[1])
        # The one type that the driver names and the statement does not.
        cast = "::interval" if isinstance(values[match[1]], timedelta) else ""
        return f"${names.index(match[1]) + 1}{cast}"

    return re.sub(r"%\((\w+)\)s", place, statement).replace("%%", "%")


def _nodes(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield plan
    for part in plan.get("Plans", []):
        yield from _nodes(part)


def _fault(node: dict[str, Any], growing: Sequence[str]) -> str | None:
    kind = node["Node Type"]
    if kind == "Seq Scan" and node["Relation Name"] in growing:
        return f"reads all of {node['Relation Name']}"
    # A partial index holds what is open or waits, which does not grow.
    index = node.get("Index Name", "")
    partial = index.endswith(("_waiting", "_open"))
    few = node.get("Relation Name", growing[0]) not in growing
    if kind in _WHOLE and "Index Cond" not in node and not partial and not few:
        return f"reads all of {index}"
    return None


def _drawn(plan: dict[str, Any], depth: int = 0) -> str:
    what = " ".join(
        str(plan[key])
        for key in ("Node Type", "Relation Name", "Index Name", "Index Cond", "Filter")
        if key in plan
    )
    parts = "".join(_drawn(part, depth + 1) for part in plan.get("Plans", []))
    return f"{'  ' * depth}{what}\n{parts}"
