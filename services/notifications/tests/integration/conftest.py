"""A real local cloud, the tables as they are deployed, and the handlers on them."""

import importlib
import json
import sys
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any, ClassVar

import boto3
import pytest
import yaml

from shared.ids import uuid7
from tests.support.invocation import Invocation
from tests.support.local_cloud import local_cloud

SERVICE = Path(__file__).parents[2]
SENDER = "orders@orderflow.example"


@pytest.fixture(scope="session")
def endpoint(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Return the URL of ORDERFLOW_TEST_AWS, or of a local cloud that ends with the tests."""
    with local_cloud(tmp_path_factory.mktemp("cloud")) as url:
        yield url


@dataclass(frozen=True)
class Tables:
    """Names of tables of this test's own."""

    idempotency: str
    deliveries: str
    sales: str
    outcomes: str
    days: str


class Killed(BaseException):
    """The process ends here: no `except Exception` sees it, and nothing is cleaned up."""


class Dying:
    """A boto3 client whose process is killed at one call, before or after it took effect."""

    def __init__(self, client: Any, call: str, *, after: bool) -> None:
        self._client = client
        self._call = call
        self._after = after

    def __getattr__(self, name: str) -> Any:
        original = getattr(self._client, name)
        if name != self._call:
            return original

        def killed(**arguments: Any) -> Any:
            if self._after:
                original(**arguments)
            raise Killed

        return killed


@dataclass(frozen=True)
class Cloud:
    """The AWS of one test."""

    Killed: ClassVar = Killed

    endpoint: str
    tables: Tables
    customer: str

    def captured(self, name: str) -> dict[str, Any]:
        """Return a captured Lambda event, with this test's customer in it."""
        text = (SERVICE / "tests" / "events" / f"{name}.json").read_text()
        event: dict[str, Any] = json.loads(text.replace("ada@example.org", self.customer))
        return event

    def invocation(self, *, milliseconds_left: int = 10_000) -> Any:
        """Return the context of an invocation that Lambda will end so soon."""
        return Invocation(remaining=milliseconds_left)

    def client(self, service: str) -> Any:
        return boto3.client(service)

    def dying(self, service: str, call: str, *, after: bool) -> Callable[[str], Any]:
        """Return a maker of clients, of which that of `service` dies at `call`."""

        def make(name: str) -> Any:
            client = self.client(name)
            return Dying(client, call, after=after) if name == service else client

        return make

    def items(self, table: str) -> list[dict[str, Any]]:
        return [
            {name: next(iter(value.values())) for name, value in item.items()}
            for item in self.client("dynamodb").scan(TableName=table)["Items"]
        ]

    def sold(self) -> dict[tuple[str, str], tuple[int, int, int]]:
        """Return units, orders and EUR cents by day and sku."""
        return {
            (item["day"], item["sku"]): (
                int(item["units"]),
                int(item["orders"]),
                int(item["revenue_EUR"]),
            )
            for item in self.items(self.tables.sales)
        }

    def changes(self) -> list[dict[str, Any]]:
        """Return every record of the tables' streams, as Lambda hands them to a function."""
        streams = self.client("dynamodbstreams")
        found = []
        for table in (self.tables.outcomes, self.tables.sales, self.tables.deliveries):
            arn = self.client("dynamodb").describe_table(TableName=table)["Table"][
                "LatestStreamArn"
            ]
            for shard in streams.describe_stream(StreamArn=arn)["StreamDescription"]["Shards"]:
                iterator = streams.get_shard_iterator(
                    StreamArn=arn, ShardId=shard["ShardId"], ShardIteratorType="TRIM_HORIZON"
                )["ShardIterator"]
                records = streams.get_records(ShardIterator=iterator)["Records"]
                found += [record | {"eventSourceARN": arn} for record in records]
        return found

    def mails(self, recipient: str | None = None) -> list[dict[str, Any]]:
        url = f"{self.endpoint}/_aws/ses"
        with urllib.request.urlopen(url, timeout=10) as answer:  # noqa: S310 (loopback)
            mails = json.load(answer)["messages"]
        wanted = [recipient or self.customer]
        return [mail for mail in mails if mail["Destination"]["ToAddresses"] == wanted]


@pytest.fixture
def cloud(endpoint: str, monkeypatch: pytest.MonkeyPatch) -> Cloud:
    """Return the cloud with fresh tables, and every setting that the handlers read."""
    prefix = f"test-{uuid7().hex[-12:]}"
    tables = Tables(
        *(
            f"{prefix}-{table}"
            for table in ("idempotency", "deliveries", "sales", "outcomes", "days")
        )
    )
    for name, value in {
        "AWS_ENDPOINT_URL": endpoint,
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_DEFAULT_REGION": "us-east-1",
        # Loggers of one name share a stream, which would be that of the first test.
        "POWERTOOLS_SERVICE_NAME": prefix,
        "POWERTOOLS_METRICS_NAMESPACE": "Orderflow/test",
        "IDEMPOTENCY_TABLE": tables.idempotency,
        "DELIVERIES_TABLE": tables.deliveries,
        "SALES_TABLE": tables.sales,
        "OUTCOMES_TABLE": tables.outcomes,
        "DAYS_TABLE": tables.days,
        "SENDER_EMAIL": SENDER,
        "OPERATOR_EMAIL": f"operator-{prefix}@example.org",
    }.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(boto3, "DEFAULT_SESSION", None)
    cloud = Cloud(endpoint, tables, f"{prefix}@example.org")
    cloud.client("ses").verify_email_identity(EmailAddress=SENDER)
    _create(cloud, tables)
    return cloud


@pytest.fixture
def handlers(cloud: Cloud) -> Iterator[Callable[[str], ModuleType]]:
    """Return a function that imports a handler anew, as a cold start does, on this test's cloud."""
    assert cloud
    imported: list[str] = []

    def cold_start(name: str) -> ModuleType:
        module = f"notifications.handlers.{name}"
        sys.modules.pop(module, None)
        imported.append(module)
        return importlib.import_module(module)

    yield cold_start
    for module in imported:
        sys.modules.pop(module, None)


def _create(cloud: Cloud, tables: Tables) -> None:
    """Make the tables from the very file that is deployed."""
    resources = yaml.safe_load((SERVICE / "resources" / "tables.yml").read_text())["Resources"]
    dynamodb = cloud.client("dynamodb")
    for key, name in (
        ("IdempotencyTable", tables.idempotency),
        ("DeliveriesTable", tables.deliveries),
        ("SalesTable", tables.sales),
        ("OutcomesTable", tables.outcomes),
        ("DaysTable", tables.days),
    ):
        properties = resources[key]["Properties"]
        dynamodb.create_table(
            TableName=name,
            BillingMode=properties["BillingMode"],
            AttributeDefinitions=properties["AttributeDefinitions"],
            KeySchema=properties["KeySchema"],
            **_stream(properties),
        )


def _stream(properties: dict[str, Any]) -> dict[str, Any]:
    described = properties.get("StreamSpecification")
    return {"StreamSpecification": {"StreamEnabled": True, **described}} if described else {}
