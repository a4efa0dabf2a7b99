"""Both databases and the consumers' tables, in order; a test breaks its own copy."""

import contextlib
import json
import os
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import boto3
import pytest
import sqlalchemy as sa
import yaml

from operations.adapters.books import SqlBooks
from operations.adapters.consumers import Consumers
from operations.adapters.databases import reading
from operations.adapters.sagas import Sagas
from operations.domain import Finding, Patience, Violation
from tests.support.bulk import BulkConsumers, fill, parked
from tests.support.local_cloud import local_cloud
from tests.support.postgres import auditor_url, copy_of, database

ROOT = Path(__file__).parents[4]
TABLES = ROOT / "services/notifications/resources/tables.yml"
ORDERS = 40
AT_ONCE = Patience(sagas=3600, outboxes=300, effects=0, deploys=0)
MACHINE = {
    "StartAt": "Wait",
    "States": {"Wait": {"Type": "Wait", "Seconds": 86400, "End": True}},
}

Row = dict[str, Any]
_KEYS = {
    "idempotency": ("id",),
    "deliveries": ("order_id", "message_id"),
    "sales": ("day", "sku"),
}


@pytest.fixture(scope="session")
def aws(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Point boto3 at ORDERFLOW_TEST_AWS, or at a local cloud that ends with the tests."""
    with pytest.MonkeyPatch.context() as environment:
        for name, value in {
            "AWS_ACCESS_KEY_ID": "test",
            "AWS_SECRET_ACCESS_KEY": "test",
            "AWS_DEFAULT_REGION": "us-east-1",
        }.items():
            environment.setenv(name, value)
        with local_cloud(tmp_path_factory.mktemp("cloud")) as endpoint:
            environment.setenv("AWS_ENDPOINT_URL", endpoint)
            environment.setattr(boto3, "DEFAULT_SESSION", None)
            yield endpoint


@dataclass
class World:
    """All that an audit reads. The databases are everyone's until a test asks for its own."""

    orders: sa.Engine
    inventory: sa.Engine
    consumers: Consumers
    state_machine: str
    dynamodb: Any
    touched: set[str] = field(default_factory=set)
    copies: contextlib.ExitStack = field(default_factory=contextlib.ExitStack)
    own: set[str] = field(default_factory=set)

    def copy(self, database: str) -> sa.Engine:
        """Return a copy of `orders` or `inventory`, to break; it is what is audited from now on."""
        if database not in self.own:
            setattr(self, database, self.copies.enter_context(copy_of(getattr(self, database))))
            self.own.add(database)
        engine: sa.Engine = getattr(self, database)
        return engine

    def audit(self, patience: Patience = AT_ONCE) -> dict[str, Finding]:
        """Return what an audit finds now, by invariant."""
        books = SqlBooks(
            reading(auditor_url(self.orders)),
            reading(auditor_url(self.inventory)),
            self.consumers,
            Sagas(boto3.client("stepfunctions"), self.state_machine),
        )
        return {finding.invariant: finding for finding in books.compare(patience)}

    def violations(self, patience: Patience = AT_ONCE) -> dict[str, list[Violation]]:
        """Return what is violated, by invariant."""
        found = self.audit(patience)
        return {name: list(finding.violations) for name, finding in found.items() if finding.count}

    def one(self, query: str, **values: Any) -> str:
        """Return the first field of the first row at orders, as text."""
        with self.orders.connect() as connection:
            return str(connection.execute(sa.text(query), values).scalars().first())

    def an_order(self, status: str) -> str:
        """Return an order of this status."""
        return self.one(
            "SELECT id FROM orders WHERE status = :status ORDER BY id LIMIT 1", status=status
        )

    def change(self, database: str, *statements: str, **values: Any) -> None:
        """Change data behind everyone's back: no trigger, no constraint that a test has dropped."""
        with self.copy(database).begin() as connection:
            connection.execute(sa.text("SET LOCAL session_replication_role = replica"))
            for statement in statements:
                result = connection.execute(sa.text(statement), values)
                assert result.rowcount, f"changed nothing: {statement}"

    def put(self, table: str, item: Row) -> None:
        """Write an item to a consumer's table."""
        self.touched.add(table)
        self.dynamodb.put_item(TableName=table, Item=_typed(item))

    def take(self, table: str, key: Row) -> None:
        """Delete an item of a consumer's table."""
        self.touched.add(table)
        answer = self.dynamodb.delete_item(TableName=table, Key=_typed(key), ReturnValues="ALL_OLD")
        assert answer["Attributes"], f"nothing stood under {key}"

    def items(self, table: str) -> list[Row]:
        """Return what a consumer's table holds."""
        pages = self.dynamodb.get_paginator("scan").paginate(TableName=table)
        return [
            {name: int(value["N"]) if "N" in value else value["S"] for name, value in item.items()}
            for page in pages
            for item in page["Items"]
        ]


@pytest.fixture(scope="session")
def healthy(aws: str) -> Iterator[World]:
    """Return a world in order: every kind of order, and a saga for each that is parked."""
    assert aws
    dynamodb, stepfunctions = boto3.client("dynamodb"), boto3.client("stepfunctions")
    prefix = f"test-{os.getpid()}-{datetime.now(UTC):%H%M%S%f}"
    consumers = Consumers(
        dynamodb,
        records=f"{prefix}-idempotency",
        deliveries=f"{prefix}-deliveries",
        sales=f"{prefix}-sales",
    )
    _create_tables(dynamodb, consumers)
    machine = stepfunctions.create_state_machine(
        name=prefix,
        definition=json.dumps(MACHINE),
        roleArn="arn:aws:iam::000000000000:role/test",
    )["stateMachineArn"]
    with (
        database(ROOT / "services/orders/orders/migrations") as orders,
        database(ROOT / "services/inventory/inventory/migrations") as inventory,
    ):
        fill(orders, inventory, count=ORDERS, skus=10, last=datetime.now(UTC))
        world = World(orders, inventory, consumers, machine, dynamodb)
        for order_id in parked(orders):
            stepfunctions.start_execution(stateMachineArn=machine, name=order_id)
        effects = BulkConsumers(orders, datetime.now(UTC))
        for (record,) in effects.dealt_with():
            world.put(consumers.records, {"id": record, "status": "COMPLETED"})
        for number, (order_id, kind) in enumerate(effects.mails()):
            world.put(
                consumers.deliveries,
                {"order_id": order_id, "message_id": f"m-{number}", "type": kind},
            )
        sold: dict[tuple[str, str], Row] = {}
        for day, sku, measure, amount in effects.sold():
            sold.setdefault((day, sku), {"day": day, "sku": sku})[measure] = int(amount)
        for item in sold.values():
            world.put(consumers.sales, item)
        yield world


@pytest.fixture(scope="session")
def effects(healthy: World) -> dict[str, list[Row]]:
    """Return what the consumers' tables hold, by table."""
    consumers = healthy.consumers
    tables = (consumers.records, consumers.deliveries, consumers.sales)
    return {table: healthy.items(table) for table in tables}


@pytest.fixture
def world(healthy: World, effects: dict[str, list[Row]]) -> Iterator[World]:
    """Return a world that a test may break; what it does to a consumer's table is undone."""
    with contextlib.ExitStack() as copies:
        mine = replace(healthy, touched=set(), copies=copies, own=set())
        yield mine
    for table in mine.touched:
        now = healthy.items(table)
        for item in now:
            if item not in effects[table]:
                healthy.take(table, {name: item[name] for name in _KEYS[table_kind(table)]})
        for item in effects[table]:
            if item not in now:
                healthy.put(table, item)


def table_kind(table: str) -> str:
    """Return which of the three a table is."""
    return table.rsplit("-", 1)[1]


def _create_tables(dynamodb: Any, consumers: Consumers) -> None:
    """Make the tables from the very file that is deployed."""
    resources = yaml.safe_load(TABLES.read_text())["Resources"]
    for name in (consumers.records, consumers.deliveries, consumers.sales):
        properties = resources[f"{table_kind(name).title()}Table"]["Properties"]
        dynamodb.create_table(
            TableName=name,
            BillingMode=properties["BillingMode"],
            AttributeDefinitions=properties["AttributeDefinitions"],
            KeySchema=properties["KeySchema"],
        )


def _typed(item: Row) -> dict[str, dict[str, str]]:
    return {
        name: {"N": str(value)} if isinstance(value, int) else {"S": value}
        for name, value in item.items()
    }
