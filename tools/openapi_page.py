"""The OpenAPI document as one static page: no script, no font, no picture, nothing to fetch."""

import json
from collections.abc import Iterator, Mapping
from html import escape
from typing import Any

Node = Mapping[str, Any]

_STYLE = """
:root{color-scheme:light dark;--line:#8884;--soft:#8882}
body{font:16px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem}
h2{border-top:1px solid var(--line);padding-top:1.5rem;margin-top:2rem}
code,pre{font-family:ui-monospace,monospace;font-size:.88em}
pre{background:var(--soft);padding:.8rem;overflow-x:auto;border-radius:4px}
table{border-collapse:collapse;width:100%;margin:.5rem 0}
tr{border-bottom:1px solid var(--line)}
td{padding:.3rem .6rem .3rem 0;vertical-align:top}
@media(max-width:40rem){tr{display:block;padding:.3rem 0}td{display:block;padding:0}}
summary{cursor:pointer}
li b{display:inline-block;min-width:3.2em}
"""


def render(document: Node) -> str:
    """Return the page."""
    info = document["info"]
    return "\n".join(
        [
            "<!doctype html>",
            '<html lang="en"><head><meta charset="utf-8">',
            '<meta name="viewport" content="width=device-width,initial-scale=1">',
            f"<title>{escape(info['title'])} API</title>",
            # Without it a browser asks for /favicon.ico.
            '<link rel="icon" href="data:,">',
            f"<style>{_STYLE}</style></head><body>",
            f"<h1>{escape(info['title'])} API</h1>",
            f"<p>{_prose(info['description'])}</p>",
            '<p>The same for machines: <a href="openapi.json">openapi.json</a>, OpenAPI 3.1.</p>',
            "<ul>",
            *(
                f'<li><code><b>{method.upper()}</b> <a href="#{call["operationId"]}">'
                f"{escape(path)}</a></code> {_prose(call['summary'])}</li>"
                for path, method, call in _calls(document)
            ),
            "</ul>",
            *(
                part
                for path, method, call in _calls(document)
                for part in _operation(path, method, call)
            ),
            '<h2 id="anywhere">What any call may answer</h2><table>',
            *(
                row
                for name, answer in document["components"]["responses"].items()
                for row in _answer(name, answer)
            ),
            "</table><h2>Schemas</h2>",
            *(
                part
                for name, schema in sorted(document["components"]["schemas"].items())
                for part in _schema(name, schema)
            ),
            "</body></html>",
            "",
        ]
    )


def _calls(document: Node) -> Iterator[tuple[str, str, Node]]:
    for path, item in document["paths"].items():
        for method, call in item.items():
            yield path, method, call


def _operation(path: str, method: str, call: Node) -> Iterator[str]:
    yield f'<h2 id="{call["operationId"]}"><code>{method.upper()} {escape(path)}</code></h2>'
    yield f"<p>{_prose(call['summary'])}. {_prose(call.get('description', ''))}</p>"
    if call["parameters"]:
        yield "<h3>Parameters</h3><table>"
        for parameter in call["parameters"]:
            needed = "required" if parameter["required"] else "optional"
            yield _row(
                f"<code>{escape(parameter['name'])}</code>",
                f"{parameter['in']}, {needed}",
                _type(parameter["schema"]),
                _prose(parameter.get("description", "")),
            )
        yield "</table>"
    if "requestBody" in call:
        for media, content in call["requestBody"]["content"].items():
            yield f"<h3>Body</h3><p>{escape(media)}: {_type(content['schema'])}</p>"
            yield _example(content)
    yield "<h3>Answers</h3><table>"
    own = {status: each for status, each in call["responses"].items() if "$ref" not in each}
    for status, answer in own.items():
        yield from _answer(status, answer)
    others = ", ".join(
        f"<code>{status}</code> {each['$ref'].rsplit('/', 1)[1]}"
        for status, each in call["responses"].items()
        if status not in own
    )
    yield f'</table><p>And <a href="#anywhere">as any call</a>: {others}.</p>'
    for status, answer in own.items():
        for content in answer["content"].values():
            if "example" in content:
                summary = f"<summary>Example of {status}</summary>"
                yield f"<details>{summary}{_example(content)}</details>"


def _answer(name: str, answer: Node) -> Iterator[str]:
    for media, content in answer["content"].items():
        yield _row(
            f"<code>{name}</code>",
            _prose(answer["description"]),
            _type(content["schema"]),
            f"<code>{escape(media)}</code>",
        )


def _example(content: Node) -> str:
    shown = json.dumps(content["example"], indent=2, ensure_ascii=False)
    return f"<pre>{escape(shown, quote=False)}</pre>"


def _schema(name: str, schema: Node) -> Iterator[str]:
    yield f'<h3 id="schema-{name}">{name}</h3>'
    yield f"<p>{_prose(schema.get('description', ''))}</p>"
    if "properties" not in schema:
        yield f"<p>{_type(schema)}</p>"
        return
    yield "<table>"
    for field, child in schema["properties"].items():
        needed = "" if field in schema.get("required", []) else "optional"
        yield _row(
            f"<code>{escape(field)}</code>",
            _type(child),
            needed,
            _prose(child.get("description", "")),
        )
    yield "</table>"


def _row(*cells: str) -> str:
    return "<tr>" + "".join(f"<td>{cell}</td>" for cell in cells) + "</tr>"


def _type(node: Node) -> str:
    """Say in one line what a value may be."""
    if "$ref" in node:
        name = node["$ref"].rsplit("/", 1)[1]
        return f'<a href="#schema-{name}">{name}</a>'
    if "anyOf" in node:
        return " or ".join(_type(option) for option in node["anyOf"])
    if "enum" in node:
        return " | ".join(f"<code>{escape(json.dumps(value))}</code>" for value in node["enum"])
    said = [escape(node.get("format", node.get("type", "anything")))]
    if "items" in node:
        said = [f"list of {_type(node['items'])}"]
    if "pattern" in node:
        said.append(f"<code>{escape(node['pattern'])}</code>")
    bounds = {
        "minimum": "from",
        "maximum": "to",
        "minItems": "at least",
        "maxItems": "at most",
        "minLength": "at least",
        "maxLength": "at most",
    }
    said += [f"{word} {node[key]}" for key, word in bounds.items() if key in node]
    if "default" in node:
        said.append(f"default <code>{escape(json.dumps(node['default']))}</code>")
    return ", ".join(said)


def _prose(text: str) -> str:
    """Return text with `code` marked up."""
    parts = escape(text, quote=False).split("`")
    return "".join(
        f"<code>{part}</code>" if position % 2 else part for position, part in enumerate(parts)
    )
