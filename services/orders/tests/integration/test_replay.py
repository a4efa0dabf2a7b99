"""One request many times at once: one order, one saga, one answer; another body is told so."""

import json
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from datetime import UTC, datetime
from functools import partial
from typing import Any
from uuid import uuid4

import boto3
import pytest
import sqlalchemy as sa
from botocore.config import Config

from orders.adapters.catalogue import SqlCatalogue
from orders.adapters.order_book import SqlOrderBook
from orders.adapters.saga import StepFunctionsSaga
from orders.adapters.tables import catalogue
from orders.domain import KeyReused, WantedLine
from orders.use_cases import Placed, PlaceOrder, place_order
from shared.ids import uuid7
from tests.support.polling import eventually
from tests.support.postgres import second

from .conftest import FakeAws, World, at_once
from .test_handlers import invoke, placing

AT_ONCE = 16
ARN = "arn:aws:states:us-east-1:000000000000:stateMachine:test-orderflow-place-order"


@pytest.fixture(scope="module")
def engines(postgres: sa.Engine) -> Iterator[list[sa.Engine]]:
    """Return sixteen engines, as sixteen execution environments have."""
    with ExitStack() as stack:
        yield [stack.enter_context(second(postgres)) for _ in range(AT_ONCE)]


@pytest.fixture
def sku(world: World) -> str:
    """List a product; return its sku."""
    sku = uuid4().hex
    row = {"sku": sku, "name": "Cup", "unit_price": 900, "currency": "EUR", "version": 1}
    world.run(sa.insert(catalogue).values(**row))
    return sku


@pytest.fixture
def environments(engines: list[sa.Engine], aws: FakeAws) -> list[Any]:
    """Return `request -> answer`, sixteen times, each with collaborators of its own."""
    states = boto3.client(
        "stepfunctions",
        endpoint_url=f"http://127.0.0.1:{aws.server_port}",
        config=Config(max_pool_connections=AT_ONCE),
    )
    return [
        partial(
            place_order,
            catalogue=SqlCatalogue(engine),
            orders=SqlOrderBook(engine),
            saga=StepFunctionsSaga(states, ARN),
            new_id=uuid7,
            now=lambda: datetime.now(UTC),
        )
        for engine in engines
    ]


def a_request(sku: str, *, quantity: int = 1) -> PlaceOrder:
    customer, lines = f"customer-{sku}", (WantedLine(sku, quantity),)
    return PlaceOrder(customer, "ada@example.com", "EUR", lines, "tok_visa", "key")


def test_sixteen_requests_at_once_under_one_key_are_one_order_with_one_answer(
    world: World, aws: FakeAws, environments: list[Any], sku: str
) -> None:
    request = a_request(sku)
    answers = at_once(*(partial(place, request) for place in environments))
    assert all(isinstance(answer, Placed) for answer in answers), answers
    (order_id,) = {answer.order.id for answer in answers}
    assert len({answer.order for answer in answers}) == 1
    assert sorted(answer.replayed for answer in answers) == [False] + [True] * (AT_ONCE - 1)
    (listed,) = world.book.page(request.customer_id, before=None, limit=99)
    assert listed.id == order_id
    assert world.facts(order_id) == ["order.placed.v1", "saga.start"]
    assert str(order_id) in aws.executions


def test_of_two_bodies_at_once_under_one_key_one_is_placed_and_the_other_told_so(
    world: World, environments: list[Any], sku: str
) -> None:
    requests = [a_request(sku, quantity=1 + at % 2) for at in range(AT_ONCE)]
    answers = at_once(
        *(partial(place, each) for place, each in zip(environments, requests, strict=True))
    )
    (order,) = world.book.page(requests[0].customer_id, before=None, limit=99)
    for request, answer in zip(requests, answers, strict=True):
        if request.lines[0].quantity == order.lines[0].quantity:
            assert isinstance(answer, Placed)
            assert answer.order == order
        else:
            assert answer == KeyReused()


def test_while_the_first_request_still_runs_its_repetition_has_the_answer_already(
    world: World, aws: FakeAws, sku: str, environments: list[Any]
) -> None:
    """The order stands once it is committed; a repetition need not wait for the saga's start."""
    event = placing([sku], key="key", customer_id=f"customer-{sku}")
    other = event | {"body": event["body"].replace("tok_visa", "tok_declined")}
    body = json.loads(event["body"])
    request = PlaceOrder(
        body["customer_id"],
        body["email"],
        body["currency"],
        tuple(WantedLine(**line) for line in body["lines"]),
        body["payment_token"],
        "key",
    )
    reached, let_go = threading.Event(), threading.Event()

    def hold(_: str) -> None:
        reached.set()
        assert let_go.wait(60)

    aws.before = hold
    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(environments[0], request)
        try:
            assert reached.wait(60)
            again, conflict = invoke("place_order", event), invoke("place_order", other)
            assert not first.done()
        finally:
            let_go.set()
        placed = first.result(60)
    assert not placed.replayed
    assert again["statusCode"] == 202
    assert json.loads(again["body"])["order_id"] == str(placed.order.id)
    assert conflict["statusCode"] == 409
    # And once the first has answered, the same again.
    assert invoke("place_order", event) == again
    eventually(lambda: str(placed.order.id) in aws.executions, "the saga has started")
    assert world.facts(placed.order.id) == ["order.placed.v1", "saga.start"]
