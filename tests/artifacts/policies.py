"""Reads packaged templates for what they let anybody do."""

import json
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.artifacts.packages import Package

REASONS = tomllib.loads(Path(__file__).with_name("reasons.toml").read_text())
"""Why a rule does not hold somewhere: `asterisk` is for our own rule, `checkov` for checkov's."""


@dataclass(frozen=True)
class Statement:
    """One statement of a policy: of a role, a key, a queue, a bucket or a topic."""

    owner: str  # the resource that it stands in
    kind: str  # that resource's type
    effect: str
    actions: tuple[str, ...]
    resources: tuple[str, ...]  # intrinsic functions as JSON


def statements(packed: Package) -> Iterator[Statement]:
    """Yield every statement in the template, wherever a policy may stand."""
    for owner, resource in packed.template["Resources"].items():
        for document in _documents(resource):
            for statement in _list(document["Statement"]):
                yield Statement(
                    owner,
                    resource["Type"],
                    statement["Effect"],
                    tuple(_list(statement.get("Action", statement.get("NotAction", "*")))),
                    tuple(_text(each) for each in _list(statement.get("Resource", []))),
                )


def _documents(value: Any, key: str = "") -> Iterator[dict[str, Any]]:
    if isinstance(value, dict):
        # Who may take a role on names no resource.
        if "Statement" in value and key != "AssumeRolePolicyDocument":
            yield value
        else:
            for name, child in value.items():
                yield from _documents(child, name)
    elif isinstance(value, list):
        for child in value:
            yield from _documents(child, key)


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)
