"""Answers the schedule's ping before any work (docs/adr/0017): it is the init phase that it is for.

Standard library only: what keeps cold starts away must not make them longer.
"""

import functools
from collections.abc import Callable
from typing import Any

PING = {"warm_up": True}
"""The whole event. A request, a message or a step has other keys, so nobody can forge one."""

Handler = Callable[[Any, Any], Any]


def answers_pings(handler: Handler) -> Handler:
    """Return `handler`, which never sees a ping; the outermost decorator, so nothing else does."""

    @functools.wraps(handler)
    def awake(event: Any, context: Any) -> Any:
        return None if event == PING else handler(event, context)

    return awake
