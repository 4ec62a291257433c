"""The OpenAPI description, made from the operations and their messages, and the same as a page to read."""

from collections.abc import Iterable, Sequence
from html import escape
from importlib.metadata import version
from types import NoneType
from typing import Any

import msgspec

from nearnext.data.ids import NO_ID
from nearnext.serving import messages
from nearnext.serving.operations import Answer, Operation

Schema = dict[str, Any]

REF = "#/components/schemas/{name}"

MEANINGS = {
    400: "The request cannot be read.",
    401: "No key, or a wrong one.",
    403: "Asked by a web page from elsewhere.",
    404: "There is no such thing here.",
    408: "The request took too long to come in.",
    413: "The body is too long.",
    417: "An Expect header that is not known.",
    421: "A host name that is not served here.",
    422: "A value is missing, unknown or out of range.",
    431: "The headers, or the address, are too long.",
    503: "It cannot be done now; try again later.",
}
ANYWHERE = (400, 403, 408, 417, 421, 431)
"""Problems of a request as such, whatever it asks."""

PATH_IDS = {
    "session": "Id of a session. Blanks around it are no part of it, and 12.0 is 12, as in a log; an id that a log has "
    f"where there is none is refused with 422: blanks, {', '.join(sorted(NO_ID)[1:])}.",
    "item": "Id of an item.",
}

PAGE = """<!doctype html><html lang="en"><meta charset="utf-8"><title>nearnext: the HTTP API</title>
<meta name="viewport" content="width=device-width, initial-scale=1"><meta name="color-scheme" content="light dark">
<body><h1>nearnext {version}</h1><p>{summary} The same for programs: <a href="openapi.json">openapi.json</a>.</p>
{parts}</body></html>"""


def description(operations: Sequence[Operation], max_k: int) -> Schema:
    """The OpenAPI document."""
    used = {one for operation in operations for one in (operation.answer, operation.body, operation.query)}
    used |= {messages.Problem}
    types = sorted((one for one in used if _is_message(one)), key=lambda one: one.__name__)
    _, components = msgspec.json.schema_components(types, ref_template=REF)
    for schema in components.values():
        if k := schema.get("properties", {}).get("k"):
            _limit(k, max_k)
    paths: dict[str, Schema] = {}
    for operation in operations:
        path = paths.setdefault(operation.path, _path_parameters(operation.path))
        path[operation.method.lower()] = _operation(operation, components)
    parameters = {operation.query.__name__ for operation in operations if operation.query}
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "nearnext",
            "version": version("nearnext"),
            "summary": "Next items for the sessions of a shop.",
        },
        "paths": paths,
        "components": {
            "schemas": {name: schema for name, schema in components.items() if name not in parameters},
            "securitySchemes": {
                "bearer": {"type": "http", "scheme": "bearer"},
                "key": {"type": "apiKey", "in": "header", "name": "X-API-Key"},
            },
        },
    }


def _operation(operation: Operation, components: Schema) -> Schema:
    found: Schema = {
        "operationId": operation.name,
        "summary": operation.summary,
        "responses": _responses(operation),
    }
    if operation.query:
        fields: Schema = components[operation.query.__name__]["properties"]
        found["parameters"] = [{"name": name, "in": "query", "schema": one} for name, one in fields.items()]
    if operation.body:
        found["requestBody"] = {"required": True, "content": {"application/json": {"schema": _ref(operation.body)}}}
    if not operation.public:
        found["security"] = [{}, {"bearer": []}, {"key": []}]
    return found


def _responses(operation: Operation) -> Schema:
    refused = {"application/problem+json": {"schema": _ref(messages.Problem)}}
    success: Schema = {operation.content: {"schema": _answer_schema(operation)}}
    if operation.answer is NoneType:
        found: Schema = {"204": {"description": "Done."}}
    else:
        found = {"200": {"description": "The answer.", "content": success}}
    for status in sorted({*operation.problems, *ANYWHERE, *(() if operation.public else (401,))}):
        found[str(status)] = {"description": MEANINGS[status], "content": refused}
    if operation.answer is messages.Health:
        found["503"] = {"description": MEANINGS[503], "content": success}
    return found


def _answer_schema(operation: Operation) -> Schema:
    if _is_message(operation.answer):
        return _ref(operation.answer)
    text = operation.answer is Answer and operation.content != "application/json"
    return {"type": "string" if text else "object"}


def _is_message(one: Any) -> bool:
    return isinstance(one, type) and issubclass(one, msgspec.Struct)


def _ref(message: type) -> Schema:
    return {"$ref": REF.format(name=message.__name__)}


def _path_parameters(path: str) -> Schema:
    names = [part[1:-1] for part in path.split("/") if part.startswith("{")]
    if not names:
        return {}
    schema = {"type": "string", "minLength": 1, "maxLength": messages.MAX_ID}
    fixed = {"in": "path", "required": True, "schema": schema}
    return {"parameters": [{"name": name, "description": PATH_IDS[name], **fixed} for name in names]}


def _limit(schema: Schema, max_k: int) -> None:
    """Write the highest k into the schema of k, which may also be null."""
    for part in [schema, *schema.get("anyOf", [])]:
        if part.get("type") == "integer":
            part["maximum"] = max_k
            if "default" in part:
                part["default"] = min(part["default"], max_k)


def described_page(document: Schema) -> bytes:
    """The description as HTML that needs nothing else."""
    parts = [
        _described(f"{method.upper()} {path}", operation)
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
        if method != "parameters"
    ]
    for name, schema in document["components"]["schemas"].items():
        note = f"<p>{escape(schema.get('description', ''))}</p>"
        rows = ((field, one) for field, one in schema.get("properties", {}).items())
        parts.append(f'<h2 id="{escape(name)}">{escape(name)}</h2>{note}{_table(rows)}')
    info = document["info"]
    return PAGE.format(version=info["version"], summary=info["summary"], parts="\n".join(parts)).encode()


def _described(title: str, operation: Schema) -> str:
    parts = [f"<h2>{escape(title)}</h2><p>{escape(operation['summary'])}</p>"]
    if parameters := operation.get("parameters"):
        parts.append(_table((one["name"], one["schema"]) for one in parameters))
    if body := operation.get("requestBody"):
        parts.append(f"<p>Body: {_type(body['content']['application/json']['schema'])}</p>")
    for status, answer in operation["responses"].items():
        types = [_type(one["schema"]) for one in answer.get("content", {}).values()]
        parts.append(f"<p>{status}: {escape(answer['description'])} {' '.join(types)}</p>")
    return "".join(parts)


def _table(rows: Iterable[tuple[str, Schema]]) -> str:
    cells = (
        f"<tr><td><code>{escape(name)}</code><td>{_type(schema)}<td>{escape(schema.get('description', ''))}"
        for name, schema in rows
    )
    return f"<table>{''.join(cells)}</table>"


def _type(schema: Schema) -> str:
    """The type of a value in words, with a link where it has a name."""
    if ref := schema.get("$ref"):
        name = escape(ref.rpartition("/")[2])
        return f'<a href="#{name}">{name}</a>'
    if options := schema.get("anyOf"):
        return " or ".join(_type(one) for one in options)
    if items := schema.get("items"):
        return f"list of {_type(items)}"
    limits = [
        f"{word} {schema[key]}" for key, word in (("minimum", "at least"), ("maximum", "at most")) if key in schema
    ]
    default = [f"default {schema['default']}"] if "default" in schema else []
    return escape(", ".join([str(schema.get("type", "any")), *limits, *default]))
