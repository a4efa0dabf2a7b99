"""A garbage collector that does not look at all of LocalStack again and again.

AWS's API models alone are a million objects that live for as long as LocalStack does. Each full
collection looks at every one of them, for one to two seconds in which no request is answered and no
saga goes on; with ten orders in flight there was one every twenty seconds (2 cores).

What has survived a collection that took long is put aside: later ones see only what is newer. Of
that, garbage with cycles in it is not found any more. There is little: a collection takes long once
for each few hundred thousand objects, and then what is in flight is put aside with the rest.
"""

import gc
import time
from collections.abc import Callable
from typing import Any

from localstack.runtime.hooks import on_infra_start

LONG_SECONDS = 0.2

THRESHOLDS = (5_000, 10, 10)
"""Of new objects until a collection; a full one every half a million, where Python's own is at
70,000 if not many are old."""


@on_infra_start()  # type: ignore[untyped-decorator]
def short_pauses() -> None:
    """Called by LocalStack once, before it starts its services."""
    gc.set_threshold(*THRESHOLDS)
    gc.callbacks.append(put_aside(LONG_SECONDS))


def put_aside(long_seconds: float) -> Callable[[str, dict[str, Any]], None]:
    """Return what Python calls before and after each collection."""
    began = 0.0

    def watch(phase: str, collection: dict[str, Any]) -> None:
        nonlocal began
        if phase == "start":
            began = time.perf_counter()
        elif collection["generation"] == 2 and time.perf_counter() - began > long_seconds:  # noqa: PLR2004 (the last)
            gc.freeze()

    return watch
