"""What is published keeps its shape within a version, and the comparison sees when it does not."""

import subprocess
import sys
from collections.abc import Callable
from copy import deepcopy
from typing import Any

import jsonschema
import pytest

from tests.contracts.samples import commands, facts
from tools import schemas

RELEASED = schemas.load(schemas.RELEASED)
COMMITTED = schemas.load(schemas.SCHEMAS)


def test_the_committed_schemas_are_those_of_the_code() -> None:
    assert schemas.generate() == COMMITTED, "run: .venv/bin/python tools/schemas.py"


def test_nothing_that_the_last_release_published_was_removed_or_changed() -> None:
    faults = schemas.breaks(RELEASED, schemas.generate())
    assert not faults, "\n".join(faults)


def test_there_is_a_sample_of_every_published_type() -> None:
    assert {*facts(), *commands()} == {contract.TYPE for contract in schemas.PUBLISHED}


@pytest.mark.parametrize(
    "message", [*facts().values(), *commands().values()], ids=lambda m: m["type"]
)
def test_what_is_published_is_as_its_schema_says(message: dict[str, Any]) -> None:
    jsonschema.validate(message, COMMITTED["envelope"])
    jsonschema.validate(message["data"], COMMITTED[message["type"]])


@pytest.mark.parametrize("message", commands().values(), ids=lambda m: m["type"])
def test_the_saga_sends_no_field_that_its_contract_does_not_know(message: dict[str, Any]) -> None:
    schema = COMMITTED[message["type"]]
    name = schema["$ref"].rsplit("/", 1)[1]
    assert message["data"].keys() == schema["$defs"][name]["properties"].keys()


# The comparison itself, on samples.

Change = Callable[[dict[str, Any], dict[str, Any]], Any]  # of the message's fields, and of a line's


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        (lambda order, _: order.pop("email"), "field email was removed"),
        (lambda _, line: line.pop("sku"), "field lines[].sku was removed"),
        (
            lambda order, _: order.update(total={"type": "string"}),
            'field total changed from {"type": "integer"} to {"type": "string"}',
        ),
        (
            lambda _, line: line.update(
                quantity={"anyOf": [{"type": "integer"}, {"type": "null"}]}
            ),
            "field lines[].quantity changed from",
        ),
        (lambda order, _: order.update(lines={"type": "string"}), "field lines changed from"),
    ],
)
def test_a_removed_or_retyped_field_is_named(change: Change, fault: str) -> None:
    faults = schemas.breaks(RELEASED, _changed(change))
    assert any(text.startswith(f"order.placed.v1: {fault}") for text in faults), faults


def test_a_new_required_field_is_named() -> None:
    current = deepcopy(RELEASED)
    placed, line = _definitions(current)
    placed["properties"]["channel"] = {"type": "string"}
    placed["required"].append("channel")
    line["properties"]["discount"] = {"type": "integer"}
    line["required"].append("discount")
    assert schemas.breaks(RELEASED, current) == [
        "order.placed.v1: new field lines[].discount is required; give it a default",
        "order.placed.v1: new field channel is required; give it a default",
    ]


def test_a_field_that_became_required_or_optional_is_named() -> None:
    loose = deepcopy(RELEASED)
    _definitions(loose)[0]["required"].remove("email")
    became_optional = schemas.breaks(RELEASED, loose)
    became_required = schemas.breaks(loose, RELEASED)
    assert became_optional == [
        "order.placed.v1: field email is no longer always there; its readers count on it"
    ]
    assert became_required == [
        "order.placed.v1: field email became required; messages without it are on their way"
    ]


def test_a_removed_message_is_named() -> None:
    current = {name: schema for name, schema in RELEASED.items() if name != "stock.low.v1"}
    assert schemas.breaks(RELEASED, current) == [
        "stock.low.v1 was removed: publish a new version beside it instead"
    ]


def test_a_new_optional_field_and_a_new_message_are_welcome() -> None:
    current = deepcopy(RELEASED)
    placed, line = _definitions(current)
    placed["properties"]["channel"] = {"type": "string", "default": "web"}
    line["properties"]["discount"] = {"type": "integer", "default": 0}
    # A new list, optional as a whole, may ask what it likes of its own items.
    placed["properties"]["gifts"] = {
        "default": [],
        "type": "array",
        "items": {"type": "object", "properties": {"to": {"type": "string"}}, "required": ["to"]},
    }
    placed["description"] = "Said better."
    current["order.shipped.v1"] = deepcopy(RELEASED["order.placed.v1"])
    assert schemas.breaks(RELEASED, current) == []


def test_a_schema_is_generated_the_same_in_every_process() -> None:
    program = (
        "from tools import schemas; import json, sys; json.dump(schemas.generate(), sys.stdout)"
    )
    command = [sys.executable, "-c", program]
    root = schemas.SCHEMAS.parents[1]
    first, second = (
        subprocess.run(
            command, cwd=root, env={"PYTHONHASHSEED": seed}, capture_output=True, check=True
        ).stdout
        for seed in ("1", "2")
    )
    assert first == second


def _changed(change: Change) -> dict[str, Any]:
    current = deepcopy(RELEASED)
    placed, line = _definitions(current)
    change(placed["properties"], line["properties"])
    return current


def _definitions(current: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    definitions = current["order.placed.v1"]["$defs"]
    return definitions["OrderPlaced"], definitions["OrderLine"]
