"""docs/reliability.md against the code: each function has its row, each named test exists."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.support.templates import load

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "reliability.md"

_FUNCTION = re.compile(r"`([a-z]+\.[a-zA-Z]+)`")
_TEST = re.compile(r"`([\w/.-]+\.py)::(test_\w+)`")
_MENTIONED = re.compile(r"`(test_\w+)`")


class Row(NamedTuple):
    """A line of the table: what, why, and the tests as (file, name)."""

    step: str
    reason: str
    tests: list[tuple[str, str]]


def rows(page: str) -> list[Row]:
    """Return the rows of the table under "Idempotency"."""
    section = page.split("\n## Idempotency\n", 1)[1].split("\n## ", 1)[0]
    lines = [line for line in section.splitlines() if line.startswith("|")]
    cells = [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines[2:]]
    return [Row(step, reason, _TEST.findall(tests)) for step, reason, tests in cells]


def deployed() -> Iterator[str]:
    """Yield every function of every service, as `service.function`."""
    for template in sorted(ROOT.glob("*/serverless.yml")) + sorted(
        ROOT.glob("services/*/serverless.yml")
    ):
        for name in load(template).get("functions", {}):
            yield f"{template.parent.name}.{name}"


def faults(page: str) -> list[str]:
    """Say what the page claims and the code does not have, and what it leaves out."""
    table = rows(page)
    named = {function for row in table for function in _FUNCTION.findall(row.step)}
    functions = set(deployed())
    found = [f"{function} has no row" for function in sorted(functions - named)]
    found += [f"{function} does not exist" for function in sorted(named - functions)]
    found += [f"no test shows: {row.step}" for row in table if not row.tests]
    found += [f"no reason stands beside: {row.step}" for row in table if not row.reason]
    tests = {test for row in table for test in row.tests}
    found += [
        f"{file}::{name} does not exist" for file, name in sorted(tests) if not has(file, name)
    ]
    everywhere = all_tests()
    found += [f"no file has {name}" for name in _MENTIONED.findall(page) if name not in everywhere]
    return found


def has(file: str, name: str) -> bool:
    """Whether the file is there and defines the test."""
    path = ROOT / file
    return path.is_file() and name in defined_in(path)


def defined_in(path: Path) -> set[str]:
    tree = ast.parse(path.read_text())
    return {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}


def all_tests() -> set[str]:
    places = ("shared/tests", "services/*/tests/*", "tests/*")
    files = [file for place in places for file in ROOT.glob(f"{place}/test_*.py")]
    return {name for file in files for name in defined_in(file) if name.startswith("test_")}


def test_every_function_has_its_row_and_every_test_that_is_named_exists() -> None:
    assert faults(PAGE.read_text()) == []


@pytest.mark.parametrize(
    ("old", "new", "fault"),
    [
        ("| `orders.closeOrder` |", "| closing |", "orders.closeOrder has no row"),
        ("`orders.closeOrder`", "`orders.endOrder`", "orders.endOrder does not exist"),
        ("`inventory.relayOutbox`", "the other", "inventory.relayOutbox has no row"),
        (
            "::test_releasing_twice_returns_the_stock_once",
            "::test_releasing_thrice",
            (
                "services/inventory/tests/integration/test_steps.py::test_releasing_thrice"
                " does not exist"
            ),
        ),
        (
            (
                "`services/inventory/tests/integration/test_steps.py::test_shipping_twice_ships_once"
                "_under_one_tracking_number`"
            ),
            "trust us",
            "no test shows: `inventory.handleCommands` ship",
        ),
        ("`test_a_record_that_has_", "`test_a_disc_that_has_", "no file has test_a_disc_that_has_"),
    ],
)
def test_a_page_that_says_what_is_not_so_is_found_out(old: str, new: str, fault: str) -> None:
    page = PAGE.read_text()
    assert old in page
    assert any(found.startswith(fault) for found in faults(page.replace(old, new)))
