"""Waiting without fixed sleeps: ask until it is so, or until the deadline."""

import time
from collections.abc import Callable

PATIENCE = 150
"""Seconds: a message that failed comes again after a minute, and the relay once a minute; both may
happen to one message, on a machine that has other work."""


def eventually[T](
    probe: Callable[[], T], what: str, *, within: float = PATIENCE, every: float = 0.2
) -> T:
    """Return the first true answer of `probe`; after `within` seconds fail with the last one."""
    deadline = time.monotonic() + within
    while not (answer := probe()):
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {within:g} s: {what}; at last: {answer!r}")
        time.sleep(every)
    return answer
