"""The documentation page: the OpenAPI document for a person, one self-contained file without a script."""

from __future__ import annotations

from functools import cache
from html import escape
from typing import Any

from api.document import DOCUMENT

_STYLE = """
body{font:16px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem;color:#1b1f24}
code{background:#f2f4f6;padding:.1em .3em;border-radius:3px}table{border-collapse:collapse;width:100%;margin:.5rem 0 1rem}
th,td{text-align:left;vertical-align:top;padding:.3rem .6rem;border-bottom:1px solid #d9dee3}section{margin:2.5rem 0}
h2 span{display:inline-block;min-width:5rem;color:#0b5cad}
"""


@cache
def docs_page() -> bytes:
    """Return the page."""
    info = DOCUMENT["info"]
    calls = "".join(
        _call(path, method, operation) for path, item in DOCUMENT["paths"].items() for method, operation in item.items()
    )
    shapes = "".join(_shape(name, schema) for name, schema in DOCUMENT["components"]["schemas"].items())
    return (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">'
        f"<title>{escape(info['title'])}</title><style>{_STYLE}</style><h1>{escape(info['title'])}</h1>"
        f"<p>{escape(info['description'])} Every call but this page and <code>/openapi.json</code> needs "
        f"<code>Authorization: Bearer &lt;secret key&gt;</code>.</p>{calls}<h1>Shapes</h1>{shapes}</html>"
    ).encode()


def _call(path: str, method: str, operation: dict[str, Any]) -> str:
    takes = [(p["name"], p["in"], _type(p["schema"]), p.get("description", "")) for p in operation.get("parameters", [])]
    if "requestBody" in operation:
        schema = operation["requestBody"]["content"]["application/json"]["schema"]
        takes += _fields(schema)
    answers = [(status, answer["description"]) for status, answer in operation["responses"].items()]
    return (
        f"<section><h2><span>{method.upper()}</span> <code>{escape(path)}</code></h2><p>{escape(operation['summary'])}.</p>"
        f"{_table(('takes', 'in', 'type', ''), takes)}{_table(('status', 'answers'), answers)}</section>"
    )


def _shape(name: str, schema: dict[str, Any]) -> str:
    rows = [(field, kind, told) for field, _, kind, told in _fields(schema)]
    return f'<section id="{name}"><h2>{name}</h2>{_table(("field", "type", ""), rows)}</section>'


def _fields(schema: dict[str, Any]) -> list[tuple[str, str, str, str]]:
    needed = schema.get("required", [])
    return [
        (f"{name}{' *' if name in needed else ''}", "body", _type(field), field.get("description", ""))
        for name, field in schema["properties"].items()
    ]


def _type(schema: dict[str, Any]) -> str:
    if "$ref" in schema:
        return str(schema["$ref"]).rpartition("/")[2]
    if "anyOf" in schema:
        return " or ".join(map(_type, schema["anyOf"]))
    kind = schema.get("type", "")
    words = " or ".join(kind) if isinstance(kind, list) else str(kind)
    if "items" in schema:
        words += f" of {_type(schema['items'])}"
    bounds = [
        f"{word} {schema[key]}" for key, word in (("minimum", "from"), ("maximum", "to"), ("default", "default")) if key in schema
    ]
    return ", ".join([words, *([schema["format"]] if "format" in schema else []), *bounds])


def _table(head: tuple[str, ...], rows: list[Any]) -> str:
    top = "".join(f"<th>{escape(cell)}</th>" for cell in head)
    body = "".join("<tr>" + "".join(f"<td>{escape(str(cell))}</td>" for cell in row) + "</tr>" for row in rows)
    return f"<table><tr>{top}</tr>{body}</table>"
