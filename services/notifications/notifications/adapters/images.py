"""What a change in one of the tables says about a day."""

from collections.abc import Callable, Mapping, Sequence
from datetime import date
from typing import Any

from notifications.domain import Share
from notifications.use_cases import Page, Place
from shared.contracts.orders import OrderCancelled, OrderConfirmed, OrderPlaced, OrderRejected
from shared.errors import UnreadableMessage

# An item as DynamoDB writes it: {"day": {"S": "2026-11-24"}, "units": {"N": "3"}}.
Image = Mapping[str, Mapping[str, str]]

_COUNTED_AS = {
    OrderPlaced.TYPE: "placed",
    OrderConfirmed.TYPE: "confirmed",
    OrderRejected.TYPE: "rejected",
    OrderCancelled.TYPE: "cancelled",
}


# Small: a function that runs out of time finds out between two of them.
_PAGE = 100


class Sources:
    """The tables that a day consists of, by their names."""

    def __init__(self, dynamodb: Any, *, sales: str, outcomes: str, deliveries: str) -> None:
        self._dynamodb = dynamodb
        self._readers: dict[str, Callable[[Image], Share]] = {
            sales: _sale,
            outcomes: _outcome,
            deliveries: _mail,
        }

    @property
    def names(self) -> Sequence[str]:
        """Every table, in the order in which days are made anew of them."""
        return tuple(self._readers)

    def page(self, table: str, after: Place) -> Page:
        """Return the next page of the table."""
        page = self._dynamodb.scan(
            TableName=table,
            Limit=_PAGE,
            # What was written before a generation was begun must be seen by it.
            ConsistentRead=True,
            **({"ExclusiveStartKey": after} if after else {}),
        )
        shares, faults = [], []
        for item in page["Items"]:
            try:
                shares.append(self.share(table, item))
            except UnreadableMessage as fault:
                faults.append(str(fault))
        return Page(shares, faults, page.get("LastEvaluatedKey"))

    def share(self, table: str, image: Image) -> Share:
        """Read an item of `table`; raise UnreadableMessage naming what is wrong with it."""
        reader = self._readers.get(table)
        if reader is None:
            raise UnreadableMessage(f"table {table}: no day consists of this")
        try:
            return reader(image)
        except KeyError as error:
            raise UnreadableMessage(f"{table}: {error.args[0]} is missing or unknown") from error
        except ValueError as error:
            raise UnreadableMessage(f"{table}: {error}") from error

    def share_of_record(self, record: Mapping[str, Any]) -> Share | None:
        """Read a record of a stream; None for an item that was deleted: it had its effect."""
        if record["eventName"] == "REMOVE":
            return None
        # arn:aws:dynamodb:<region>:<account>:table/<name>/stream/<label>
        table = record["eventSourceARN"].split("/")[1]
        image = record["dynamodb"].get("NewImage")
        if not image:
            raise UnreadableMessage(f"{table}: the stream shows no new images")
        return self.share(table, image)


def _sale(image: Image) -> Share:
    day, sku = image["day"]["S"], image["sku"]["S"]
    figures = {
        name: int(value["N"])
        for name, value in image.items()
        # `orders` counts an order once for each of its skus, so days are not told of it.
        if name == "units" or name.startswith("revenue_")
    }
    return Share(f"sale#{sku}", date.fromisoformat(day), figures)


def _outcome(image: Image) -> Share:
    order_id, type_ = image["order_id"]["S"], image["type"]["S"]
    figures = {_COUNTED_AS[type_]: 1}
    if type_ == OrderRejected.TYPE:
        figures[f"refused_{image['reason']['S']}"] = 1
    return Share(f"order#{order_id}#{type_}", date.fromisoformat(image["day"]["S"]), figures)


def _mail(image: Image) -> Share:
    order_id, message_id = image["order_id"]["S"], image["message_id"]["S"]
    # In UTC, as all times here.
    day = date.fromisoformat(image["sent_at"]["S"][:10])
    return Share(f"mail#{order_id}#{message_id}", day, {"emails": 1})
