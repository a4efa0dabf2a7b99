"""A message that nobody can read ends in its queue's dead letters, and hurts nobody else.

Three receipts, each followed by the queue's 60 s of invisibility: this file takes three minutes,
nearly all of it waiting. One test waits for all queues at once, and for what is redriven too: it is
put back while the wait begins. It is the only test that redrives, since it takes all there is.
"""

import json
import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import pytest

from shared.contracts.inventory import ProductListed
from shared.contracts.orders import OrderConfirmed, OrderLine, OrderPlaced, Quantity, ReserveStock
from shared.envelope import wrap
from shared.ids import uuid7
from tests.support.cloud import CONSUMERS, Cloud, unique
from tests.support.polling import eventually
from tests.support.shop import Customer, Shop


def order_fact(contract: type[Any], customer: Customer, sku: str) -> str:
    order_id = str(uuid7())
    fact = contract(order_id, 1, customer.id, customer.email, "EUR", 250, (OrderLine(sku, 1, 250),))
    return json.dumps(wrap(fact, source="orderflow.orders", subject=order_id))


def listing(sku: str) -> str:
    fact = ProductListed(sku, 1, "Thing", 250, "EUR")
    return json.dumps(wrap(fact, source="orderflow.inventory", subject=sku))


def reservation(order_id: str, sku: str) -> str:
    command = ReserveStock(order_id, (Quantity(sku, 1),))
    envelope = wrap(command, source="orderflow.orders", subject=order_id)
    return json.dumps(envelope | {"tasktoken": unique("nobody-waits")})


def poisons(good: str) -> list[str]:
    """Return three unreadable messages, each with a mark of its own to find it by."""
    envelope = json.loads(good)
    return [
        f"no JSON {unique('poison')}",
        json.dumps({"poison": unique("poison")}),
        json.dumps(envelope | {"id": unique("poison"), "data": {"nothing": "of use"}}),
    ]


def mark(poison: str) -> str:
    at = poison.index("poison-")
    return poison[at : at + len(unique("poison"))]


def buried(cloud: Cloud, bodies: Mapping[str, Sequence[str]]) -> dict[str, list[str]]:
    """Put messages straight into the dead letters; return the ids under which they are listed."""
    for queue, texts in bodies.items():
        cloud.send(f"{queue}-dlq", texts)
    listed = cloud.dead_letters()
    ids = {
        queue: [each["id"] for text in texts for each in listed[queue] if each["body"] == text]
        for queue, texts in bodies.items()
    }
    assert {queue: len(found) for queue, found in ids.items()} == {
        queue: len(texts) for queue, texts in bodies.items()
    }
    return ids


def redrive(cloud: Cloud, queue: str, *options: str) -> str:
    done = cloud.tool("dead_letters", "redrive", queue, *options)
    assert done.returncode == 0, done.stderr
    return done.stdout


def redriven(cloud: Cloud, copies: Mapping[str, Sequence[str]], poison: Mapping[str, str]) -> None:
    """Let copies of what has taken effect be dead letters, and redrive one, then all the others."""
    ids = buried(cloud, {queue: [*texts, poison[queue]] for queue, texts in copies.items()})
    for queue, (first, *_) in ids.items():
        assert "went back" in redrive(cloud, queue, "--id", first)
    queue, (first, second, _) = next(iter(ids.items()))
    assert "would go back" in redrive(cloud, queue, "--id", second, "--dry-run")
    refused = cloud.tool("dead_letters", "redrive", queue, "--id", first)
    assert refused.returncode == 1, "it is gone: nothing is sent twice"
    assert "holds no message" in refused.stderr
    # Nothing of a look, and nothing of a redrive of one, keeps the others from being redriven.
    listed = cloud.dead_letters()
    for queue, (_, *rest) in ids.items():
        assert {each["id"] for each in listed[queue]} >= set(rest)
        assert "messages went back" in redrive(cloud, queue)
    listed = cloud.dead_letters()
    for queue, (_, *rest) in ids.items():
        assert not {each["id"] for each in listed[queue]} & set(rest)


def handled(
    cloud: Cloud, queue: str, since: datetime, message: str, subjects: Iterable[str]
) -> bool:
    """Say whether the consumer has logged `message` for each copy."""
    lines = cloud.log_lines(CONSUMERS[queue], since, message=message)
    seen = Counter(line.get("order_id") or line.get("sku") for line in lines)
    return all(seen[subject] for subject in subjects)


def silent(cloud: Cloud) -> list[str]:
    """Return the queues whose alarm on dead letters does not ring."""
    names = {f"local-orderflow-{queue}-dlq-depth" for queue in CONSUMERS}
    found = cloud.client("cloudwatch").describe_alarms(AlarmNames=sorted(names))["MetricAlarms"]
    assert {alarm["AlarmName"] for alarm in found} == names
    return [alarm["AlarmName"] for alarm in found if alarm["StateValue"] != "ALARM"]


def mark_in(message: Mapping[str, Any], marks: Iterable[str]) -> bool:
    return any(text in message["body"] for text in marks)


# Nearly all of it waiting, and a busy machine is slow.
@pytest.mark.timeout(600)
def test_poison_ends_in_the_dead_letters_and_what_took_effect_is_redriven_without_a_second_one(
    cloud: Cloud, shop: Shop, made_up: Callable[[str], str]
) -> None:
    first, second = Customer(), Customer()
    sold, listed = ([made_up(unique("sku")) for _ in range(2)] for _ in range(2))
    shelf, held = shop.stock(2), [str(uuid7()), str(uuid7())]
    told = [order_fact(OrderPlaced, who, "sku") for who in (first, second)]
    for fact in told:
        made_up(json.loads(fact)["subject"])
    mates = {
        "notifications-email": told,
        "notifications-analytics": [order_fact(OrderConfirmed, Customer(), sku) for sku in sold],
        "orders-catalogue": [listing(sku) for sku in listed],
        "inventory-commands": [reservation(order_id, shelf) for order_id in held],
    }
    assert mates.keys() == CONSUMERS.keys()

    marks = {}
    for queue, (before, after) in mates.items():
        poison = poisons(before)
        marks[queue] = [mark(text) for text in poison]
        cloud.send(queue, [before, *poison, after])

    effects: dict[str, Callable[[], object]] = {
        "both mails were sent": lambda: (
            len(cloud.mails(first.email)) == len(cloud.mails(second.email)) == 1
        ),
        "both sales were counted": lambda: all(cloud.sales(sku) for sku in sold),
        "both products are listed": lambda: all(shop.product(sku) for sku in listed),
        "both units are set aside": lambda: shop.buy({shelf: 1})["reason"] == "OUT_OF_STOCK",
    }
    for what, effect in effects.items():
        # Less than the time after which they would come again.
        eventually(effect, what, within=40)

    # What has taken effect becomes dead letters, with a poison for each queue, and is put back.
    since, back = datetime.now(UTC), {queue: poisons(text)[1] for queue, (text, _) in mates.items()}
    redriven(cloud, mates, back)
    marks = {queue: [*texts, mark(back[queue])] for queue, texts in marks.items()}
    facts = {
        queue: [json.loads(text)["subject"] for text in texts] for queue, texts in mates.items()
    }
    dropped = {
        "notifications-email": "mail_duplicate",
        "notifications-analytics": "sale_duplicate",
        "orders-catalogue": "product_stale",
        "inventory-commands": "command_answered_late",
    }
    for queue, message in dropped.items():
        eventually(
            lambda queue=queue, message=message: handled(  # type: ignore[misc]
                cloud, queue, since, message, facts[queue]
            ),
            f"{queue} has dropped what it had done before",
        )
    assert shop.buy({shelf: 1})["reason"] == "OUT_OF_STOCK"
    assert [shop.product(sku)["unit_price"] for sku in listed] == [250, 250]  # type: ignore[index]
    for order_id in held:
        cloud.release(order_id)

    def missing() -> list[str]:
        return [
            f"{queue}: {text}"
            for queue, texts in marks.items()
            for text in texts
            if not cloud.lies_in(f"{queue}-dlq", text)
        ]

    eventually(lambda: not missing(), "all poison lies in the dead letters", within=240, every=2)
    found = cloud.dead_letters()
    for queue, texts in marks.items():
        letters = [each for each in found[queue] if mark_in(each, texts)]
        assert len(letters) == len(texts), "the redriven poison too, and nothing twice"
        # Its own error, and not its neighbour's: three cannot be read for three reasons.
        assert {each["receive_count"] > 3 for each in letters} == {True}
        errors = {each["last_error"] for each in letters}
        assert len(errors) == 3, errors
        assert all(re.match(r"\w+_(failed|not_stored): \w+: .", error) for error in errors), errors
    eventually(lambda: not silent(cloud), "the alarms ring", within=150, every=2)
    shop.can_buy_exactly(shelf, 2)
    assert [len(cloud.mails(who.email)) for who in (first, second)] == [1, 1]
    assert [cloud.sales(sku)[0]["units"] for sku in sold] == [1, 1]
    in_queues = [
        text for queue, texts in marks.items() for text in texts if cloud.lies_in(queue, text)
    ]
    assert in_queues == []
