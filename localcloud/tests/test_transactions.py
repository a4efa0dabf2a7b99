"""DynamoDB with several callers at once: moto alone loses what they write."""

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from botocore.exceptions import ClientError
from cloud_under_test import Cloud, unique


@pytest.fixture
def table(cloud: Cloud) -> str:
    name = unique("table")
    cloud.client("dynamodb").create_table(
        TableName=name,
        BillingMode="PAY_PER_REQUEST",
        AttributeDefinitions=[{"AttributeName": "id", "AttributeType": "S"}],
        KeySchema=[{"AttributeName": "id", "KeyType": "HASH"}],
    )
    return name


def add(table: str, item: str, condition: str | None = None) -> dict[str, Any]:
    """Return a transaction's step that adds one to an item."""
    update = {
        "TableName": table,
        "Key": {"id": {"S": item}},
        "UpdateExpression": "ADD amount :one",
        "ExpressionAttributeValues": {":one": {"N": "1"}},
    }
    return {"Update": update | ({"ConditionExpression": condition} if condition else {})}


def amounts(cloud: Cloud, table: str) -> dict[str, int]:
    items = cloud.client("dynamodb").scan(TableName=table)["Items"]
    return {item["id"]["S"]: int(item["amount"]["N"]) for item in items}


def test_a_transaction_that_is_refused_takes_nothing_from_those_beside_it(
    cloud: Cloud, table: str
) -> None:
    dynamodb = cloud.client("dynamodb")

    def once(number: int) -> bool:
        # Each is tried twice, side by side: one of the two is refused.
        claim = add(table, f"claim-{number // 2}", "attribute_not_exists(id)")
        try:
            dynamodb.transact_write_items(TransactItems=[claim, add(table, "sum")])
        except ClientError as error:
            codes = [reason["Code"] for reason in error.response["CancellationReasons"]]
            assert codes == ["ConditionalCheckFailed", "None"]
            return False
        return True

    with ThreadPoolExecutor(8) as pool:
        done = list(pool.map(once, range(80)))

    assert sum(done) == 40
    found = amounts(cloud, table)
    assert found.pop("sum") == 40
    assert set(found.values()) == {1}


def test_a_transaction_that_fails_half_way_leaves_nothing(cloud: Cloud, table: str) -> None:
    dynamodb = cloud.client("dynamodb")
    dynamodb.put_item(TableName=table, Item={"id": {"S": "text"}, "amount": {"S": "much"}})
    dynamodb.put_item(TableName=table, Item={"id": {"S": "kept"}, "amount": {"N": "7"}})
    with pytest.raises(ClientError):
        dynamodb.transact_write_items(
            TransactItems=[add(table, "new"), add(table, "kept"), add(table, "text")]
        )
    items = {item["id"]["S"]: item["amount"] for item in dynamodb.scan(TableName=table)["Items"]}
    assert items == {"text": {"S": "much"}, "kept": {"N": "7"}}


def test_one_item_may_stand_in_a_transaction_once(cloud: Cloud, table: str) -> None:
    with pytest.raises(ClientError, match="multiple operations on one item"):
        cloud.client("dynamodb").transact_write_items(
            TransactItems=[add(table, "same"), add(table, "same")]
        )
    assert cloud.client("dynamodb").scan(TableName=table)["Items"] == []
