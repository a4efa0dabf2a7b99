"""The one message format: what is written can be read, and what is faulty is named."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.contracts.inventory import StockLow
from shared.envelope import read, read_data, wrap
from shared.errors import UnreadableMessage

BODY = StockLow("MUG", 3, 4, 5)


def message(**changes: Any) -> str:
    """Return a good message with some attributes changed; None takes one away."""
    attributes = {**wrap(BODY, source="orderflow.inventory", subject="MUG"), **changes}
    return json.dumps({name: value for name, value in attributes.items() if value is not None})


def test_what_is_wrapped_can_be_read() -> None:
    before = datetime.now(UTC)
    envelope = read(message())
    assert envelope.type == "stock.low.v1"
    assert envelope.source == "orderflow.inventory"
    assert envelope.subject == "MUG"
    assert timedelta() <= envelope.time - before < timedelta(minutes=1)
    assert read_data(envelope, StockLow) == BODY


@given(st.text(), st.integers(), st.integers(min_value=-(2**63), max_value=2**63 - 1))
def test_any_text_and_number_survives(sku: str, version: int, available: int) -> None:
    body = StockLow(sku, version % 2**31, available, 0)
    text = msgspec.json.encode(wrap(body, source="s", subject=sku))
    assert read_data(read(text), StockLow) == body


def test_every_message_has_an_id_of_its_own_unless_it_is_given_one() -> None:
    first, second = (wrap(BODY, source="s", subject="MUG")["id"] for _ in range(2))
    assert first != second
    assert wrap(BODY, source="s", subject="MUG", event_id="e1")["id"] == "e1"


def test_a_reader_ignores_attributes_and_fields_that_it_does_not_know() -> None:
    data = {**msgspec.to_builtins(BODY), "warehouse": {"id": 7}}
    assert read_data(read(message(data=data, traceparent="00-1-2-01")), StockLow) == BODY


@pytest.mark.parametrize("attribute", ["id", "source", "type", "time", "subject", "data"])
def test_a_missing_attribute_is_named(attribute: str) -> None:
    with pytest.raises(UnreadableMessage, match=f"`{attribute}`"):
        read(message(**{attribute: None}))


@pytest.mark.parametrize(
    ("attribute", "value"),
    [("id", 7), ("type", []), ("time", "yesterday"), ("specversion", "0.3"), ("tasktoken", 1)],
)
def test_a_faulty_attribute_is_named(attribute: str, value: object) -> None:
    with pytest.raises(UnreadableMessage, match=rf"\$\.{attribute}`"):
        read(message(**{attribute: value}))


@pytest.mark.parametrize("text", ["", "null", "[]", "{", b"\xff\xfe", '"text"'], ids=repr)
def test_what_is_no_envelope_is_unreadable(text: str | bytes) -> None:
    with pytest.raises(UnreadableMessage):
        read(text)


def test_faulty_data_is_named_with_its_type() -> None:
    envelope = read(message(data={"sku": "MUG", "version": 3, "available": "four", "threshold": 5}))
    with pytest.raises(UnreadableMessage, match=r"^stock\.low\.v1: .*\$\.available"):
        read_data(envelope, StockLow)


def test_a_command_carries_its_task_token_and_a_fact_has_none() -> None:
    assert read(message(tasktoken="t1")).tasktoken == "t1"
    assert read(message()).tasktoken is None
