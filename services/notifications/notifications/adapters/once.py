"""Work that takes effect once for each fact, however often the fact is delivered."""

import json
import random
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from typing import Any

from aws_lambda_powertools.utilities.idempotency import (
    DynamoDBPersistenceLayer,
    IdempotencyConfig,
    idempotent_function,
)
from aws_lambda_powertools.utilities.idempotency.persistence.datarecord import DataRecord
from aws_lambda_powertools.utilities.typing import LambdaContext
from botocore.exceptions import ClientError

# A message lives for 14 days at most in a queue and its dead letters: no duplicate is later.
KEEP = timedelta(days=30)

_ATTEMPTS = 5
_COLLISIONS = {"TransactionConflict", "ThrottlingError", "ProvisionedThroughputExceeded"}

Result = dict[str, Any]
# What DynamoDB must write for a result: entries of TransactItems.
Writes = Callable[[Result], Sequence[Mapping[str, Any]]]


class TransactionalStore(DynamoDBPersistenceLayer):
    """Powertools' record of a fact, completed in one transaction with what the fact caused.

    Powertools alone marks a fact as done after its effect: a crash between the two repeats the
    effect. Here the decorated function only says what to write, and saving its result writes it.
    """

    def __init__(self, table: str, client: Any, writes: Writes) -> None:
        super().__init__(table_name=table, key_attr="id", boto3_client=client)
        self._writes = writes

    def _update_record(self, data_record: DataRecord) -> None:
        done = {
            "Update": {
                "TableName": self.table_name,
                "Key": self._get_key(data_record.idempotency_key),
                "UpdateExpression": "SET #data = :data, #expiry = :expiry, #status = :status",
                # Not ours any more if it took so long that another worker has finished it.
                "ConditionExpression": "#status = :inprogress",
                "ExpressionAttributeNames": {
                    "#data": self.data_attr,
                    "#expiry": self.expiry_attr,
                    "#status": self.status_attr,
                },
                "ExpressionAttributeValues": {
                    ":data": {"S": data_record.response_data},
                    ":expiry": {"N": str(data_record.expiry_timestamp)},
                    ":status": {"S": data_record.status},
                    ":inprogress": {"S": "INPROGRESS"},
                },
            }
        }
        self._commit([done, *self._writes(json.loads(data_record.response_data))])

    def _commit(self, items: Sequence[Mapping[str, Any]]) -> None:
        transact(self.client, items)


def transact(client: Any, items: Sequence[Mapping[str, Any]]) -> None:
    """Write all or none; boto3 does not repeat a transaction that met another one at an item."""
    for attempt in range(1, _ATTEMPTS + 1):
        try:
            client.transact_write_items(TransactItems=items)
        except ClientError as error:
            if attempt == _ATTEMPTS or not _collided(error):
                raise
            time.sleep(random.uniform(0, 0.05 * 2**attempt))  # noqa: S311 (jitter)
        else:
            return


class Once:
    """A function of a fact that runs once for each fact id.

    A duplicate gets the first result, with the outcome `duplicate`.
    `name` is part of the stored key: renaming it forgets what was done.
    """

    def __init__(
        self, work: Callable[..., Result], *, name: str, store: DynamoDBPersistenceLayer
    ) -> None:
        self._config = IdempotencyConfig(
            expires_after_seconds=int(KEEP.total_seconds()),
            hash_function="sha256",
            response_hook=lambda result, _: {**result, "outcome": "duplicate"},
        )

        def run(*, fact_id: str, arguments: tuple[Any, ...]) -> Result:  # noqa: ARG001 (the key)
            return work(*arguments)

        self._run = idempotent_function(
            run,
            data_keyword_argument="fact_id",
            config=self._config,
            persistence_store=store,
            key_prefix=name,
        )

    def invoked(self, context: LambdaContext) -> None:
        """Say which invocation this is: a fact is its own until the invocation must have ended."""
        self._config.register_lambda_context(context)

    def __call__(self, fact_id: str, *arguments: Any) -> Result:
        """Run the work, or, if it has run for this fact, return what it returned."""
        result: Result = self._run(fact_id=fact_id, arguments=arguments)
        return result


def later(period: timedelta) -> int:
    """Return when the period will be over, as DynamoDB's TTL reads it."""
    return int(time.time() + period.total_seconds())


def _collided(error: ClientError) -> bool:
    reasons = error.response.get("CancellationReasons", [])
    codes = {reason.get("Code") for reason in reasons} - {"None", None}
    return bool(codes) and codes <= _COLLISIONS
