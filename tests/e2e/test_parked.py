"""An undo that fails beyond its retries parks its order; an operator sees it and finishes it.

The fault is the database's: it refuses that the payment becomes `refunding`, for orders of one
amount that no other test has.

What is told how often: the metric, and so the alarm, at every parking; the fact `order.parked.v1`,
and so the mail, once an order, when its status becomes PARKED.
"""

import json
import random
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

import sqlalchemy as sa

from tests.support.cloud import Cloud, unique
from tests.support.polling import eventually
from tests.support.shop import Answer, Customer, Shop

OPERATOR = "operator@orderflow.example"
TOO_LARGE = 1001  # pieces: inventory refuses to ship them, after stock and payment


@contextmanager
def refunds_fail(cloud: Cloud, amount: int) -> Iterator[sa.Connection]:
    """Let no payment of this amount be refunded, until it is over."""
    name = unique("refuse").replace("-", "_")
    engine = sa.create_engine(cloud.database_url("orders"), poolclass=sa.NullPool)

    def run(*statements: str) -> None:
        with engine.begin() as connection:
            for statement in statements:
                connection.execute(sa.text(statement))

    run(
        f"CREATE FUNCTION {name}() RETURNS trigger LANGUAGE plpgsql AS"
        " $$ BEGIN RAISE EXCEPTION 'the vault is shut'; END $$",
        f"CREATE TRIGGER {name} BEFORE UPDATE ON payments FOR EACH ROW"
        f" WHEN (NEW.status = 'refunding' AND NEW.amount = {amount}) EXECUTE FUNCTION {name}()",
    )
    try:
        with engine.connect() as connection:
            yield connection
    finally:
        run(f"DROP FUNCTION {name} CASCADE")


def metrics(cloud: Cloud, since: datetime, metric: str) -> list[dict[str, Any]]:
    """Return what parkOrder told CloudWatch of a metric, as CloudWatch reads it."""
    pages = (
        cloud.client("logs")
        .get_paginator("filter_log_events")
        .paginate(
            logGroupName="/aws/lambda/orders-local-parkOrder",
            startTime=int(since.timestamp() * 1000),
        )
    )
    texts = [event["message"] for page in pages for event in page["events"]]
    found = []
    for line in (json.loads(text) for text in texts if text.startswith('{"_aws"')):
        for told in line["_aws"]["CloudWatchMetrics"]:
            for dimensions in told["Dimensions"]:
                found += [
                    {
                        "Namespace": told["Namespace"],
                        "MetricName": each["Name"],
                        "Dimensions": [{"Name": name, "Value": line[name]} for name in dimensions],
                    }
                    for each in told["Metrics"]
                    if each["Name"] == metric
                ]
    return found


def operator_mails(cloud: Cloud, order_id: str) -> list[dict[str, Any]]:
    return [mail for mail in cloud.mails(OPERATOR) if order_id in mail["Subject"]]


def listed(cloud: Cloud, order_id: str) -> dict[str, Any] | None:
    """Return what `make parked FORMAT=json` shows of the order."""
    done = cloud.tool("parked", "list", "--format", "json")
    assert done.returncode == 0, done.stderr
    return next((each for each in json.loads(done.stdout) if each["order_id"] == order_id), None)


def resume(cloud: Cloud, order_id: str) -> tuple[int, str]:
    """Run `make resume`; return its exit code and what it found."""
    done = cloud.tool("parked", "resume", order_id)
    outcome: str = json.loads(done.stdout)["outcome"]
    return done.returncode, outcome


def waits(shop: Shop, order_id: str, since: str = "") -> Answer:
    """Wait until the order waits for an operator, later than at `since`; return it."""

    def probe() -> Answer | None:
        order = shop.order(order_id)
        return order if order["parked"] and order["parked"]["since"] > since else None

    return eventually(probe, f"order {order_id} waits for an operator", within=120) or {}


def operator_is_told(cloud: Cloud, order_id: str, since: datetime) -> None:
    """Check the mail, the list, and that the alarm listens to what is really said."""
    eventually(lambda: operator_mails(cloud, order_id), "the operator has mail")
    text = operator_mails(cloud, order_id)[0]["Body"]["text_part"]
    assert "Refund Payment" in text
    assert "the vault is shut" in text
    assert f"make resume ORDER={order_id}" in text
    entry = listed(cloud, order_id)
    assert entry
    assert (entry["status"], entry["step"]) == ("PARKED", "Refund Payment")
    assert "the vault is shut" in entry["cause"]
    (alarm,) = cloud.client("cloudwatch").describe_alarms(AlarmNames=["orders-local-OrderParked"])[
        "MetricAlarms"
    ]
    told = eventually(lambda: metrics(cloud, since, "OrderParked"), "the metric is told")
    assert {name: alarm[name] for name in told[0]} == told[0]


def test_an_order_whose_refund_fails_is_parked_told_and_finished_by_an_operator(
    cloud: Cloud, shop: Shop, customer: Customer
) -> None:
    unit_price = random.SystemRandom().randrange(10**6, 10**7)
    quantities = (999, TOO_LARGE - 999)
    sku, other = (shop.stock(quantity, unit_price=unit_price) for quantity in quantities)
    since = datetime.now(UTC)

    with refunds_fail(cloud, TOO_LARGE * unit_price) as database:
        order_id = shop.place(dict(zip((sku, other), quantities, strict=True)), customer=customer)

        # It says that it waits, and not why.
        order = waits(shop, order_id)
        assert (order["status"], order["closed_at"]) == ("PARKED", None)
        assert order["parked"].keys() == {"step", "since"}
        assert order["parked"]["step"] == "Refund Payment"
        (in_list,) = shop.get("/orders", customer_id=customer.id)["orders"]
        assert in_list == order
        last = shop.timeline(order_id)[-1]
        assert (last["step"], last["kind"]) == ("Park Order", "operator")
        assert last["ended_at"] is None
        refund = shop.timeline(order_id)[-2]
        assert (refund["step"], len(refund["attempts"])) == ("Refund Payment", 5)
        assert all(attempt["error"] for attempt in refund["attempts"])

        operator_is_told(cloud, order_id, since)

        # Resumed before its cause is mended, it parks again: the alarm rings, no second mail.
        assert resume(cloud, order_id) == (0, "resumed")
        again = waits(shop, order_id, since=order["parked"]["since"])
        assert again["parked"]["step"] == "Refund Payment"
        assert again["status"] == "PARKED"
        eventually(
            lambda: len(parkings(cloud, since, order_id)) == 2, "both parkings are in the log"
        )
        facts = "SELECT count(*) FROM outbox WHERE subject = :id AND type = 'order.parked.v1'"
        assert database.scalar(sa.text(facts), {"id": order_id}) == 1

    # Mended. Twice, and at once, is safe: one resumes it, the other finds it on its way or closed.
    with ThreadPoolExecutor(2) as pool:
        resumed = [
            pool.submit(cloud.invoke, "orders-local-resumeOrder", {"order_id": order_id})
            for _ in range(2)
        ]
    outcomes = sorted(each.result()["outcome"] for each in resumed)
    assert outcomes in (["not_waiting", "resumed"], ["not_parked", "resumed"])
    assert shop.order(order_id)["parked"] is None
    assert listed(cloud, order_id) is None

    eventually(lambda: shop.order(order_id)["closed_at"], "the order is closed")
    order = shop.order(order_id)
    assert (order["status"], order["reason"]) == ("REJECTED", "SHIPMENT_TOO_LARGE")
    assert order["parked"] is None
    steps = [(step["step"], step["outcome"]) for step in shop.timeline(order_id)]
    assert steps[-7:] == [
        ("Refund Payment", None),
        ("Park Order", "resumed"),
        ("Refund Payment", None),
        ("Park Order", "resumed"),
        ("Refund Payment", "refunded"),
        ("Release Stock", "released"),
        ("Close Order", "closed"),
    ]
    assert resume(cloud, order_id) == (1, "not_parked")

    # Undone, once: the money is back, the stock is for sale again, the customer knows.
    assert ledger(cloud, order_id) == ("reversed", TOO_LARGE * unit_price)
    shop.can_buy_exactly(sku, quantities[0])
    shop.can_buy_exactly(other, quantities[1])
    shop.told(customer, "not accepted")
    assert len(operator_mails(cloud, order_id)) == 1


def test_resuming_what_is_no_order_says_so(cloud: Cloud) -> None:
    assert resume(cloud, "00000000-0000-7000-8000-000000000000") == (1, "unknown_order")
    refused = cloud.tool("parked", "resume", "order-1")
    assert (refused.returncode, refused.stderr) == (1, "ORDER: 'order-1' is no order id\n")


def parkings(cloud: Cloud, since: datetime, order_id: str) -> list[dict[str, Any]]:
    return cloud.log_lines(
        "orders-local-parkOrder", since, message="order_parked", order_id=order_id
    )


def ledger(cloud: Cloud, order_id: str) -> tuple[str, int]:
    """Return what the gateway holds of the order."""
    engine = sa.create_engine(cloud.database_url("orders"), poolclass=sa.NullPool)
    query = "SELECT status, amount FROM sandbox_gateway.ledger WHERE key = :id"
    with engine.connect() as connection:
        row = connection.execute(sa.text(query), {"id": order_id}).one()
    return row.status, row.amount
