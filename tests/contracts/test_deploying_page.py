"""What docs/deploying.md lets you type is there to be typed."""

import csv
import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/deploying.md").read_text()


def test_every_target_that_it_calls_exists() -> None:
    called = set(re.findall(r"\bmake (?:-s )?([a-z][a-z-]+)", PAGE))
    targets = set(re.findall(r"^([a-z0-9-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    assert called
    assert called - targets == set()


def test_every_file_that_it_names_exists() -> None:
    named = set(re.findall(r"(?:services|shared|tools|bench|tests|platform|demo)/[\w/.-]*\w", PAGE))
    linked = {f"docs/{path}" for path in re.findall(r"\]\(([\w/.-]+)\)", PAGE)}
    assert named
    assert [path for path in sorted(named | linked) if not (ROOT / path).exists()] == []


def test_the_first_order_is_for_a_product_of_the_list_that_is_imported() -> None:
    (imported,) = re.findall(r"make import FILE=(\S+)", PAGE)
    with (ROOT / imported).open(newline="") as file:
        listed = {row["sku"]: row for row in csv.DictReader(file)}
    ((currency, sku, quantity),) = re.findall(
        r'"currency": "(\w+)", "lines": \[\{"sku": "([\w-]+)", "quantity": (\d+)', PAGE
    )
    assert listed[sku]["currency"] == currency
    assert int(listed[sku]["quantity"]) >= int(quantity)
