"""Who gets which message: the deployed filter policies, asked by SNS itself.

Each deployed subscription's policy is put on a queue of the test's own, behind a topic of the
test's own: the real consumers hear nothing of facts that never happened.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from shared.contracts import inventory, orders
from tests.support.cloud import ACCOUNT, REGION, Cloud, unique
from tests.support.polling import eventually

TOPIC_OF = {
    **{contract.TYPE: "commands" for contract in orders.COMMANDS},
    **{contract.TYPE: "events" for contract in (*orders.FACTS, *inventory.FACTS)},
}
"""Every message type that is published, and the topic that it is published to."""

COMMANDS = {contract.TYPE for contract in orders.COMMANDS}
ORDER_FACTS = {contract.TYPE for contract in orders.FACTS}
WANTED = {
    "inventory-commands": COMMANDS,
    "notifications-email": ORDER_FACTS,
    "notifications-analytics": ORDER_FACTS - {orders.OrderParked.TYPE},
    "orders-catalogue": {inventory.ProductListed.TYPE},
}
"""What each queue should get; nothing else may reach it."""

STRANGERS = ("order.confirmed.v2", "ORDER.CONFIRMED.V1", "order.confirmed", "")
"""Types that no consumer can read: the next version, another spelling, none at all."""


@dataclass(frozen=True)
class Shadow:
    """A topic with a queue behind each deployed policy."""

    topic: str
    queues: dict[str, str]


@pytest.fixture(scope="module")
def shadows(cloud: Cloud) -> Iterator[dict[str, Shadow]]:
    made = {topic: _shadow(cloud, topic) for topic in ("events", "commands")}
    yield made
    for shadow in made.values():
        cloud.client("sns").delete_topic(TopicArn=shadow.topic)
        for url in shadow.queues.values():
            cloud.client("sqs").delete_queue(QueueUrl=url)


def _shadow(cloud: Cloud, topic: str) -> Shadow:
    sns, sqs = cloud.client("sns"), cloud.client("sqs")
    name = unique(f"shadow-{topic}")
    shadow = Shadow(sns.create_topic(Name=name)["TopicArn"], {})
    for subscription in (
        sns.get_paginator("list_subscriptions_by_topic")
        .paginate(TopicArn=f"arn:aws:sns:{REGION}:{ACCOUNT}:local-orderflow-{topic}")
        .search("Subscriptions")
    ):
        if "local-orderflow-" not in subscription["Endpoint"]:
            continue  # another test's ear
        deployed = sns.get_subscription_attributes(SubscriptionArn=subscription["SubscriptionArn"])
        attributes = deployed["Attributes"]
        queue = subscription["Endpoint"].rpartition("local-orderflow-")[2]
        url = sqs.create_queue(QueueName=unique(queue))["QueueUrl"]
        arn = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])
        sns.subscribe(
            TopicArn=shadow.topic,
            Protocol="sqs",
            Endpoint=arn["Attributes"]["QueueArn"],
            Attributes={
                "RawMessageDelivery": "true",
                "FilterPolicy": attributes["FilterPolicy"],
                "FilterPolicyScope": attributes["FilterPolicyScope"],
            },
        )
        shadow.queues[queue] = url
    return shadow


def _publish(cloud: Cloud, shadow: Shadow, type_: str) -> None:
    attribute = {"type": {"DataType": "String", "StringValue": type_}} if type_ else {}
    cloud.client("sns").publish(
        TopicArn=shadow.topic, Message=type_ or "no type", MessageAttributes=attribute
    )


def _drain(cloud: Cloud, url: str, sentinel: str) -> set[str]:
    """Receive until the sentinel, sent last and straight to the queue, has come."""
    got: set[str] = set()

    def sentinel_came() -> bool:
        answer = cloud.client("sqs").receive_message(QueueUrl=url, MaxNumberOfMessages=10)
        got.update(message["Body"] for message in answer.get("Messages", []))
        return sentinel in got

    eventually(sentinel_came, "everything that was published has arrived")
    return got - {sentinel}


def test_each_queue_gets_the_types_that_it_reads_and_no_other(
    cloud: Cloud, shadows: dict[str, Shadow]
) -> None:
    for type_ in (*TOPIC_OF, *STRANGERS):
        for shadow in shadows.values():  # a fact on the wrong topic must reach nobody either
            _publish(cloud, shadow, type_)

    got: dict[str, Any] = {}
    for shadow in shadows.values():
        for queue, url in shadow.queues.items():
            sentinel = unique("sentinel")
            cloud.client("sqs").send_message(QueueUrl=url, MessageBody=sentinel)
            got[queue] = _drain(cloud, url, sentinel)

    assert got == WANTED


def test_every_type_that_is_published_is_read_by_somebody_or_said_to_be_for_others() -> None:
    read = set().union(*WANTED.values())
    # A forecast of what to buy is another team's business: published, and nobody here listens.
    assert TOPIC_OF.keys() - read == {inventory.StockLow.TYPE}
    for type_, topic in TOPIC_OF.items():
        queues = [queue for queue, types in WANTED.items() if type_ in types]
        assert all(("commands" in queue) == (topic == "commands") for queue in queues), type_


def test_the_deployed_attributes_are_json_objects_of_type_alone(cloud: Cloud) -> None:
    sns = cloud.client("sns")
    for subscription in sns.get_paginator("list_subscriptions").paginate().search("Subscriptions"):
        if "local-orderflow-" not in subscription["Endpoint"]:
            continue
        attributes = sns.get_subscription_attributes(
            SubscriptionArn=subscription["SubscriptionArn"]
        )["Attributes"]
        assert json.loads(attributes["FilterPolicy"]).keys() == {"type"}
