"""Sales figures in DynamoDB: one item for each day and sku."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from notifications.adapters.once import Result
from notifications.use_cases import Sale


def result_of(sale: Sale) -> Result:
    """Return what the idempotency record keeps, and what `sales_writes` writes."""
    return {
        "outcome": "counted",
        "day": sale.day.isoformat(),
        "currency": sale.currency,
        "skus": [asdict(sku) for sku in sale.skus],
    }


def sales_writes(table: str, result: Result) -> Sequence[Mapping[str, Any]]:
    """Return one addition for each sku; all are part of one transaction, or none is made.

    An order has 50 lines at most, and DynamoDB takes 100 writes in a transaction.
    """
    return [
        {
            "Update": {
                "TableName": table,
                "Key": {"day": {"S": result["day"]}, "sku": {"S": sku["sku"]}},
                "UpdateExpression": "ADD #units :units, #orders :one, #revenue :revenue",
                "ExpressionAttributeNames": {
                    "#units": "units",
                    "#orders": "orders",
                    # An attribute for each currency: ADD makes no maps, and no sum mixes them.
                    "#revenue": f"revenue_{result['currency']}",
                },
                "ExpressionAttributeValues": {
                    ":units": {"N": str(sku["units"])},
                    ":one": {"N": "1"},
                    ":revenue": {"N": str(sku["revenue"])},
                },
            }
        }
        for sku in result["skus"]
    ]
