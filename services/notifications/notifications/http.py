"""Answers of API Gateway's proxy: JSON, or RFC 9457 problem details."""

import functools
from collections.abc import Callable
from typing import Any

import msgspec
from aws_lambda_powertools import Logger
from botocore.exceptions import BotoCoreError, ClientError

from notifications.requests import InvalidRequest

Answer = dict[str, Any]


class NotFound(Exception):
    """No such resource; the text says what there is instead."""


def json(content: Any) -> Answer:
    """Answer 200 with `content`."""
    return _answer(200, content, "application/json")


def problem(status: int, title: str, detail: str, **members: Any) -> Answer:
    """Answer with problem details (RFC 9457); `members` are extension members."""
    content = {"type": "about:blank", "title": title, "status": status, "detail": detail, **members}
    return _answer(status, content, "application/problem+json")


def _answer(status: int, content: Any, media_type: str) -> Answer:
    return {
        "statusCode": status,
        "headers": {"Content-Type": media_type},
        "body": msgspec.json.encode(content).decode(),
    }


def endpoint(log: Logger) -> Callable[[Callable[[Any], Answer]], Callable[[Any, Any], Answer]]:
    """Make an API handler of `event -> answer`: the edge, where every exception gets an answer."""

    def decorate(handle: Callable[[Any], Answer]) -> Callable[[Any, Any], Answer]:
        @functools.wraps(handle)
        def handler(event: Any, _context: Any) -> Answer:
            try:
                return handle(event)
            except InvalidRequest as invalid:
                return problem(
                    400,
                    "Invalid request",
                    "Some fields are not as they should be.",
                    errors=[
                        {"field": fault.field, "message": fault.message} for fault in invalid.faults
                    ],
                )
            except NotFound as missing:
                return problem(404, "Not found", str(missing))
            except (ClientError, BotoCoreError) as fault:
                log.warning("request_failed", exc_info=fault)
                return problem(503, "Unavailable", "Try again: the same request is safe twice.")
            except Exception:
                log.exception("request_failed")
                return problem(500, "Internal error", "This is our fault; it has been noted.")

        return handler

    return decorate


def query(event: Any) -> dict[str, str]:
    """Return the query's parameters; of a repeated one, the last."""
    return event.get("queryStringParameters") or {}
