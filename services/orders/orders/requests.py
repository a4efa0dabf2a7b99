"""What clients may send: the models that validate it, and every fault named by its field."""

import types
import typing
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import msgspec

from orders.domain import WantedLine
from orders.use_cases import PlaceOrder

MAX_LINES = 50
MAX_QUANTITY = 999
MAX_BODY_BYTES = 64 * 1024
MAX_PAGE = 100
IDEMPOTENCY_KEY = "Idempotency-Key"

# No control characters anywhere: Postgres has no room for NUL, and nobody is called that. (`$`
# would let a newline through at the end.)
Identifier = Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z0-9._-]{1,64}\Z")]
Email = Annotated[
    str,
    msgspec.Meta(
        pattern=r"^[^@\s\x00-\x1f\x7f]+@[^@\s\x00-\x1f\x7f]+\.[A-Za-z]{2,}\Z", max_length=254
    ),
]
Currency = Literal["USD", "EUR", "GBP"]
IdempotencyKey = Annotated[str, msgspec.Meta(pattern=r"^[\x21-\x7e]{1,255}\Z")]
PageLimit = Annotated[int, msgspec.Meta(ge=1, le=MAX_PAGE)]


class LineBody(msgspec.Struct, frozen=True):
    """One line of the request."""

    sku: Identifier
    quantity: Annotated[int, msgspec.Meta(ge=1, le=MAX_QUANTITY)]


class OrderBody(msgspec.Struct, frozen=True):
    """The body of `POST /orders`."""

    customer_id: Identifier
    email: Email
    currency: Currency
    lines: Annotated[tuple[LineBody, ...], msgspec.Meta(min_length=1, max_length=MAX_LINES)]
    payment_token: Identifier


class OrdersQuery(msgspec.Struct, frozen=True):
    """The query of `GET /orders`."""

    customer_id: Identifier
    limit: PageLimit = 20
    cursor: uuid.UUID | msgspec.UnsetType = msgspec.UNSET


class ProductsQuery(msgspec.Struct, frozen=True):
    """The query of `GET /products`; an empty cursor is the first page's."""

    limit: PageLimit = 20
    cursor: Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z0-9._-]{0,64}\Z")] = ""


@dataclass(frozen=True, slots=True)
class Fault:
    """What is wrong with one field; `field` is a path such as `lines[0].quantity`."""

    field: str
    message: str


class InvalidRequest(Exception):
    """The request cannot be understood; carries every fault found."""

    def __init__(self, *faults: Fault) -> None:
        super().__init__("; ".join(f"{fault.field}: {fault.message}" for fault in faults))
        self.faults = faults


def place_order_request(body: bytes, headers: Mapping[str, str]) -> PlaceOrder:
    """Read `POST /orders`; raise InvalidRequest naming every faulty field."""
    try:
        content = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise InvalidRequest(Fault("body", f"is not JSON: {error}")) from error
    found = faults(content, OrderBody, "")
    key = headers.get(IDEMPOTENCY_KEY.lower())
    if key is not None:
        found += faults(key, IdempotencyKey, IDEMPOTENCY_KEY)
    if found:
        raise InvalidRequest(*found)
    order = msgspec.convert(content, OrderBody)
    return PlaceOrder(
        customer_id=order.customer_id,
        email=order.email,
        currency=order.currency,
        lines=tuple(WantedLine(line.sku, line.quantity) for line in order.lines),
        payment_token=order.payment_token,
        idempotency_key=key,
    )


@dataclass(frozen=True, slots=True)
class ListOrders:
    """A page of one customer's orders, newest first, older than order `before`."""

    customer_id: str
    limit: int
    before: uuid.UUID | None


def list_orders_request(query: Mapping[str, str]) -> ListOrders:
    """Read `GET /orders?customer_id=&limit=&cursor=`."""
    wanted = _read(query, OrdersQuery)
    return ListOrders(wanted.customer_id, wanted.limit, wanted.cursor or None)


@dataclass(frozen=True, slots=True)
class ListProducts:
    """A page of products in sku order, after sku `after`."""

    limit: int
    after: str


def list_products_request(query: Mapping[str, str]) -> ListProducts:
    """Read `GET /products?limit=&cursor=`."""
    wanted = _read(query, ProductsQuery)
    return ListProducts(wanted.limit, wanted.cursor)


def _read[Query: msgspec.Struct](query: Mapping[str, str], model: type[Query]) -> Query:
    """Read a query as its model says; raise InvalidRequest naming every faulty parameter."""
    values: dict[str, Any] = {}
    found: list[Fault] = []
    for field in msgspec.structs.fields(model):
        name = field.encode_name
        if name not in query and not field.required:
            continue
        if name == "limit":
            values[name], wrong = _limit(query[name])
        else:
            values[name] = query.get(name, msgspec.UNSET)
            wrong = faults(values[name], field.type, name)
        if wrong and name == "cursor":
            wrong = [Fault(name, "is not a cursor that this API gave")]
        found += wrong
    if found:
        raise InvalidRequest(*found)
    return msgspec.convert(values, model)


@dataclass(frozen=True, slots=True)
class ListParked:
    """A page of the orders that wait for an operator, those younger than order `after`."""

    limit: int
    after: uuid.UUID | None


def list_parked_request(command: Any) -> ListParked:
    """Read an operator's `{"limit", "after"}`; both may be left out."""
    if not isinstance(command, Mapping):
        raise InvalidRequest(Fault("", "must be an object"))
    found, after = [], None
    if command.get("after") is not None:
        try:
            after = uuid.UUID(str(command["after"]))
        except ValueError:
            found.append(Fault("after", "must be an order id"))
    limit, limit_faults = _limit(str(command.get("limit", MAX_PAGE)))
    if found or limit_faults:
        raise InvalidRequest(*found, *limit_faults)
    return ListParked(limit, after)


def _limit(text: str) -> tuple[int, list[Fault]]:
    whole = text.isascii() and text.isdigit() and len(text) <= 3  # noqa: PLR2004
    if whole and not faults(int(text), PageLimit, "limit"):
        return int(text), []
    return 0, [Fault("limit", f"must be a whole number from 1 to {MAX_PAGE}")]


def faults(value: Any, type_: Any, path: str) -> list[Fault]:
    """Check `value` against `type_` field by field; msgspec alone stops at the first fault."""
    if value is msgspec.UNSET:
        return [Fault(path, "is required")]
    bare = typing.get_args(type_)[0] if typing.get_origin(type_) is Annotated else type_
    if isinstance(bare, type) and issubclass(bare, msgspec.Struct):
        if not isinstance(value, dict):
            return [Fault(path or "body", "must be an object")]
        prefix = f"{path}." if path else ""
        return [
            fault
            for field in msgspec.structs.fields(bare)
            for fault in faults(
                value.get(field.encode_name, msgspec.UNSET), field.type, prefix + field.encode_name
            )
        ]
    if typing.get_origin(bare) is tuple and isinstance(value, list):
        return _list_faults(value, type_, bare, path)
    try:
        msgspec.convert(value, type_)
    except msgspec.ValidationError as error:
        return [Fault(path, str(error).split(" - at `")[0])]
    return []


def _list_faults(value: list[Any], type_: Any, bare: types.GenericAlias, path: str) -> list[Fault]:
    anything = Annotated[(list[Any], *typing.get_args(type_)[1:])]
    try:
        msgspec.convert(value, anything)
    except msgspec.ValidationError as error:
        return [Fault(path, str(error))]  # too many to look at, or none
    item = typing.get_args(bare)[0]
    found = [
        fault
        for index, each in enumerate(value)
        for fault in faults(each, item, f"{path}[{index}]")
    ]
    return found or _repeated(value, path)


def _repeated(lines: Sequence[Mapping[str, Any]], path: str) -> list[Fault]:
    seen: set[str] = set()
    found = []
    for index, line in enumerate(lines):
        if line["sku"] in seen:
            found.append(Fault(f"{path}[{index}].sku", "appears on an earlier line already"))
        seen.add(line["sku"])
    return found
