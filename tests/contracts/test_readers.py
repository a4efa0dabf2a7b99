"""Each publisher's messages parse in each of their consumers, now and with fields added later."""

from collections.abc import Mapping
from copy import deepcopy
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from inventory.adapters.commands import command_of, task_token_of
from notifications.use_cases import compose, count_sales, counted_fact, mailed_fact
from orders.domain import Product
from shared.contracts.orders import FACTS as ORDER_FACTS
from shared.envelope import read
from shared.errors import UnreadableMessage
from tests.contracts.samples import ORDER_ID, commands, facts, text
from tests.support.templates import load

SERVICES = Path(__file__).parents[2] / "services"
ORDER_TYPES = [contract.TYPE for contract in ORDER_FACTS]


@pytest.fixture(params=["as published", "with fields that this reader does not know"])
def later(request: pytest.FixtureRequest) -> bool:
    return bool(request.param != "as published")


def body(message: Mapping[str, Any], *, later: bool) -> str:
    if not later:
        return text(dict(message))
    grown = deepcopy(dict(message))
    grown["traceparent"] = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    grown["data"]["added_later"] = {"a": [1, 2.5, None]}
    for line in grown["data"].get("lines", ()):
        line["added_later"] = True
    return text(grown)


@pytest.mark.parametrize("type_", commands())
def test_inventory_understands_every_command_of_the_saga(type_: str, later: bool) -> None:
    envelope = read(body(commands()[type_], later=later))
    assert str(command_of(envelope).order_id) == ORDER_ID
    assert task_token_of(envelope)
    assert envelope.subject == ORDER_ID


@pytest.mark.parametrize("type_", ORDER_TYPES)
def test_notifications_can_write_a_mail_about_every_order_fact(type_: str, later: bool) -> None:
    fact = mailed_fact(read(body(facts()[type_], later=later)))
    mail = compose(fact, operator="operator@example.org")
    assert ORDER_ID in mail.body


def test_notifications_count_a_confirmed_order(later: bool) -> None:
    envelope = read(body(facts()["order.confirmed.v1"], later=later))
    sale = count_sales(counted_fact(envelope), envelope.time)
    assert {sku.sku: sku.units for sku in sale.skus} == {"MUG-BLUE": 2, "TEA-GREEN": 1}
    assert sum(sku.revenue for sku in sale.skus) == facts()["order.confirmed.v1"]["data"]["total"]


class Shelf:
    """A catalogue that keeps what it is given."""

    def __init__(self) -> None:
        self.products: list[Product] = []

    def upsert(self, product: Product) -> bool:
        self.products.append(product)
        return True


@pytest.fixture
def update_catalogue(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.setenv("DATABASE_URL", "postgresql+psycopg://nobody@127.0.0.1:1/none")
    monkeypatch.setenv("POWERTOOLS_SERVICE_NAME", "orders")
    from orders.handlers import update_catalogue  # noqa: PLC0415 - reads its settings at import

    monkeypatch.setattr(update_catalogue, "catalogue", Shelf())
    return update_catalogue


def test_orders_store_a_listed_product(update_catalogue: ModuleType, later: bool) -> None:
    message = body(facts()["product.listed.v1"], later=later)
    event = {"Records": [{"messageId": "m1", "body": message, "eventSource": "aws:sqs"}]}
    assert update_catalogue.handler(event, SimpleNamespace()) == {"batchItemFailures": []}
    assert update_catalogue.catalogue.products == [
        Product("MUG-BLUE", "Blue mug", 1250, "EUR", version=1)
    ]


# A queue that listens to a misspelt type is silent, not red: so compare the words.

SUBSCRIBED = {
    f"{path.parts[-3]}: {name}": resource["Properties"]["FilterPolicy"]["type"]
    for path in sorted(SERVICES.glob("*/resources/queues.yml"))
    for name, resource in load(path)["Resources"].items()
    if resource["Type"] == "AWS::SNS::Subscription"
}


@pytest.mark.parametrize("subscription", SUBSCRIBED)
def test_a_queue_listens_only_to_what_somebody_publishes(subscription: str) -> None:
    assert set(SUBSCRIBED[subscription]) <= {*facts(), *commands()}


def test_every_order_fact_and_every_command_has_a_listener() -> None:
    heard = {type_ for types in SUBSCRIBED.values() for type_ in types}
    assert {*commands(), *ORDER_TYPES, "product.listed.v1"} <= heard


@pytest.mark.parametrize(
    "broken",
    [
        {"subject": None},
        {"data": None},
        {"specversion": "2.0"},
        {"time": "yesterday"},
        {"data": {"order_id": "no-uuid"}},
        {"type": "inventory.reserve.v2"},
    ],
    ids=str,
)
def test_a_message_that_breaks_its_contract_is_unreadable_and_says_why(
    broken: dict[str, Any],
) -> None:
    message = {**commands()["inventory.release.v1"], **broken}
    with pytest.raises(UnreadableMessage, match=r"\w"):
        command_of(read(text(message)))
