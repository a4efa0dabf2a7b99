"""Sales in DynamoDB: figures for each day and sku, and what became of each order."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import timedelta
from typing import Any

from notifications.adapters.once import Result, later
from notifications.domain import KEPT_DAYS
from notifications.use_cases import Sale

# An outcome outlives the figures of its day, which consist of it.
_KEEP_OUTCOMES = timedelta(days=KEPT_DAYS + 1)


def result_of(sale: Sale) -> Result:
    """Return what the idempotency record keeps, and what `sales_writes` writes."""
    return {
        "outcome": "counted",
        "order_id": sale.order_id,
        "type": sale.type,
        "reason": sale.reason,
        "day": sale.day.isoformat(),
        "currency": sale.currency,
        "skus": [asdict(sku) for sku in sale.skus],
    }


def sales_writes(sales: str, outcomes: str, result: Result) -> Sequence[Mapping[str, Any]]:
    """Return the outcome, and one addition for each sku; all in one transaction, or none.

    An order has 50 lines at most, and DynamoDB takes 100 writes in a transaction.
    """
    return [_outcome(outcomes, result), *_additions(sales, result)]


def _outcome(table: str, result: Result) -> Mapping[str, Any]:
    texts = ("order_id", "type", "day", "currency")
    item = {name: {"S": result[name]} for name in texts}
    if result["reason"]:
        item["reason"] = {"S": result["reason"]}
    item["expires_at"] = {"N": str(later(_KEEP_OUTCOMES))}
    return {"Put": {"TableName": table, "Item": item}}


def _additions(table: str, result: Result) -> Sequence[Mapping[str, Any]]:
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
