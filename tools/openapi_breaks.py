"""What a new OpenAPI document would break for the clients of a released one.

A request that was good must stay good, and an answer must hold all that it promised and nothing
that its reader was told not to expect. So a schema of a request may only grow wider, and one of an
answer only narrower; and nothing that was there may go. A keyword that is not understood is an
error: it must not pass unseen.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

Node = Mapping[str, Any]

_METHODS = ("get", "put", "post", "delete", "patch", "head", "options", "trace")
_AT_LEAST = ("minimum", "exclusiveMinimum", "minLength", "minItems")
_AT_MOST = ("maximum", "exclusiveMaximum", "maxLength", "maxItems")
_EQUAL = ("pattern", "format", "multipleOf", "uniqueItems")
_TOLD = {"title", "description", "default", "example", "examples", "deprecated"}
_UNDERSTOOD = {
    *_AT_LEAST,
    *_AT_MOST,
    *_EQUAL,
    *_TOLD,
    "type",
    "enum",
    "const",
    "properties",
    "required",
    "items",
    "anyOf",
    "$ref",
}


def breaks(released: Node, current: Node) -> list[str]:
    """Say what a client of `released` would stumble over in `current`."""
    return [*_Comparison(released, current).run()]


@dataclass(frozen=True)
class _Comparison:
    released: Node
    current: Node

    def run(self) -> Iterator[str]:
        for path, item in self.released["paths"].items():
            for method in _METHODS:
                if method not in item:
                    continue
                name = f"{method.upper()} {path}"
                new = self.current["paths"].get(path, {}).get(method)
                if new is None:
                    yield f"{name} was removed"
                else:
                    yield from self._operation(name, item[method], new)

    def _operation(self, name: str, old: Node, new: Node) -> Iterator[str]:
        yield from self._parameters(name, _parameters(old), _parameters(new))
        yield from self._body(f"{name} body", old.get("requestBody"), new.get("requestBody"))
        for status, answer in old["responses"].items():
            where = f"{name} {status}"
            if status not in new["responses"]:
                yield f"{where}: the answer was removed"
            else:
                yield from self._answer(
                    where,
                    _followed(self.released, answer),
                    _followed(self.current, new["responses"][status]),
                )

    def _parameters(
        self, name: str, old: Mapping[str, Node], new: Mapping[str, Node]
    ) -> Iterator[str]:
        for key, parameter in old.items():
            if key not in new:
                yield f"{name}: {key} was removed"
                continue
            if new[key].get("required") and not parameter.get("required"):
                yield f"{name}: {key} became required"
            yield from self._accepted(f"{name}: {key}", parameter["schema"], new[key]["schema"])
        for key, parameter in new.items():
            if key not in old and parameter.get("required"):
                yield f"{name}: new {key} is required"

    def _body(self, where: str, old: Node | None, new: Node | None) -> Iterator[str]:
        if old is None:
            if new and new.get("required"):
                yield f"{where}: is required now"
            return
        if new is None:
            yield f"{where}: was removed"
            return
        if new.get("required") and not old.get("required"):
            yield f"{where}: became required"
        for media, content in old["content"].items():
            if media not in new["content"]:
                yield f"{where}: {media} is not taken any more"
            else:
                yield from self._accepted(where, content["schema"], new["content"][media]["schema"])

    def _answer(self, where: str, old: Node, new: Node) -> Iterator[str]:
        for media, content in old.get("content", {}).items():
            if media not in new.get("content", {}):
                yield f"{where}: {media} was removed"
            else:
                yield from self._told(where, content["schema"], new["content"][media]["schema"])
        for header, promise in old.get("headers", {}).items():
            found = new.get("headers", {}).get(header)
            if found is None:
                yield f"{where}: header {header} was removed"
                continue
            if promise.get("required") and not found.get("required"):
                yield f"{where}: header {header} is no longer always there"
            yield from self._told(f"{where}: header {header}", promise["schema"], found["schema"])

    def _accepted(self, where: str, old: Node, new: Node) -> Iterator[str]:
        """Compare what a client may send: all that was good must be good."""
        was, now = _Schemas(self.released), _Schemas(self.current)
        yield from _removed(where, (was, old), (now, new))
        yield from _covers(where, wide=(now, new), narrow=(was, old), request=True)

    def _told(self, where: str, old: Node, new: Node) -> Iterator[str]:
        """Compare what a client is told: nothing may come that could not come before."""
        was, now = _Schemas(self.released), _Schemas(self.current)
        yield from _removed(where, (was, old), (now, new))
        yield from _covers(where, wide=(was, old), narrow=(now, new), request=False)


def _followed(document: Node, node: Node) -> Node:
    """Return what a node stands for: itself, or what its reference leads to."""
    while "$ref" in node:
        kind, name = node["$ref"].removeprefix("#/components/").split("/")
        node = document["components"][kind][name]
    return node


def _parameters(operation: Node) -> dict[str, Node]:
    return {
        f"{parameter['in']} parameter {parameter['name']}": parameter
        for parameter in operation.get("parameters", [])
    }


@dataclass(frozen=True)
class _Schemas:
    document: Node

    def options(self, node: Node) -> list[Node]:
        """Return the schemas of which a value must meet one, references followed."""
        node = _followed(self.document, node)
        unknown = node.keys() - _UNDERSTOOD
        if unknown:
            raise ValueError(f"the comparison does not understand {sorted(unknown)}")
        if "anyOf" not in node:
            return [node]
        return [option for each in node["anyOf"] for option in self.options(each)]


_Side = tuple[_Schemas, Node]


def _removed(where: str, old: _Side, new: _Side) -> Iterator[str]:
    """Name every field that was there and is not any more, however deep."""
    before, after = _fields(*old), _fields(*new)
    for name, schemas in before.items():
        if name not in after:
            yield f"{where}: field {name} was removed"
        else:
            yield from _removed(f"{where}.{name}", schemas, after[name])
    items, now = _items(*old), _items(*new)
    if items and now:
        yield from _removed(f"{where}[]", items, now)


def _fields(schemas: _Schemas, node: Node) -> dict[str, _Side]:
    return {
        name: (schemas, child)
        for option in schemas.options(node)
        for name, child in option.get("properties", {}).items()
    }


def _items(schemas: _Schemas, node: Node) -> _Side | None:
    found = [option["items"] for option in schemas.options(node) if "items" in option]
    return (schemas, found[0]) if found else None


def _covers(where: str, *, wide: _Side, narrow: _Side, request: bool) -> Iterator[str]:
    """Say what `narrow` lets through and `wide` does not."""
    choices, options = wide[0].options(wide[1]), narrow[0].options(narrow[1])
    for option in options:
        tries = [
            [*_one(where, (wide[0], choice), (narrow[0], option), request=request)]
            for choice in choices
        ]
        if all(tries):
            # Speak of the likeliest match: the one of the same type, and least at fault.
            alike = [
                faults
                for faults, choice in zip(tries, choices, strict=True)
                if _types(option) & _types(choice)
            ]
            if alike or len(choices) == len(options) == 1:
                yield from min(alike or tries, key=len)
            else:
                kinds = " or ".join(sorted(_types(option)))
                yield f"{where}: {kinds} " + ("is refused now" if request else "may come now")


def _types(node: Node) -> frozenset[str]:
    if "type" in node:
        kinds = node["type"]
        return frozenset([kinds] if isinstance(kinds, str) else kinds)
    values = _values(node)
    if values is None:
        return frozenset({"anything"})
    return frozenset(_type_of(value) for value in values)


def _type_of(value: Any) -> str:
    kinds = {bool: "boolean", int: "integer", float: "number", str: "string", type(None): "null"}
    return kinds.get(type(value), "object")


def _values(node: Node) -> list[Any] | None:
    return [node["const"]] if "const" in node else node.get("enum")


def _one(where: str, wide: _Side, narrow: _Side, *, request: bool) -> Iterator[str]:
    """Compare two schemas that hold no alternatives of their own."""
    schema, other = wide[1], narrow[1]
    old, new = (other, schema) if request else (schema, other)

    def changed(word: str) -> str:
        return f"{where}: {word} {_shown(old.get(word))} became {_shown(new.get(word))}"

    missing = _types(other) - _types(schema)
    if missing - ({"integer"} if "number" in _types(schema) else set()) and _types(schema) != {
        "anything"
    }:
        yield f"{where}: type {_kinds(old)} became {_kinds(new)}"
        return
    allowed, possible = _values(schema), _values(other)
    if allowed is not None and (possible is None or any(each not in allowed for each in possible)):
        yield changed("enum")
    for word in _AT_LEAST:
        if word in schema and other.get(word, float("-inf")) < schema[word]:
            yield changed(word)
    for word in _AT_MOST:
        if word in schema and other.get(word, float("inf")) > schema[word]:
            yield changed(word)
    for word in _EQUAL:
        if word in schema and possible is None and other.get(word) != schema[word]:
            yield changed(word)
    yield from _members(where, wide, narrow, request=request)


def _members(where: str, wide: _Side, narrow: _Side, *, request: bool) -> Iterator[str]:
    schema, other = wide[1], narrow[1]
    for name in schema.get("required", []):
        if name not in other.get("required", []):
            if not request:
                yield f"{where}: field {name} is no longer always there"
            elif name in other.get("properties", {}):
                yield f"{where}: field {name} became required"
            else:
                yield f"{where}: new field {name} is required"
    for name, child in schema.get("properties", {}).items():
        if name in other.get("properties", {}):
            yield from _covers(
                f"{where}.{name}",
                wide=(wide[0], child),
                narrow=(narrow[0], other["properties"][name]),
                request=request,
            )
    if "items" in schema:
        yield from _covers(
            f"{where}[]",
            wide=(wide[0], schema["items"]),
            narrow=(narrow[0], other.get("items", {})),
            request=request,
        )


def _kinds(node: Node) -> str:
    return " or ".join(sorted(_types(node)))


def _shown(value: Any) -> str:
    return "nothing" if value is None else json.dumps(value)
