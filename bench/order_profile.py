"""Measure what one order uses, by outcome, on the cloud that runs; write bench/order_profile.json.

    make up deploy bench-order-profile [ORDERS=10]

Orders go one by one and the processes are warm. From the functions' REPORT lines: calls and billed
time. From their processes: CPU. From the execution histories: states entered. From the local
cloud's log of requests: what was published, mailed and written. From the outbox and the topics'
filter policies: which queues got a message. What takes a customer's GET is one call an order.
"""

import argparse
import json
import os
import re
import statistics
import sys
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psutil
import sqlalchemy as sa

from bench.cost_model import Function, Usage
from bench.report import machine
from tests.chaos.faults import Faults
from tests.support.cloud import ACCOUNT, REGION, Cloud
from tests.support.polling import eventually
from tests.support.shop import Customer, Shop

PROFILE = Path(__file__).with_name("order_profile.json")
LINES = 2
"""Skus of one order."""
WARM_UP = 3
_BACKGROUND = ("relayOutbox", "audit", "reconcile", "migrate", "receiveStock", "listProducts")
_REPORT = re.compile(r"^REPORT .*\tBilled Duration: (\d+) ms\tMemory Size: (\d+) MB")
_REQUEST = re.compile(rb"AWS ([a-z]+\.[A-Za-z]+) => 2")
_EVENT_BYTES = 26
"""What CloudWatch Logs adds to each event that it bills."""


@dataclass
class Watch:
    """What the cloud has done since a moment."""

    cloud: Cloud
    log: Path
    since: datetime = field(default_factory=lambda: datetime.now(UTC))
    offset: int = 0
    cpu: Mapping[int, float] = field(default_factory=dict)

    def start(self) -> None:
        """Begin here."""
        self.since = datetime.now(UTC)
        self.offset = self.log.stat().st_size
        self.cpu = {pid: seconds for _, pid, seconds in self._processes()}

    def requests(self) -> Counter[str]:
        """Return how many requests succeeded, by operation."""
        with self.log.open("rb") as log:
            log.seek(self.offset)
            return Counter(name.decode() for name in _REQUEST.findall(log.read()))

    def functions(self, orders: int) -> dict[str, Function]:
        """Return each function's part in an order, by `service.function`."""
        used: dict[str, float] = {}
        for function, pid, cpu in self._processes():
            used[function] = used.get(function, 0) + cpu - self.cpu.get(pid, 0)
        found = {}
        for full, cpu in sorted(used.items()):
            service, _, name = full.split("-")
            if name in _BACKGROUND:
                continue
            events = self._events(full)
            matches = [match for text in events if (match := _REPORT.match(text))]
            if not matches:
                continue
            warm = [int(match[1]) for match in matches if "Init Duration" not in match.string] or [
                int(match[1]) for match in matches
            ]
            found[f"{service}.{name}"] = Function(
                calls=len(matches) / orders,
                billed_ms=round(statistics.fmean(warm), 1),
                cpu_ms=round(cpu * 1000 / len(matches), 1),
                memory_mb=int(matches[0][2]),
                log_bytes=round(sum(len(t.encode()) + _EVENT_BYTES for t in events) / orders),
            )
        return found

    def _events(self, function: str) -> list[str]:
        pages = (
            self.cloud.client("logs")
            .get_paginator("filter_log_events")
            .paginate(
                logGroupName=f"/aws/lambda/{function}",
                startTime=int(self.since.timestamp() * 1000),
            )
        )
        return [event["message"] for page in pages for event in page["events"]]

    def _processes(self) -> list[tuple[str, int, float]]:
        faults = Faults(self.cloud)
        found = []
        for each in faults.environments():
            try:
                times = psutil.Process(each["pid"]).cpu_times()
            except psutil.NoSuchProcess:
                continue
            found.append((each["function"], each["pid"], times.user + times.system))
        faults.close()
        return found


class Measuring:
    """Orders one by one, each brought to its end, and what they used."""

    def __init__(self, cloud: Cloud, log: Path) -> None:
        self._cloud = cloud
        self._shop = Shop(cloud)
        self._watch = Watch(cloud, log)
        self._skus = [self._shop.stock(100_000) for _ in range(LINES)]

    def outcome(self, outcome: str, orders: int) -> Usage:
        """Measure so many orders that end so."""
        for _ in range(WARM_UP):
            self._order(outcome)
        self._settle()
        self._watch.start()
        ids = [self._order(outcome) for _ in range(orders)]
        self._settle()
        requests = self._watch.requests()
        functions = self._watch.functions(orders)
        mails = requests["ses.SendEmail"]
        sales = requests["dynamodb.TransactWriteItems"] - mails
        # A transaction: the record that the fact was handled, and what came of it.
        items = 2 * mails + (1 + LINES) * sales
        single = ("dynamodb.PutItem", "dynamodb.UpdateItem", "dynamodb.DeleteItem")
        writes = sum(requests[name] for name in single) + 2 * items
        histories = [self._history(order_id) for order_id in ids]
        published = requests["sns.Publish"] + requests["sns.PublishBatch"]
        return Usage(
            functions=functions,
            api_requests=2,
            state_transitions=statistics.fmean(len(entered(each)) for each in histories),
            saga_seconds=round(statistics.median(map(seconds, histories)), 2),
            sns_publishes={"orders": published / orders},
            sqs_messages=self._messages(ids, histories),
            dynamodb_write_units=writes / orders,
            mails=mails / orders,
        )

    def _order(self, outcome: str) -> str:
        quantity = 1_000_000 if outcome == "refused" else 1
        token = "tok_declined" if outcome == "compensated" else "tok_visa"
        customer = Customer()
        order_id = self._shop.place(
            dict.fromkeys(self._skus, quantity), customer=customer, token=token
        )
        # Not through the API: a customer who polls would be part of the bill.
        machine = self._cloud.client("stepfunctions")
        eventually(
            lambda: (
                machine.describe_execution(executionArn=_execution(order_id))["status"] != "RUNNING"
            ),
            f"the saga of {order_id} ended",
            every=0.05,
        )
        status = self._shop.order(order_id)["status"]
        expected = "CONFIRMED" if outcome == "confirmed" else "REJECTED"
        if status != expected:
            sys.exit(f"order {order_id} ended {status}, not {expected}")
        self._shop.mails(customer, 1)
        return order_id

    def _settle(self) -> None:
        """Wait until no queue holds anything."""
        sqs = self._cloud.client("sqs")

        def empty() -> bool:
            urls = sqs.list_queues(QueueNamePrefix="local-orderflow-")["QueueUrls"]
            wanted = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
            return not any(
                int(value)
                for url in urls
                if not url.endswith("-dlq")
                for value in sqs.get_queue_attributes(QueueUrl=url, AttributeNames=wanted)[
                    "Attributes"
                ].values()
            )

        eventually(empty, "every queue is empty")

    def _history(self, order_id: str) -> list[dict[str, Any]]:
        pages = (
            self._cloud.client("stepfunctions")
            .get_paginator("get_execution_history")
            .paginate(executionArn=_execution(order_id))
        )
        return [event for page in pages for event in page["events"]]

    def _messages(
        self, ids: Sequence[str], histories: Sequence[Sequence[Mapping[str, Any]]]
    ) -> dict[str, float]:
        engine = sa.create_engine(self._cloud.database_url("orders"), poolclass=sa.NullPool)
        with engine.connect() as connection:
            facts = connection.execute(
                sa.text(
                    "SELECT type FROM outbox"
                    " WHERE destination = 'events' AND subject = ANY(:subjects)"
                ),
                {"subjects": list(ids)},
            ).scalars()
            sent = Counter[str](facts)
        sent.update(
            json.loads(event["taskScheduledEventDetails"]["parameters"])["Message"]["type"]
            for history in histories
            for event in history
            if event["type"] == "TaskScheduled"
            and event["taskScheduledEventDetails"]["resourceType"] == "sns"
        )
        return {
            name: sum(sent[type_] for type_ in types) / len(ids)
            for name, types in sorted(self._subscriptions().items())
            if any(sent[type_] for type_ in types)
        }

    def _subscriptions(self) -> dict[str, list[str]]:
        sns = self._cloud.client("sns")
        found = {}
        for topic in ("events", "commands"):
            arn = f"arn:aws:sns:{REGION}:{ACCOUNT}:local-orderflow-{topic}"
            for each in sns.list_subscriptions_by_topic(TopicArn=arn)["Subscriptions"]:
                attributes = sns.get_subscription_attributes(
                    SubscriptionArn=each["SubscriptionArn"]
                )["Attributes"]
                queue = each["Endpoint"].rpartition(":local-orderflow-")[2]
                found[queue.replace("-", ".", 1)] = json.loads(attributes["FilterPolicy"])["type"]
        return found


def entered(history: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return what AWS bills as state transitions: the states entered, and each retry again."""
    names = [each["stateEnteredEventDetails"]["name"] for each in history if _enters(each)]
    tried = sum(each["type"] in {"TaskScheduled", "LambdaFunctionScheduled"} for each in history)
    tasks = sum(each["type"] == "TaskStateEntered" for each in history)
    return [*names, *["a retry"] * (tried - tasks)]


def _enters(event: Mapping[str, Any]) -> bool:
    return str(event["type"]).endswith("StateEntered")


def seconds(history: Sequence[Mapping[str, Any]]) -> float:
    """Return how long an execution took."""
    took: float = (history[-1]["timestamp"] - history[0]["timestamp"]).total_seconds()
    return took


def _execution(order_id: str) -> str:
    return f"arn:aws:states:{REGION}:{ACCOUNT}:execution:local-orderflow-place-order:{order_id}"


def main(arguments: Sequence[str]) -> None:
    """Measure each outcome, and write the profile."""
    parser = argparse.ArgumentParser(description="Measure what one order uses.")
    parser.add_argument("--orders", type=int, default=10)
    orders = parser.parse_args(arguments).orders
    cloud = Cloud.from_environment()
    if fault := cloud.fault():
        sys.exit(fault)
    state = Path(os.environ.get("ORDERFLOW_STATE", ".local/cloud"))
    measuring = Measuring(cloud, state / "logs/localstack.log")
    outcomes = {}
    for outcome in ("confirmed", "refused", "compensated"):
        began = time.monotonic()
        outcomes[outcome] = asdict(measuring.outcome(outcome, orders))
        print(f"{outcome}: {orders} orders in {time.monotonic() - began:.0f} s", flush=True)
    document = {
        "measured_at": datetime.now(UTC).date().isoformat(),
        "machine": "{cpus} cores, {cpu}; the local cloud".format(**machine()),
        "command": f"make bench-order-profile ORDERS={orders}",
        "lines_of_an_order": LINES,
        "outcomes": outcomes,
    }
    PROFILE.write_text(json.dumps(document, indent=2) + "\n")
    print(PROFILE)


if __name__ == "__main__":
    main(sys.argv[1:])
