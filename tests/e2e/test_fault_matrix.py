"""The short form of the fault matrix: `make chaos` runs every cell, tests/chaos/cells.py says why.

The cells wait for timeouts most of the time. They begin with the first test of the session, side by
side and in one process (see fault_matrix in conftest.py); each test here takes its cell's result.
"""

import json
from pathlib import Path

import pytest

from tests.chaos.cells import Cell, generate, short_form
from tests.chaos.graph import saga
from tests.support.polling import eventually

CELLS = short_form(generate(saga()))


@pytest.mark.parametrize("cell", CELLS, ids=lambda cell: cell.slug)
def test_an_order_ends_as_it_must_in_spite_of(cell: Cell, fault_matrix: Path) -> None:
    file = fault_matrix / f"{cell.slug}.json"

    eventually(file.exists, f"the cell has run: {cell.name}", within=280)

    result = json.loads(file.read_text())
    assert result["wrong"] == [], f"{result['why']} (order {result['order_id']})"
