"""JSON Schemas of all that is published, generated from the contracts.

    .venv/bin/python tools/schemas.py            write shared/schemas/*.json
    .venv/bin/python tools/schemas.py release    and keep them as what the last release published

`tests/contracts` compares the three: models, committed schemas, and those of the last release.
"""

import json
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from shared.contracts import inventory, orders
from shared.envelope import Envelope

SCHEMAS = Path(__file__).parents[1] / "shared/schemas"
RELEASED = SCHEMAS / "released"

PUBLISHED: tuple[Any, ...] = (*orders.FACTS, *orders.COMMANDS, *inventory.FACTS)

Schema = dict[str, Any]


def generate() -> dict[str, Schema]:
    """Return every schema by its name: the message type, or `envelope`."""
    contracts = {"envelope": Envelope, **{contract.TYPE: contract for contract in PUBLISHED}}
    return {
        name: {
            "$schema": "https://json-schema.org/draft/2020-12/schema",
            **msgspec.json.schema(contract),
        }
        for name, contract in sorted(contracts.items())
    }


def load(folder: Path) -> dict[str, Schema]:
    """Return the schemas in `folder` by name."""
    return {path.stem: json.loads(path.read_text()) for path in sorted(folder.glob("*.json"))}


def dump(schemas: Mapping[str, Schema], folder: Path) -> None:
    """Write the schemas into `folder`; what is there and has no schema any more goes."""
    folder.mkdir(parents=True, exist_ok=True)
    for path in folder.glob("*.json"):
        if path.stem not in schemas:
            path.unlink()
    for name, schema in schemas.items():
        (folder / f"{name}.json").write_text(json.dumps(schema, indent=2) + "\n")


def breaks(released: Mapping[str, Schema], current: Mapping[str, Schema]) -> list[str]:
    """Say what in `current` a reader or a writer of `released` would stumble over.

    A message of the last release may still lie in a queue when the new code reads it, and the
    other way round: so nothing may go, change its type, or become required. A new field with a
    default is welcome, and so is a new message type.
    """
    found = []
    for name in sorted(released):
        if name not in current:
            found.append(f"{name} was removed: publish a new version beside it instead")
            continue
        found += [f"{name}: {fault}" for fault in _field_breaks(released[name], current[name])]
    return found


@dataclass(frozen=True)
class _Field:
    kind: str  # canonical JSON of what the field may hold, without its own fields
    required: bool


def _field_breaks(released: Schema, current: Schema) -> Iterator[str]:
    old, new = dict(_fields(released)), dict(_fields(current))
    for path, field in old.items():
        if path not in new:
            yield f"field {path} was removed; add a new version of the message instead"
        elif new[path].kind != field.kind:
            yield f"field {path} changed from {field.kind} to {new[path].kind}"
        elif new[path].required and not field.required:
            yield f"field {path} became required; messages without it are on their way"
        elif field.required and not new[path].required:
            yield f"field {path} is no longer always there; its readers count on it"
    for path, field in new.items():
        if path not in old and field.required and _parent(path) in {"", *old}:
            yield f"new field {path} is required; give it a default"


def _fields(schema: Schema) -> Iterator[tuple[str, _Field]]:
    """Yield every field by its path, such as `lines[].sku`."""
    definitions: Mapping[str, Schema] = schema.get("$defs", {})

    def resolve(node: Schema) -> Schema:
        reference = node.get("$ref")
        return definitions[reference.rsplit("/", 1)[1]] if reference else node

    def walk(node: Schema, path: str) -> Iterator[tuple[str, _Field]]:
        for name, child in node.get("properties", {}).items():
            inner = f"{path}.{name}".lstrip(".")
            target = resolve(child)
            yield inner, _Field(_kind(target), name in node.get("required", []))
            yield from walk(target, inner)
        for option in node.get("anyOf", []):
            yield from walk(resolve(option), path)
        if isinstance(node.get("items"), dict):
            item = resolve(node["items"])
            yield f"{path}[]", _Field(_kind(item), required=False)
            yield from walk(item, f"{path}[]")

    yield from walk(resolve(schema), "")


def _kind(node: Schema) -> str:
    told = {"title", "description", "default", "properties", "required", "items", "examples"}
    return json.dumps({key: value for key, value in node.items() if key not in told})


def _parent(path: str) -> str:
    """Return the field that `path` belongs to; a required field of a new one asks nobody."""
    return path.rpartition(".")[0]


def main(arguments: list[str]) -> None:
    """Write the schemas; with `release`, refuse to release what breaks the last one."""
    schemas = generate()
    dump(schemas, SCHEMAS)
    if arguments == ["release"]:
        faults = breaks(load(RELEASED), schemas)
        if faults:
            sys.exit("\n".join(faults))
        dump(schemas, RELEASED)
    elif arguments:
        sys.exit(__doc__)


if __name__ == "__main__":
    main(sys.argv[1:])
