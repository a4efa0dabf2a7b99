"""countSales on a real DynamoDB: each confirmed order is in the figures exactly once."""

import copy
import json
from collections.abc import Callable
from types import ModuleType
from typing import Any

import pytest
from botocore.exceptions import ClientError

from notifications import bootstrap
from notifications.use_cases import counted_fact
from shared.envelope import Envelope, read

Handlers = Callable[[str], ModuleType]

DAY = "2026-11-24"
FIGURES = {(DAY, "MUG-RED"): (3, 1, 5997), (DAY, "PEN-BLUE"): (1, 1, 1500)}


def _envelope(cloud: Any) -> Envelope:
    return read(cloud.captured("analytics_one_order")["Records"][0]["body"])


def _with(event: dict[str, Any], fact_id: str, **data: Any) -> dict[str, Any]:
    """Return the event's message as another fact."""
    record: dict[str, Any] = copy.deepcopy(event["Records"][0])
    body = json.loads(record["body"])
    body["id"] = fact_id
    body["data"] |= data
    return record | {"messageId": f"message-{fact_id}", "body": json.dumps(body)}


def test_a_confirmed_order_is_added_for_each_sku(cloud: Any, handlers: Handlers) -> None:
    event = cloud.captured("analytics_one_order")
    answer = handlers("count_sales").handler(event, cloud.invocation())
    assert answer == {"batchItemFailures": []}
    assert cloud.sold() == FIGURES


def test_delivered_twice_is_counted_once(cloud: Any, handlers: Handlers) -> None:
    event = cloud.captured("analytics_one_order")
    event["Records"] *= 2
    assert handlers("count_sales").handler(event, cloud.invocation()) == {"batchItemFailures": []}
    assert handlers("count_sales").handler(event, cloud.invocation()) == {"batchItemFailures": []}
    assert cloud.sold() == FIGURES


def test_two_orders_add_up_and_currencies_stay_apart(cloud: Any, handlers: Handlers) -> None:
    event = cloud.captured("analytics_one_order")
    event["Records"] += [_with(event, "f2"), _with(event, "f3", currency="JPY")]
    handlers("count_sales").handler(event, cloud.invocation())
    assert cloud.sold() == {(DAY, "MUG-RED"): (9, 3, 11994), (DAY, "PEN-BLUE"): (3, 3, 3000)}
    revenue = {item["sku"]: item["revenue_JPY"] for item in cloud.items(cloud.tables.sales)}
    assert revenue == {"MUG-RED": "5997", "PEN-BLUE": "1500"}


def test_an_order_of_fifty_lines_is_counted_whole(cloud: Any, handlers: Handlers) -> None:
    event = cloud.captured("analytics_one_order")
    lines = [{"sku": f"SKU-{n}", "quantity": 999, "unit_price": n} for n in range(50)]
    event["Records"] = [_with(event, "f50", lines=lines)]
    assert handlers("count_sales").handler(event, cloud.invocation()) == {"batchItemFailures": []}
    assert cloud.sold() == {(DAY, f"SKU-{n}"): (999, 1, 999 * n) for n in range(50)}


def test_a_sku_that_stands_on_two_lines_is_one_addition(cloud: Any, handlers: Handlers) -> None:
    event = cloud.captured("analytics_one_order")
    lines = [{"sku": "MUG", "quantity": q, "unit_price": 100} for q in (1, 2)]
    event["Records"] = [_with(event, "f2", lines=lines)]
    assert handlers("count_sales").handler(event, cloud.invocation()) == {"batchItemFailures": []}
    assert cloud.sold() == {(DAY, "MUG"): (3, 1, 300)}


@pytest.mark.parametrize("body", ["not json", '{"specversion":"1.0"}'])
def test_a_poison_message_fails_alone_in_its_batch(
    cloud: Any, handlers: Handlers, body: str
) -> None:
    event = cloud.captured("analytics_one_order")
    event["Records"].insert(0, _with(event, "poison") | {"body": body})
    answer = handlers("count_sales").handler(event, cloud.invocation())
    assert answer == {"batchItemFailures": [{"itemIdentifier": "message-poison"}]}
    assert cloud.sold() == FIGURES


def test_an_order_that_was_only_placed_is_no_sale_but_an_outcome(
    cloud: Any, handlers: Handlers
) -> None:
    event = cloud.captured("analytics_one_order")
    record = event["Records"][0]
    record["body"] = record["body"].replace("order.confirmed.v1", "order.placed.v1")
    assert handlers("count_sales").handler(event, cloud.invocation()) == {"batchItemFailures": []}
    assert cloud.sold() == {}
    (outcome,) = cloud.items(cloud.tables.outcomes)
    assert (outcome["type"], outcome["day"]) == ("order.placed.v1", DAY)


def test_a_refused_order_is_kept_with_its_reason_and_sells_nothing(
    cloud: Any, handlers: Handlers
) -> None:
    event = cloud.captured("email_five_facts")
    bodies = [json.loads(record["body"]) for record in event["Records"]]
    (rejected,) = [body for body in bodies if body["type"] == "order.rejected.v1"]
    event["Records"] = [
        record
        for record, body in zip(event["Records"], bodies, strict=True)
        if body["type"] == "order.rejected.v1"
    ]
    for _ in range(2):
        handlers("count_sales").handler(event, cloud.invocation())
    (outcome,) = cloud.items(cloud.tables.outcomes)
    assert outcome["order_id"] == rejected["subject"]
    assert outcome["reason"] == rejected["data"]["reason"]
    assert cloud.sold() == {}


@pytest.mark.parametrize(
    ("call", "after", "outcome"),
    [
        ("put_item", False, "counted"),
        ("put_item", True, "counted"),
        ("transact_write_items", False, "counted"),
        ("transact_write_items", True, "duplicate"),
    ],
)
def test_wherever_the_worker_is_killed_the_order_is_counted_exactly_once(
    cloud: Any, call: str, outcome: str, *, after: bool
) -> None:
    envelope = _envelope(cloud)
    dying = bootstrap.count_sales(cloud.dying("dynamodb", call, after=after))
    dying.invoked(cloud.invocation(milliseconds_left=0))
    with pytest.raises(cloud.Killed):
        dying(envelope.id, counted_fact(envelope), envelope.time)
    again = bootstrap.count_sales()
    again.invoked(cloud.invocation())
    assert again(envelope.id, counted_fact(envelope), envelope.time)["outcome"] == outcome
    assert cloud.sold() == FIGURES


def test_a_worker_that_was_overtaken_does_not_count_again(cloud: Any) -> None:
    """Its time was up, another finished the fact, and then it woke."""
    envelope = _envelope(cloud)

    class Overtaken:
        """A client before whose transaction another worker does the whole job."""

        def __init__(self, client: Any) -> None:
            self._client = client

        def __getattr__(self, name: str) -> Any:
            if name == "transact_write_items":
                other = bootstrap.count_sales()
                other.invoked(cloud.invocation())
                other(envelope.id, counted_fact(envelope), envelope.time)
            return getattr(self._client, name)

    slow = bootstrap.count_sales(lambda service: Overtaken(cloud.client(service)))
    slow.invoked(cloud.invocation(milliseconds_left=0))
    with pytest.raises(Exception, match="success in idempotency store"):
        slow(envelope.id, counted_fact(envelope), envelope.time)
    assert cloud.sold() == FIGURES


def test_a_transaction_that_met_another_is_tried_again(cloud: Any) -> None:
    envelope = _envelope(cloud)
    collisions = iter(range(2))

    class Busy:
        """A client whose first transactions meet another at the same sku."""

        def __init__(self, client: Any) -> None:
            self._client = client

        def __getattr__(self, name: str) -> Any:
            if name == "transact_write_items" and next(collisions, None) is not None:
                return self._collide
            return getattr(self._client, name)

        def _collide(self, **_: Any) -> None:
            raise ClientError(
                {
                    "Error": {"Code": "TransactionCanceledException", "Message": "…"},
                    "CancellationReasons": [{"Code": "None"}, {"Code": "TransactionConflict"}],
                },
                "TransactWriteItems",
            )

    busy = bootstrap.count_sales(lambda service: Busy(cloud.client(service)))
    busy.invoked(cloud.invocation())
    assert busy(envelope.id, counted_fact(envelope), envelope.time)["outcome"] == "counted"
    assert cloud.sold() == FIGURES
