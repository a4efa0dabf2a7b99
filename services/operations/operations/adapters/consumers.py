"""What the consumers' DynamoDB tables hold, as rows to compare by SQL; a page at a time."""

from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any

Item = Mapping[str, Mapping[str, str]]


class Consumers:
    """Notifications' three tables."""

    def __init__(self, dynamodb: Any, *, records: str, deliveries: str, sales: str) -> None:
        self._dynamodb = dynamodb
        self.records, self.deliveries, self.sales = records, deliveries, sales

    def since(self, table: str) -> datetime:
        """When the table was made: no fact from before can be in it."""
        made: datetime = self._dynamodb.describe_table(TableName=table)["Table"]["CreationDateTime"]
        return made

    def dealt_with(self) -> Iterator[tuple[str]]:
        """Return the key of each fact that a consumer has done with."""
        done = self._scan(
            self.records,
            "id",
            names={"#status": "status"},
            # The highest version of each order lies in the same table; it has no status.
            FilterExpression="#status = :done",
            ExpressionAttributeValues={":done": {"S": "COMPLETED"}},
        )
        for item in done:
            yield (item["id"]["S"],)

    def mails(self) -> Iterator[tuple[str, str]]:
        """Return order and fact of each mail that was sent."""
        for item in self._scan(self.deliveries, "order_id, #type", names={"#type": "type"}):
            yield item["order_id"]["S"], item["type"]["S"]

    def sold(self) -> Iterator[tuple[str, str, str, str]]:
        """Return day, sku, measure and amount of each sales figure."""
        for item in self._scan(self.sales):
            for measure, value in item.items():
                if "N" in value:
                    yield item["day"]["S"], item["sku"]["S"], measure, value["N"]

    def _scan(
        self,
        table: str,
        projection: str | None = None,
        names: Mapping[str, str] | None = None,
        **arguments: Any,
    ) -> Iterator[Item]:
        if projection:
            arguments["ProjectionExpression"] = projection
        if names:
            arguments["ExpressionAttributeNames"] = names
        # Consistent: what took effect before the scan is in it.
        pages = self._dynamodb.get_paginator("scan").paginate(
            TableName=table, ConsistentRead=True, **arguments
        )
        for page in pages:
            yield from page["Items"]
