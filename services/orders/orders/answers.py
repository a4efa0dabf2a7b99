"""What the API answers: the models that are encoded, and that the OpenAPI document is made of."""

import uuid
from datetime import datetime
from typing import Annotated, Literal, TypedDict

import msgspec

from orders.domain import Status
from orders.requests import MAX_BODY_BYTES, Fault, Identifier

Money = Annotated[int, msgspec.Meta(ge=0, description="In minor units of the currency.")]
CurrencyCode = Annotated[str, msgspec.Meta(pattern=r"^[A-Z]{3}\Z", description="As in ISO 4217.")]
Time = Annotated[datetime, msgspec.Meta(tz=True, description="In UTC.")]


class Placed(msgspec.Struct, frozen=True):
    """An order as it was accepted; a replay of the request has the same answer."""

    order_id: uuid.UUID
    status: Literal["PLACED"]
    total: Money
    currency: CurrencyCode


class OrderLine(msgspec.Struct, frozen=True):
    """So many of one sku, at the price of the moment when the order was placed."""

    sku: Identifier
    quantity: Annotated[int, msgspec.Meta(ge=1)]
    unit_price: Money


class Parked(msgspec.Struct, frozen=True):
    """An operator is waited for: the undo that failed, and since when."""

    step: str
    since: Time


class Order(msgspec.Struct, frozen=True):
    """An order as it stands; `reason` says why it was not confirmed."""

    order_id: uuid.UUID
    customer_id: Identifier
    status: Status
    reason: str | None
    currency: CurrencyCode
    total: Money
    lines: tuple[OrderLine, ...]
    placed_at: Time
    closed_at: Time | None
    # Not the cause: it may hold what is nobody's business.
    parked: Parked | None


class OrdersPage(msgspec.Struct, frozen=True):
    """Orders, newest first; `next_cursor` is null on the last page."""

    orders: tuple[Order, ...]
    next_cursor: uuid.UUID | None


class Product(msgspec.Struct, frozen=True):
    """What is sold, and for how much."""

    sku: Identifier
    name: str
    unit_price: Money
    currency: CurrencyCode


class ProductsPage(msgspec.Struct, frozen=True):
    """Products in the order of their skus; `next_cursor` is null on the last page."""

    products: tuple[Product, ...]
    next_cursor: Identifier | None


class Attempt(TypedDict):
    """One try of a step; `ended_at` is null while it runs."""

    started_at: Time
    ended_at: Time | None
    error: str | None


class Step(TypedDict):
    """One step of the saga; `outcome` is null while it runs, and where nobody knows it."""

    step: str
    kind: Literal["forward", "undo", "operator"]
    started_at: Time
    ended_at: Time | None
    outcome: str | None
    reason: str | None
    attempts: list[Attempt]


class Timeline(msgspec.Struct, frozen=True):
    """What an order's saga did, oldest step first; no steps if it has not started yet."""

    order_id: uuid.UUID
    status: Status
    steps: list[Step]


class Problem(msgspec.Struct, frozen=True, kw_only=True, tag_field="type", tag="about:blank"):
    """Problem details (RFC 9457)."""

    title: str
    status: int
    detail: str


class InvalidRequest(Problem, frozen=True, kw_only=True):
    """The request cannot be understood; every faulty field is named."""

    title: str = "Invalid request"
    status: Literal[400] = 400
    detail: str = "Some fields are not as they should be."
    errors: tuple[Fault, ...]


class NotFound(Problem, frozen=True, kw_only=True):
    """No such order."""

    title: str = "Not found"
    status: Literal[404] = 404
    detail: str = "There is nothing under this address."


class KeyReused(Problem, frozen=True, kw_only=True):
    """The Idempotency-Key belongs to a request with another body."""

    title: str = "Idempotency key reused"
    status: Literal[409] = 409
    detail: str = "This Idempotency-Key came with another body before; use a new key."


class TooLate(Problem, frozen=True, kw_only=True):
    """The order is closed and cannot be cancelled any more."""

    title: str = "Too late"
    status: Literal[409] = 409
    status_of_order: Status


class TooLarge(Problem, frozen=True, kw_only=True):
    """The body is over the limit."""

    title: str = "Too large"
    status: Literal[413] = 413
    detail: str = f"A body may hold {MAX_BODY_BYTES} bytes."


class NotInCatalogue(Problem, frozen=True, kw_only=True):
    """Some skus are unknown, or not sold in the order's currency."""

    title: str = "Not in the catalogue"
    status: Literal[422] = 422
    detail: str = "Some skus are unknown, or not sold in this currency."
    unknown_skus: tuple[Identifier, ...]
    other_currency_skus: tuple[Identifier, ...]


class InternalError(Problem, frozen=True, kw_only=True):
    """A fault of ours."""

    title: str = "Internal error"
    status: Literal[500] = 500
    detail: str = "This is our fault; it has been noted."


class Unavailable(Problem, frozen=True, kw_only=True):
    """Something that the answer needs is away for the moment."""

    title: str = "Unavailable"
    status: Literal[503] = 503
    detail: str = "Try again: the same request is safe twice."
