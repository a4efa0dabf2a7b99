"""Mail through SES, and what DynamoDB remembers of it."""

import hashlib
from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any

from botocore.exceptions import ClientError

from notifications.adapters.once import KEEP, Result, later
from notifications.domain import KEPT_DAYS, Mail
from notifications.use_cases import Delivery

# A mail outlives the figures of its day, which count it.
_KEEP_DELIVERIES = timedelta(days=KEPT_DAYS + 1)


class SesPost:
    """Sends from one verified address."""

    def __init__(self, ses: Any, sender: str) -> None:
        self._ses = ses
        self._sender = sender

    def send(self, mail: Mail) -> str:
        """Return SES's message id; a refusal or no answer raises, and the fact comes again."""
        answer = self._ses.send_email(
            Source=self._sender,
            Destination={"ToAddresses": [mail.recipient]},
            Message={
                "Subject": {"Data": mail.subject, "Charset": "UTF-8"},
                "Body": {"Text": {"Data": mail.body, "Charset": "UTF-8"}},
            },
        )
        message_id: str = answer["MessageId"]
        return message_id


class DynamoProgress:
    """The highest version of each order, beside the idempotency records and expiring like them."""

    def __init__(self, dynamodb: Any, table: str) -> None:
        self._dynamodb = dynamodb
        self._table = table

    def reach(self, order_id: str, version: int) -> bool:
        """One conditional write. The same version again is not stale: its mail may have failed."""
        try:
            self._dynamodb.update_item(
                TableName=self._table,
                Key={"id": {"S": f"version#{order_id}"}},
                UpdateExpression="SET #version = :version, expiration = :expiration",
                ConditionExpression="attribute_not_exists(#version) OR #version <= :version",
                ExpressionAttributeNames={"#version": "version"},
                ExpressionAttributeValues={
                    ":version": {"N": str(version)},
                    ":expiration": {"N": str(later(KEEP))},
                },
            )
        except ClientError as error:
            if error.response["Error"]["Code"] == "ConditionalCheckFailedException":
                return False
            raise
        return True


def result_of(delivery: Delivery | None) -> Result:
    """Return what the idempotency record keeps: no address, only its hash."""
    if delivery is None:
        return {"outcome": "stale"}
    return {
        "outcome": "sent",
        "order_id": delivery.order_id,
        "type": delivery.type,
        "recipient": hashlib.sha256(delivery.recipient.strip().lower().encode()).hexdigest(),
        "sent_at": delivery.sent_at.isoformat(),
        "message_id": delivery.message_id,
    }


def delivery_writes(table: str, result: Result) -> Sequence[Mapping[str, Any]]:
    """Return the one item that records the mail; none if no mail was sent."""
    if result["outcome"] != "sent":
        return []
    texts = ("order_id", "message_id", "type", "recipient", "sent_at")
    item = {name: {"S": result[name]} for name in texts}
    item["expires_at"] = {"N": str(later(_KEEP_DELIVERIES))}
    return [{"Put": {"TableName": table, "Item": item}}]
