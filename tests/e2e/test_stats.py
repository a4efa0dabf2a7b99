"""The shop's day, from the tables' streams to `GET /stats`, and made anew from the tables."""

import json
import random
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime, time, timedelta
from typing import Any
from xml.etree import ElementTree as ET

import httpx
import pytest

from shared.contracts.orders import (
    OrderCancelled,
    OrderConfirmed,
    OrderLine,
    OrderPlaced,
    OrderRejected,
)
from shared.envelope import wrap
from shared.ids import uuid7
from tests.support.cloud import ACCOUNT, REGION, Cloud, unique
from tests.support.polling import eventually
from tests.support.shop import Customer, Shop

DEAD_LETTERS = "local-orderflow-notifications-days-dlq"
BUCKET = f"local-orderflow-reports-{ACCOUNT}"


class Stats:
    """The API of the figures."""

    def __init__(self, cloud: Cloud) -> None:
        self.url = f"{cloud.endpoint}/_aws/execute-api/notifications-local/local/stats"

    def get(self, day: object = None) -> httpx.Response:
        return httpx.get(self.url, params={"day": str(day)} if day else {}, timeout=30)

    def of(self, day: object = None) -> dict[str, Any]:
        answer = self.get(day)
        assert answer.status_code == 200, answer.text
        return dict(answer.json())


@pytest.fixture(scope="module")
def stats(cloud: Cloud) -> Stats:
    return Stats(cloud)


def past_day(stats: Stats, ago: range) -> date:
    """Return a day, one of so many ago, on which nobody has traded."""
    today = datetime.now(UTC).date()
    days = (today - timedelta(days=days) for days in random.sample(ago, len(ago)))
    return next(day for day in days if not stats.of(day)["orders"]["placed"])


def trade(cloud: Cloud, day: date, made_up: Callable[[str], str]) -> dict[str, Any]:
    """Tell of one order of each kind on a day that is long over; return what the day should be."""
    who, sku = Customer(), made_up(unique("sku"))
    lines = (OrderLine(sku, 2, 250), OrderLine(made_up(unique("sku")), 1, 300))
    common = (who.id, who.email, "EUR", 800)
    orders = [made_up(str(uuid7())) for _ in range(3)]
    facts: list[Any] = [OrderPlaced(order_id, 1, *common, lines) for order_id in orders]
    bodies = []
    for fact in (
        *facts,
        OrderConfirmed(orders[0], 2, *common, lines),
        OrderRejected(orders[1], 2, *common, "DECLINED"),
        OrderCancelled(orders[2], 2, *common, "CUSTOMER_REQUEST"),
    ):
        envelope = wrap(fact, source="orderflow.orders", subject=fact.order_id)
        envelope["time"] = datetime.combine(day, time(12), UTC).isoformat()
        bodies += [json.dumps(envelope)]
    cloud.send("notifications-analytics", bodies)
    cloud.send("notifications-analytics", bodies)  # all of it comes twice
    return {
        "day": day.isoformat(),
        "orders": {"placed": 3, "confirmed": 1, "rejected": 1, "cancelled": 1},
        "units": 3,
        "revenue": {"EUR": 800},
        "refusals": {"DECLINED": 1},
        "emails": 0,
    }


def test_a_day_is_counted_from_the_streams_rebuilt_from_the_tables_and_reported(
    cloud: Cloud, stats: Stats, made_up: Callable[[str], str]
) -> None:
    day = past_day(stats, range(40, 200))
    expected = trade(cloud, day, made_up)
    eventually(lambda: stats.of(day) == expected, "the day is counted", within=120)

    done = cloud.tool("stats", "rebuild")
    assert done.returncode == 0, done.stderr
    assert stats.of(day) == expected

    for asked in ((), ("--again",)):
        done = cloud.tool("stats", "report", "--day", day.isoformat(), *asked)
        assert done.returncode == 0, done.stderr
    files = [
        cloud.client("s3").get_object(Bucket=BUCKET, Key=f"sales/{day}.{kind}")
        for kind in ("csv", "svg")
    ]
    table, chart = (file["Body"].read().decode() for file in files)
    assert f"{day},3,1,1,1,3,0," in table
    assert f"{day}: 1 confirmed" in ET.fromstring(chart).itertext()  # noqa: S314 (our own)
    mails = [
        mail
        for mail in cloud.mails("operator@orderflow.example")
        if f"Sales of {day}" in mail["Subject"]
    ]
    assert len(mails) == 1
    assert f"s3://{BUCKET}/sales/{day}.csv" in mails[0]["Body"]["text_part"]


def test_an_order_and_its_mails_are_in_the_figures_of_today(
    stats: Stats, shop: Shop, customer: Customer
) -> None:
    before = stats.of()
    shop.buy({shop.stock(1): 1}, customer=customer)
    shop.told(customer, "confirmed")

    def counted() -> bool:
        now = stats.of()
        return bool(
            now["day"] != before["day"]
            or (
                now["orders"]["confirmed"] > before["orders"]["confirmed"]
                and now["emails"] > before["emails"]
                and now["units"] > before["units"]
            )
        )

    eventually(counted, "the order and its mails are counted", within=120)


@pytest.mark.parametrize(("day", "status"), [("soon", 400), ("1999-01-01", 404)])
def test_a_day_that_is_not_there_is_a_problem(stats: Stats, day: str, status: int) -> None:
    answer = stats.get(day)
    assert answer.status_code == status
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["status"] == status


@pytest.fixture
def poison(cloud: Cloud) -> Iterator[str]:
    """Return the id of an order in whose outcome something is missing."""
    order_id = unique("poison")
    key = {"order_id": {"S": order_id}, "type": {"S": "order.placed.v1"}}
    dynamodb = cloud.client("dynamodb")
    dynamodb.put_item(TableName="local-orderflow-outcomes", Item=key)
    yield order_id
    dynamodb.delete_item(TableName="local-orderflow-outcomes", Key=key)


@pytest.mark.timeout(400)
def test_a_change_that_nobody_can_read_is_set_aside_and_those_behind_it_are_counted(
    cloud: Cloud, stats: Stats, poison: str, made_up: Callable[[str], str]
) -> None:
    assert poison
    day = past_day(stats, range(200, 360))
    expected = trade(cloud, day, made_up)
    eventually(lambda: stats.of(day) == expected, "those behind are counted", within=240)

    sqs = cloud.client("sqs")
    queue = f"{cloud.endpoint}/queue/{REGION}/{ACCOUNT}/{DEAD_LETTERS}"

    def letters() -> list[dict[str, Any]]:
        return list(sqs.receive_message(QueueUrl=queue).get("Messages", []))

    (letter,) = eventually(letters, "the change is named in the dead letters", within=120)
    assert "local-orderflow-outcomes" in letter["Body"]
    sqs.delete_message(QueueUrl=queue, ReceiptHandle=letter["ReceiptHandle"])
