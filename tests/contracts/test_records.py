"""The audit finds a consumer's record of a fact where notifications puts it."""

from pathlib import Path
from typing import Any, cast

import pytest
import sqlalchemy as sa
from aws_lambda_powertools.utilities.idempotency import DynamoDBPersistenceLayer
from aws_lambda_powertools.utilities.idempotency.persistence.datarecord import DataRecord
from aws_lambda_powertools.utilities.typing import LambdaContext

import notifications.bootstrap
from notifications.adapters.once import Once
from operations.adapters.invariants import invariants
from shared.ids import uuid7
from tests.support.invocation import Invocation
from tests.support.postgres import database


class Keys(DynamoDBPersistenceLayer):
    """Notes the key under which a fact is recorded, and goes no further."""

    def __init__(self) -> None:
        super().__init__(table_name="records", boto3_client=object())
        self.seen: list[str] = []

    def _put_record(self, data_record: DataRecord) -> None:
        self.seen.append(data_record.idempotency_key)

    def _update_record(self, data_record: DataRecord) -> None:
        """Nothing to keep."""


@pytest.mark.parametrize("consumer", ["sendEmail", "countSales"])
def test_a_fact_is_recorded_under_the_key_that_the_audit_looks_for(consumer: str) -> None:
    fact, keys = str(uuid7()), Keys()
    once = Once(lambda: {"outcome": "done"}, name=consumer, store=keys)
    once.invoked(cast("LambdaContext", Invocation()))
    once(fact)
    (check,) = (
        found for found in invariants("effects") if found.name == "every_fact_reached_its_consumers"
    )
    # The very expression of the invariant, on this fact.
    (expression,) = (
        line.removesuffix(" AS record").strip()
        for line in check.sql.splitlines()
        if line.endswith(" AS record")
    )
    with database(None) as postgres, postgres.connect() as connection:
        query = sa.text(
            f"SELECT {expression} FROM (SELECT CAST(:fact AS uuid) AS id) f,"
            " (SELECT CAST(:name AS text) AS name) consumer"
        )
        looked_for = connection.execute(query, {"fact": fact, "name": consumer}).scalar_one()
    assert keys.seen == [looked_for]


def test_the_names_are_those_that_notifications_uses() -> None:
    source = Path(notifications.bootstrap.__file__).read_text()
    check: Any = next(
        found for found in invariants("effects") if found.name == "every_fact_reached_its_consumers"
    )
    for consumer in ("sendEmail", "countSales"):
        assert f'name="{consumer}"' in source
        assert f"('{consumer}')" in check.sql
