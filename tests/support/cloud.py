"""A running cloud with Orderflow deployed on it, as an operator reaches it.

ORDERFLOW_PORT and ORDERFLOW_POSTGRES_PORT say where it is; they default to those of `make up`.
"""

import functools
import importlib
import io
import json
import os
import uuid
from collections.abc import Mapping, Sequence
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from unittest import mock

import boto3
import httpx
import sqlalchemy as sa
from botocore.config import Config

from shared.contracts.orders import ReleaseStock
from shared.envelope import wrap

ACCOUNT = "000000000000"
REGION = "us-east-1"
CONSUMERS = {
    "inventory-commands": "inventory-local-handleCommands",
    "orders-catalogue": "orders-local-updateCatalogue",
    "notifications-email": "notifications-local-sendEmail",
    "notifications-analytics": "notifications-local-countSales",
}
"""Every queue, by the short form of its name, and the function that reads it."""


@dataclass(frozen=True)
class Ended:
    """How a program ended, and what it printed."""

    returncode: int
    stdout: str
    stderr: str


@dataclass(frozen=True)
class Cloud:
    """The cloud of stage local on these ports of loopback."""

    port: int
    postgres_port: int

    @classmethod
    def from_environment(cls) -> "Cloud":
        """Return the cloud that the environment names."""
        return cls(
            int(os.environ.get("ORDERFLOW_PORT", "4566")),
            int(os.environ.get("ORDERFLOW_POSTGRES_PORT", "5466")),
        )

    @property
    def endpoint(self) -> str:
        """Where AWS's APIs answer."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def api_url(self) -> str:
        """The base URL of Orderflow's API."""
        return f"{self.endpoint}/_aws/execute-api/orders-local/local"

    def fault(self) -> str | None:
        """Say what is missing for a test to make sense; None if nothing is."""
        try:
            answer = httpx.get(f"{self.api_url}/products", params={"limit": "1"}, timeout=30)
        except httpx.HTTPError as error:
            return f"no cloud answers at {self.endpoint} ({error}): make up deploy"
        if answer.status_code != httpx.codes.OK:
            return f"{self.api_url}/products answers {answer.status_code}: make deploy"
        return None

    def database_url(self, service: str) -> str:
        """Return the URL of a service's database, under the service's own role."""
        return f"postgresql+psycopg://{service}@127.0.0.1:{self.postgres_port}/{service}"

    def client(self, service: str) -> Any:
        """Return the boto3 client of `service`."""
        return _client(service, self.endpoint)

    def invoke(self, function: str, payload: Any) -> Any:
        """Call a function and return its result; an error in it fails the test."""
        answer = self.client("lambda").invoke(FunctionName=function, Payload=json.dumps(payload))
        result = json.loads(answer["Payload"].read())
        assert "FunctionError" not in answer, result
        return result

    def publish(self, topic: str, envelope: Mapping[str, Any]) -> None:
        """Publish to the topic `events` or `commands`, as the services do."""
        self.client("sns").publish(
            TopicArn=f"arn:aws:sns:{REGION}:{ACCOUNT}:local-orderflow-{topic}",
            Message=json.dumps(envelope),
            MessageAttributes={"type": {"DataType": "String", "StringValue": envelope["type"]}},
        )

    def release(self, order_id: str) -> None:
        """Order that an order's stock be given back, without a saga that waits for it."""
        command = wrap(ReleaseStock(order_id), source="orderflow.orders", subject=order_id)
        self.publish("commands", command | {"tasktoken": unique("nobody-waits")})

    def send(self, queue: str, bodies: Sequence[str]) -> None:
        """Put up to ten messages into a queue at once."""
        entries = [{"Id": str(at), "MessageBody": body} for at, body in enumerate(bodies)]
        answer = self.client("sqs").send_message_batch(
            QueueUrl=self._queue_url(queue), Entries=entries
        )
        assert not answer.get("Failed"), answer

    def lies_in(self, queue: str, text: str) -> bool:
        """Look for a message holding `text`, without receiving it."""
        answer = httpx.get(
            f"{self.endpoint}/_aws/sqs/messages",
            params={"QueueUrl": self._queue_url(queue), "ShowInvisible": "true"},
            timeout=30,
        )
        answer.raise_for_status()
        return text in answer.text

    def log_lines(self, function: str, since: datetime, **fields: Any) -> list[dict[str, Any]]:
        """Return a function's structured log lines that have these fields."""
        pages = (
            self.client("logs")
            .get_paginator("filter_log_events")
            .paginate(
                logGroupName=f"/aws/lambda/{function}", startTime=int(since.timestamp() * 1000)
            )
        )
        texts = [event["message"] for page in pages for event in page["events"]]
        lines = [json.loads(text) for text in texts if text.startswith('{"level"')]
        return [line for line in lines if fields.items() <= line.items()]

    def tool(self, name: str, *arguments: str) -> Ended:
        """Run one of the operators' programs, `tools/<name>.py`, with these arguments."""
        program = importlib.import_module(f"tools.{name}")
        out, err = io.StringIO(), io.StringIO()
        settings = {
            "AWS_ENDPOINT_URL": self.endpoint,
            "AWS_DEFAULT_REGION": REGION,
            "AWS_ACCESS_KEY_ID": "test",
            "AWS_SECRET_ACCESS_KEY": "test",
        }
        # In this process: to start Python and to load boto3 would cost seconds, each time.
        with (
            mock.patch.dict(os.environ, settings),
            redirect_stdout(out),
            redirect_stderr(err),
        ):
            code: int = program.main(arguments)
        return Ended(code, out.getvalue(), err.getvalue())

    def dead_letters(self) -> dict[str, list[dict[str, Any]]]:
        """Return what `make dlq FORMAT=json` shows, by the short name of the source queue."""
        done = self.tool("dead_letters", "--limit", "1000", "list", "--format", "json")
        assert done.returncode == 0, done.stderr
        return {
            source.removeprefix("local-orderflow-"): queue["messages"]
            for queue in json.loads(done.stdout)["queues"]
            for source in queue["sources"]
        }

    def mails(self, recipient: str) -> list[dict[str, Any]]:
        """Return the mails that were sent to this address, oldest first."""
        answer = httpx.get(f"{self.endpoint}/_aws/ses", timeout=30)
        answer.raise_for_status()
        return [
            mail
            for mail in answer.json()["messages"]
            if recipient in mail["Destination"]["ToAddresses"]
        ]

    def sales(self, sku: str) -> list[dict[str, int]]:
        """Return a sku's sales figures, one entry a day."""
        pages = (
            self.client("dynamodb")
            .get_paginator("scan")
            .paginate(
                TableName="local-orderflow-sales",
                FilterExpression="sku = :sku",
                ExpressionAttributeValues={":sku": {"S": sku}},
            )
        )
        items = [item for page in pages for item in page["Items"]]
        return [
            {name: int(value["N"]) for name, value in item.items() if "N" in value}
            for item in items
        ]

    def forget(self, subjects: Sequence[str]) -> None:
        """Delete what services and consumers hold of orders and skus that never existed."""
        dynamodb = self.client("dynamodb")
        for table, subject, other in (
            ("local-orderflow-deliveries", "order_id", "message_id"),
            ("local-orderflow-sales", "sku", "day"),
        ):
            pages = dynamodb.get_paginator("scan").paginate(TableName=table)
            for item in (item for page in pages for item in page["Items"]):
                if item[subject]["S"] in subjects:
                    key = {name: item[name] for name in (subject, other)}
                    dynamodb.delete_item(TableName=table, Key=key)
        for service, statements in {
            "orders": (
                "DELETE FROM catalogue WHERE sku = ANY(:subjects)",
                "DELETE FROM outbox WHERE subject = ANY(:subjects)",
            ),
            "inventory": ("DELETE FROM outbox WHERE subject = ANY(:subjects)",),
        }.items():
            engine = sa.create_engine(self.database_url(service), poolclass=sa.NullPool)
            with engine.begin() as connection:
                for statement in statements:
                    connection.execute(sa.text(statement), {"subjects": list(subjects)})

    def commands(self, order_id: str) -> list[dict[str, Any]]:
        """Return the commands that an order's saga sent, with their task tokens."""
        pages = (
            self.client("stepfunctions")
            .get_paginator("get_execution_history")
            .paginate(
                executionArn=f"arn:aws:states:{REGION}:{ACCOUNT}:execution:"
                f"local-orderflow-place-order:{order_id}"
            )
        )
        scheduled = [
            event["taskScheduledEventDetails"]
            for page in pages
            for event in page["events"]
            if event["type"] == "TaskScheduled"
        ]
        return [
            json.loads(task["parameters"])["Message"]
            for task in scheduled
            if task["resourceType"] == "sns"
        ]

    def _queue_url(self, queue: str) -> str:
        return f"{self.endpoint}/queue/{REGION}/{ACCOUNT}/local-orderflow-{queue}"


def unique(prefix: str) -> str:
    """Return a name that no other test has: a sku, a customer."""
    return f"{prefix}-{uuid.uuid4().hex}"


@functools.cache
def _client(service: str, endpoint: str) -> Any:
    return boto3.client(
        service,
        endpoint_url=endpoint,
        region_name=REGION,
        aws_access_key_id="test",
        aws_secret_access_key="test",
        config=Config(retries={"mode": "standard", "max_attempts": 3}, max_pool_connections=20),
    )
