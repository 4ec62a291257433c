"""The OpenAPI description, made from the operations and their messages, and the same as a page to read."""

from collections.abc import Sequence
from html import escape
from importlib.metadata import version
from types import NoneType
from typing import Any, cast

import msgspec

from nearnext.data.ids import NO_ID
from nearnext.serving.answers import Health
from nearnext.serving.operations import Answer, Operation
from nearnext.serving.problems import Problem
from nearnext.serving.requests import ID_SCHEMA

Schema = dict[str, Any]

REF = "#/components/schemas/{name}"

ID_RULE = (
    "As in logs, blanks around an id are dropped, and 12.0 is 12. Missing-value markers are "
    f"refused with 422: blanks, {', '.join(sorted(NO_ID)[1:])}."
)

PAGE = """<!doctype html><html lang="en"><meta charset="utf-8"><title>nearnext: the HTTP API</title>
<meta name="viewport" content="width=device-width, initial-scale=1"><meta name="color-scheme" content="light dark">
<link rel="icon" href="data:,"><style>{style}</style>
<body><main><h1>nearnext {version}</h1><p>{summary} The same for programs: <a href="openapi.json">openapi.json</a>.</p>
{parts}</main></body></html>"""

STYLE = """body{background:#fff;color:#1f2933;font:16px/1.5 system-ui,sans-serif;overflow-wrap:anywhere;margin:0}
main{max-width:56rem;margin:auto;padding:1rem}a{color:#0b5394}dd{margin-left:1rem}dt{font-weight:600}
h2{border-top:1px solid #8886;padding-top:1rem}dl{margin:0}
@media(prefers-color-scheme:dark){body{background:#14181f;color:#e6e9ee}a{color:#8ab8f5}}"""


def description(operations: Sequence[Operation], max_k: int) -> Schema:
    """The OpenAPI document."""
    used = {one for operation in operations for one in (*operation.answers, operation.body, operation.query)}
    types = sorted(filter(_is_message, used | {Problem}), key=lambda one: one.__name__)
    _, components = msgspec.json.schema_components(types, ref_template=REF)
    for one in types:
        if lists := getattr(one, "ONE_OF", ()):
            alternatives = [{"required": [name], "properties": {name: {"type": "array"}}} for name in lists]
            components[one.__name__]["oneOf"] = alternatives
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
    text = operation.answers == (Answer,) and operation.content != "application/json"
    refs = [_ref(answer) for answer in operation.answers if _is_message(answer)]
    schema = {"anyOf": refs} if len(refs) > 1 else (*refs, {"type": "string" if text else "object"})[0]
    answer: Schema = {"description": "The answer.", "content": {operation.content: {"schema": schema}}}
    refused: Schema = {"application/problem+json": {"schema": _ref(Problem)}}
    responses: Schema = {"204": {"description": "Done."}} if operation.answers == (NoneType,) else {"200": answer}
    if Health in operation.answers:
        responses["503"] = answer | {"description": "Not now."}
    responses["default"] = {"description": "Why the request was refused.", "content": refused}
    found: Schema = {"operationId": operation.name, "summary": operation.summary, "responses": responses}
    if operation.query:
        fields: Schema = components[operation.query.__name__]["properties"]
        found["parameters"] = [{"name": name, "in": "query", "schema": one} for name, one in fields.items()]
    if operation.body:
        found["requestBody"] = {"required": True, "content": {"application/json": {"schema": _ref(operation.body)}}}
    if not operation.public:
        found["security"] = [{}, {"bearer": []}, {"key": []}]
    return found


def _is_message(one: Any) -> bool:
    return isinstance(one, type) and issubclass(one, msgspec.Struct)


def _ref(message: type) -> Schema:
    return {"$ref": REF.format(name=message.__name__)}


def _path_parameters(path: str) -> Schema:
    names = [part[1:-1] for part in path.split("/") if part.startswith("{")]
    fixed = {"in": "path", "required": True, "schema": {"type": "string", **ID_SCHEMA}}
    found = [{"name": name, "description": f"Id of the {name}. {ID_RULE}", **fixed} for name in names]
    return {"parameters": found} if found else {}


def _limit(schema: Schema, max_k: int) -> None:
    """Write the highest k into the schema of k, which may also be null."""
    for part in [schema, *schema.get("anyOf", [])]:
        if part.get("type") == "integer":
            part["maximum"] = max_k
            if "default" in part:
                part["default"] = min(part["default"], max_k)


def described_page(document: Schema) -> bytes:
    """The description as HTML that needs nothing else."""
    parts: dict[str, Schema] = {
        f"{method.upper()} {path}": {name: one for name, one in operation.items() if name != "operationId"}
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
        if method != "parameters"
    }
    parts |= document["components"]["schemas"]
    shown = [f'<h2 id="{escape(name)}">{escape(name)}</h2>{_shown(part)}' for name, part in parts.items()]
    info = document["info"]
    return PAGE.format(style=STYLE, version=info["version"], summary=info["summary"], parts="\n".join(shown)).encode()


def _shown(value: object) -> str:
    """Render a part of the description as nested HTML lists."""
    if isinstance(value, dict):
        entries = cast("Schema", value)
        if ref := entries.get("$ref"):
            name = escape(ref.rpartition("/")[2])
            return f'<a href="#{name}">{name}</a>'
        return f"<dl>{''.join(f'<dt>{escape(name)}<dd>{_shown(one)}' for name, one in entries.items())}</dl>"
    if isinstance(value, list):
        return ", ".join(map(_shown, cast("list[object]", value)))
    return escape(str(value))
