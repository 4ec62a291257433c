"""The OpenAPI description, made from the messages that requests are parsed by and answers are encoded from."""

from collections.abc import Mapping, Sequence
from importlib.metadata import version
from typing import Any, NamedTuple

import msgspec

from nearnext.serving import messages

__all__ = ["OPERATIONS", "Operation", "description"]

Schema = dict[str, Any]


class Operation(NamedTuple):
    """One method of one path.

    Attributes:
        method: of HTTP.
        path: with parameters in braces.
        endpoint: name of the method of `Endpoints` that serves it.
        summary: what it is for.
        answer: what a success answers with; None: nothing, status 204.
        body: what it takes.
        query: names of its query parameters.
        problems: statuses of its refusals, beside those that every operation has.
        open: whether it needs no key.
        content: type of a success that is no JSON.
    """

    method: str
    path: str
    endpoint: str
    summary: str
    answer: type | None = None
    body: type | None = None
    query: tuple[str, ...] = ()
    problems: tuple[int, ...] = ()
    open: bool = False
    content: str = "application/json"


LISTING = ("k", "exclude", "allow", "exclude_seen", "time")
BODY = (400, 413, 422)

OPERATIONS = (
    Operation(
        "POST",
        "/v1/sessions/{session}/events",
        "take_events",
        "Store clicks of a session; with k, recommend its next items in the same call.",
        messages.EventsAnswer,
        messages.EventsRequest,
        problems=(*BODY, 404),
    ),
    Operation(
        "POST",
        "/v1/recommend",
        "recommend",
        "Recommend the next items of a session that is given whole; nothing is stored.",
        messages.RecommendationAnswer,
        messages.RecommendRequest,
        problems=BODY,
    ),
    Operation(
        "GET",
        "/v1/sessions/{session}/recommendations",
        "session_recommendations",
        "Recommend the next items of a stored session; of an unknown one, the popular items.",
        messages.SessionAnswer,
        query=LISTING,
        problems=(400, 404, 422),
    ),
    Operation("DELETE", "/v1/sessions/{session}", "forget_session", "Forget a session.", problems=(400, 404, 503)),
    Operation(
        "GET",
        "/v1/items/{item}/similar",
        "similar",
        "Items similar to one that the model knows.",
        messages.SimilarAnswer,
        query=("k",),
        problems=(400, 404, 422),
    ),
    Operation(
        "PUT",
        "/v1/items/{item}",
        "put_item",
        "Add an item to the catalogue, or change it; it counts at once and outlasts a restart.",
        messages.CatalogueChange,
        messages.CatalogueEntry,
        problems=(*BODY, 404, 503),
    ),
    Operation(
        "DELETE",
        "/v1/items/{item}",
        "delete_item",
        "Take an item out of the catalogue; it is never recommended until it is put there again.",
        problems=(400, 404, 503),
    ),
    Operation(
        "POST",
        "/v1/explain",
        "explain",
        "Why an item is recommended to a session.",
        dict,
        messages.ExplainRequest,
        problems=(*BODY, 404),
    ),
    Operation("GET", "/v1/model", "model", "The model that answers.", messages.ModelAnswer),
    Operation("GET", "/v1/map", "item_map", "Where the items lie, in two dimensions.", dict, problems=(404,)),
    Operation(
        "POST",
        "/v1/map/session",
        "map_point",
        "Where a session lies on the map.",
        messages.MapPoint,
        messages.MapRequest,
        problems=(*BODY, 404),
    ),
    Operation(
        "GET",
        "/v1/items",
        "found_items",
        "Items by part of their ids; the most popular ones where nothing is asked for.",
        messages.ItemsAnswer,
        query=("query", "limit"),
        problems=(400, 422),
    ),
    Operation("GET", "/healthz", "health", "Whether the process works.", messages.Health, open=True),
    Operation(
        "GET", "/readyz", "ready", "Whether requests should be sent here.", messages.Health, problems=(503,), open=True
    ),
    Operation("GET", "/metrics", "metrics", "Figures for Prometheus.", str, content="text/plain"),
    Operation("GET", "/openapi.json", "openapi", "This description.", dict, open=True),
    Operation("GET", "/", "page", "The playground.", str, problems=(404,), open=True, content="text/html"),
)
"""All operations, the most frequent first: the order in which paths are tried."""

PARAMETERS: Mapping[str, Schema] = {
    "k": {"description": "How many items.", "schema": {"type": "integer", "minimum": 1, "default": 20}},
    "exclude": {
        "description": "Never recommend these; exclude=a&exclude=b names two, exclude=a,b one item 'a,b'.",
        "schema": {"type": "array"},
    },
    "allow": {"description": "Recommend only these.", "schema": {"type": "array"}},
    "exclude_seen": {
        "description": "Nothing that is in the session.",
        "schema": {"type": "boolean", "default": False},
    },
    "query": {"description": "Part of an id, in any case.", "schema": {"type": "string", "maxLength": 512}},
    "limit": {
        "description": "How many items at most.",
        "schema": {"type": "integer", "minimum": 1, "maximum": 1000, "default": 20},
    },
    "time": {
        "description": "When it is asked, seconds since 1970; by default the end of training.",
        "schema": {"type": "string", "pattern": r"^\d{1,10}(\.\d{1,9})?$"},
    },
}

MEANINGS = {
    400: "The request cannot be read.",
    401: "No key, or a wrong one.",
    404: "There is no such thing here.",
    408: "The request took too long to come in.",
    413: "The body is too long.",
    422: "A value is missing, unknown or out of range.",
    503: "It cannot be done now; try again later.",
}

ID: Schema = {"type": "string", "minLength": 1, "maxLength": messages.MAX_ID}


def description(max_k: int) -> Schema:
    """The OpenAPI document.

    Args:
        max_k: longest list that may be asked for.

    >>> sorted(description(100)["paths"]["/v1/sessions/{session}"])
    ['delete', 'parameters']
    """
    used = {one for operation in OPERATIONS for one in (operation.answer, operation.body) if one is not None}
    types = sorted((used - {dict, str}) | {messages.Problem}, key=lambda one: one.__name__)
    _, components = msgspec.json.schema_components(types, ref_template="#/components/schemas/{name}")
    for schema in components.values():
        k = schema.get("properties", {}).get("k")
        if k is not None:
            _limit(k, max_k)
    paths: dict[str, Schema] = {}
    for operation in OPERATIONS:
        path = paths.setdefault(operation.path, _path_parameters(operation.path))
        path[operation.method.lower()] = _operation(operation, max_k)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "nearnext",
            "version": version("nearnext"),
            "summary": "Next items for the sessions of a shop.",
        },
        "paths": paths,
        "components": {
            "schemas": components,
            "securitySchemes": {
                "bearer": {"type": "http", "scheme": "bearer"},
                "key": {"type": "apiKey", "in": "header", "name": "X-API-Key"},
            },
        },
    }


def _operation(operation: Operation, max_k: int) -> Schema:
    found: Schema = {
        "operationId": operation.endpoint,
        "summary": operation.summary,
        "responses": _responses(operation),
    }
    if operation.query:
        found["parameters"] = [_parameter(name, max_k) for name in operation.query]
    if operation.body is not None:
        schema = {"$ref": f"#/components/schemas/{operation.body.__name__}"}
        found["requestBody"] = {"required": True, "content": {"application/json": {"schema": schema}}}
    if not operation.open:
        found["security"] = [{}, {"bearer": []}, {"key": []}]
    return found


def _responses(operation: Operation) -> Schema:
    refused = {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}}
    found: Schema = {}
    if operation.answer is None:
        found["204"] = {"description": "Done."}
    else:
        schema = _answer_schema(operation.answer)
        found["200"] = {"description": "The answer.", "content": {operation.content: {"schema": schema}}}
    statuses: Sequence[int] = (*operation.problems, *(() if operation.open else (401,)), 408)
    for status in sorted(statuses):
        found[str(status)] = {"description": MEANINGS[status], "content": refused}
    if operation.endpoint == "ready":
        found["503"]["content"] = found["200"]["content"]
    return found


def _answer_schema(answer: type) -> Schema:
    if answer is dict:
        return {"type": "object"}
    if answer is str:
        return {"type": "string"}
    return {"$ref": f"#/components/schemas/{answer.__name__}"}


def _path_parameters(path: str) -> Schema:
    names = [part[1:-1] for part in path.split("/") if part.startswith("{")]
    if not names:
        return {}
    return {"parameters": [{"name": name, "in": "path", "required": True, "schema": ID} for name in names]}


def _parameter(name: str, max_k: int) -> Schema:
    known = PARAMETERS[name]
    schema = dict(known["schema"])
    found = {"name": name, "in": "query", "description": known["description"], "schema": schema}
    if schema["type"] == "array":
        schema["items"] = ID
        found |= {"style": "form", "explode": True}
    if name == "k":
        _limit(schema, max_k)
    return found


def _limit(schema: Schema, max_k: int) -> None:
    """Write the highest k into the schema of k, which may also be null."""
    for part in [schema, *schema.get("anyOf", [])]:
        if part.get("type") == "integer":
            part["maximum"] = max_k
            if "default" in part:
                part["default"] = min(part["default"], max_k)
