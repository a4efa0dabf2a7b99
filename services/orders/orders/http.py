"""API Gateway's proxy events, and answers: JSON, or RFC 9457 problem details."""

import base64
import functools
import uuid
from collections.abc import Callable, Mapping
from typing import Any

import msgspec
from aws_lambda_powertools import Logger
from sqlalchemy.exc import OperationalError

from orders.domain import Order
from orders.requests import MAX_BODY_BYTES, Fault, InvalidRequest
from shared.errors import TransientFault

Answer = dict[str, Any]


class NotFound(Exception):
    """No such resource."""


class TooLarge(Exception):
    """The body is over the limit."""


def json(status: int, content: Any, headers: Mapping[str, str] | None = None) -> Answer:
    """Answer with `content` as JSON."""
    return _answer(status, content, "application/json", headers)


def problem(status: int, title: str, detail: str, **members: Any) -> Answer:
    """Answer with problem details (RFC 9457); `members` are extension members."""
    content = {"type": "about:blank", "title": title, "status": status, "detail": detail, **members}
    return _answer(status, content, "application/problem+json", None)


def _answer(
    status: int, content: Any, media_type: str, headers: Mapping[str, str] | None
) -> Answer:
    return {
        "statusCode": status,
        "headers": {"Content-Type": media_type, **(headers or {})},
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
            except TooLarge:
                return problem(413, "Too large", f"A body may hold {MAX_BODY_BYTES} bytes.")
            except NotFound:
                return problem(404, "Not found", "There is nothing under this address.")
            except (TransientFault, OperationalError) as fault:
                log.warning("request_failed", exc_info=fault)
                return problem(503, "Unavailable", "Try again: the same request is safe twice.")
            except Exception:
                log.exception("request_failed")
                return problem(500, "Internal error", "This is our fault; it has been noted.")

        return handler

    return decorate


def headers(event: Any) -> dict[str, str]:
    """Return the request's headers under lower-case names."""
    return {name.lower(): value for name, value in (event.get("headers") or {}).items()}


def query(event: Any) -> dict[str, str]:
    """Return the query's parameters; of a repeated one, the last."""
    return event.get("queryStringParameters") or {}


def body(event: Any) -> bytes:
    """Return the request's body; raise TooLarge, or InvalidRequest for broken base64."""
    text = event.get("body") or ""
    if event.get("isBase64Encoded"):
        try:
            content = base64.b64decode(text, validate=True)
        except ValueError as error:
            raise InvalidRequest(Fault("body", "is not base64")) from error
    else:
        content = text.encode("utf-8", "surrogatepass")
    if len(content) > MAX_BODY_BYTES:
        raise TooLarge
    return content


def order_id(event: Any) -> uuid.UUID:
    """Return the path's order id; what is no UUID names no order: NotFound."""
    try:
        return uuid.UUID((event.get("pathParameters") or {})["order_id"])
    except (KeyError, ValueError) as error:
        raise NotFound from error


def order_view(order: Order) -> dict[str, Any]:
    """Return an order as the API shows it."""
    return {
        "order_id": str(order.id),
        "customer_id": order.customer_id,
        "status": order.status.value,
        "reason": order.reason,
        "currency": order.currency,
        "total": order.total,
        "lines": [
            {"sku": line.sku, "quantity": line.quantity, "unit_price": line.unit_price}
            for line in order.lines
        ],
        "placed_at": order.placed_at,
        "closed_at": order.closed_at,
        # Not the cause: it may hold what is nobody's business.
        "parked": {"step": order.parked.step, "since": order.parked.since}
        if order.parked
        else None,
    }
