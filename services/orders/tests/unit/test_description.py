"""The API's description is served for next to nothing, and to nobody's harm."""

import json
import subprocess
import sys
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

SERVICE = Path(__file__).parents[2]
HANDLERS = ("get_openapi", "get_docs")

PROGRAM = """
import sys, json
sys.path.insert(0, sys.argv[1])
before = set(sys.modules)
import importlib
importlib.import_module("orders.handlers." + sys.argv[2])
loaded = {name.partition(".")[0] for name in set(sys.modules) - before}
print(json.dumps(sorted(loaded - sys.stdlib_module_names)))
"""


def answer(name: str) -> dict[str, Any]:
    found: dict[str, Any] = import_module(f"orders.handlers.{name}").handler({}, None)
    return found


@pytest.mark.parametrize("name", HANDLERS)
def test_describing_the_api_imports_nothing_but_the_standard_library(name: str) -> None:
    done = subprocess.run(
        [sys.executable, "-I", "-c", PROGRAM, str(SERVICE), name],
        capture_output=True,
        text=True,
        check=True,
    )
    assert json.loads(done.stdout) == ["orders"]


def test_the_committed_document_is_served() -> None:
    served = answer("get_openapi")
    assert served["statusCode"] == 200
    assert served["headers"]["Content-Type"] == "application/json"
    assert json.loads(served["body"]) == json.loads((SERVICE / "openapi.json").read_text())


def test_the_committed_page_is_served_and_a_browser_may_fetch_nothing_for_it() -> None:
    served = answer("get_docs")
    assert served["statusCode"] == 200
    assert served["headers"]["Content-Type"] == "text/html; charset=utf-8"
    assert served["headers"]["Content-Security-Policy"].startswith("default-src 'none';")
    assert served["body"] == (SERVICE / "docs.html").read_text()
