"""API Gateway's proxy events, and answers: JSON, or RFC 9457 problem details."""

import base64
import functools
import uuid
from collections.abc import Callable, Mapping
from typing import Any

import msgspec
from aws_lambda_powertools import Logger
from sqlalchemy.exc import OperationalError

from orders import answers
from orders.domain import Order
from orders.requests import MAX_BODY_BYTES, Fault, InvalidRequest
from shared.errors import TransientFault

Answer = dict[str, Any]


class NotFound(Exception):
    """No such resource."""


class TooLarge(Exception):
    """The body is over the limit."""


def json(status: int, content: msgspec.Struct, headers: Mapping[str, str] | None = None) -> Answer:
    """Answer with one of the models of `orders.answers`, as JSON."""
    return _answer(status, content, "application/json", headers)


def problem(content: answers.Problem) -> Answer:
    """Answer with problem details (RFC 9457), under the status that they have."""
    return _answer(content.status, content, "application/problem+json", None)


def _answer(
    status: int, content: msgspec.Struct, media_type: str, headers: Mapping[str, str] | None
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
                return problem(answers.InvalidRequest(errors=invalid.faults))
            except TooLarge:
                return problem(answers.TooLarge())
            except NotFound:
                return problem(answers.NotFound())
            except (TransientFault, OperationalError) as fault:
                log.warning("request_failed", exc_info=fault)
                return problem(answers.Unavailable())
            except Exception:
                log.exception("request_failed")
                return problem(answers.InternalError())

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


def order_view(order: Order) -> answers.Order:
    """Return an order as the API shows it."""
    return answers.Order(
        order_id=order.id,
        customer_id=order.customer_id,
        status=order.status,
        reason=order.reason,
        currency=order.currency,
        total=order.total,
        lines=tuple(
            answers.OrderLine(line.sku, line.quantity, line.unit_price) for line in order.lines
        ),
        placed_at=order.placed_at,
        closed_at=order.closed_at,
        parked=answers.Parked(order.parked.step, order.parked.since) if order.parked else None,
    )
