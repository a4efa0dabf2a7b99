"""Puts off what a library imports and a function may never use.

    later("scramp")     # before the library's own import
    import pg8000.core  # its `import scramp` now costs nothing, until a login needs it

The standard library's LazyLoader does it: the module is executed at the first look into it. That
helps only against `import x`; `from x import y` looks into it at once.
"""

import importlib.util
import sys
from collections.abc import Sequence
from importlib.machinery import ModuleSpec, PathFinder
from types import ModuleType


class _Later:
    """A finder for the modules that were named to `later`; the rest goes past it."""

    def __init__(self) -> None:
        self.names: set[str] = set()

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if name not in self.names:
            return None
        spec = PathFinder.find_spec(name, path, target)
        if spec is not None and spec.loader is not None:
            spec.loader = importlib.util.LazyLoader(spec.loader)
        return spec


_finder = _Later()


def later(*names: str) -> None:
    """Execute the modules `names` when they are first used, not when they are imported."""
    if _finder not in sys.meta_path:
        sys.meta_path.insert(0, _finder)
    _finder.names.update(names)
