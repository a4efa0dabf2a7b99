"""A ping is answered before any work; everything else is work."""

from typing import Any

import pytest

from shared.warm_up import PING, answers_pings


@answers_pings
def handler(event: Any, context: Any) -> Any:
    return event, context


def test_a_ping_is_answered_with_nothing() -> None:
    assert handler(dict(PING), "context") is None


@pytest.mark.parametrize(
    "event",
    [
        {},
        None,
        {"warm_up": False},
        {"warm_up": True, "body": "{}"},
        {"httpMethod": "POST", "body": '{"warm_up": true}'},
        {"Records": [{"body": '{"warm_up": true}'}]},
        [PING],
    ],
)
def test_whatever_else_comes_reaches_the_handler_untouched(event: Any) -> None:
    assert handler(event, "context") == (event, "context")


def test_the_handler_keeps_its_name() -> None:
    assert handler.__name__ == "handler"
