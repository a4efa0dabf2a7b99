"""A function's module executed anew, as in an execution environment of its own."""

import importlib.util
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import Any

import pytest
import sqlalchemy as sa

from shared import database


def fresh_module(name: str) -> ModuleType:
    """Run the module's init phase again, whatever has been imported before; nobody else sees it."""
    spec = importlib.util.find_spec(name)
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@contextmanager
def engines_of(bootstrap: Any) -> Iterator[list[sa.Engine]]:
    """Collect the engines that a service's bootstrap makes meanwhile; close them at the end."""
    made: list[sa.Engine] = []

    def engine(url: str) -> sa.Engine:
        made.append(database.engine(url))
        return made[-1]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(bootstrap, "engine", engine)
        yield made
    for each in made:
        each.dispose()
