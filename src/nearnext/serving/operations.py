"""Endpoints: how a request becomes the arguments of a function, and what the function gives becomes an answer."""

import logging
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from functools import cache
from types import UnionType
from typing import Any, NamedTuple, TypeVar, get_args, get_type_hints
from urllib.parse import unquote_plus, unquote_to_bytes

import msgspec
from starlette.types import Receive, Scope, Send

from nearnext.data.ids import tidy_text
from nearnext.serving.messages import MAX_ID, PROBLEM, HTTPError, problem, require_id
from nearnext.serving.service import Service

T = TypeVar("T")
F = TypeVar("F", bound=Callable[..., Awaitable[Any]])

log = logging.getLogger(__name__)
encode = msgspec.json.Encoder().encode


class Answer(NamedTuple):
    """What is sent back, where it is not 200 with JSON."""

    body: bytes
    content_type: bytes = b"application/json"
    status: int = 200
    headers: tuple[tuple[bytes, bytes], ...] = ()


@dataclass(frozen=True)
class Operation:
    """One method of one path, as routed and described."""

    method: str
    path: str
    name: str
    summary: str
    answer: Any  # type; `NoneType`: status 204
    body: Any  # type of the JSON body, or None
    query: Any  # type of the query parameters, or None
    problems: tuple[int, ...]  # statuses of errors, without those that any operation can have
    public: bool  # without key
    content: str
    decoder: "msgspec.json.Decoder[Any] | None"


def operation(
    method: str, path: str, *, problems: tuple[int, ...] = (), public: bool = False, content: str = "application/json"
) -> Callable[[F], F]:
    """Mark a method as an endpoint; its docstring and annotations describe it.

    A parameter of a type for messages is the body, or for GET the query; a text before it is the id in the path.
    """

    def mark(function: F) -> F:
        hints = get_type_hints(function, include_extras=True)
        answer = hints.pop("return")
        message = next((one for one in hints.values() if one is not str), None)
        body, query = (None, message) if method == "GET" else (message, None)
        possible = {*problems, *((400, 413) if body else ()), *((400,) if query else ()), *((422,) if message else ())}
        possible |= {400, 404} if "{" in path else set()
        summary = (function.__doc__ or "").partition("\n")[0]
        function.__dict__["operation"] = Operation(
            method,
            path,
            function.__name__,
            summary,
            next(iter(get_args(answer)), answer) if isinstance(answer, UnionType) else answer,
            body,
            query,
            tuple(sorted(possible)),
            public,
            content,
            msgspec.json.Decoder(body) if body else None,
        )
        return function

    return mark


def operations(endpoints: type) -> list[Operation]:
    """The operations of a class, in the order of its methods."""
    return [one.operation for one in vars(endpoints).values() if hasattr(one, "operation")]


class Resource:
    """The operations of one path, as an ASGI application."""

    def __init__(self, path: str, operations: Sequence[Operation], endpoints: object, service: Service) -> None:
        self._path, self._service = path, service
        self._id = session_id if "{session}" in path else decoded_id if "{" in path else None
        self._operations = {one.method: (one, getattr(endpoints, one.name)) for one in operations}
        if "GET" in self._operations:
            self._operations["HEAD"] = self._operations["GET"]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        scope["route"] = self._path
        try:
            answer = await self._answer(scope, receive)
        except HTTPError as error:
            answer = as_answer(error, scope)
        except Exception:
            log.exception("an endpoint failed", extra={"request_id": scope["request_id"]})
            answer = as_answer(HTTPError(500, "this is our fault; the log says more under the request's id"), scope)
        await send_answer(answer, send)

    async def _answer(self, scope: Scope, receive: Receive) -> Answer:
        if scope["method"] not in self._operations:
            known = ", ".join(sorted(self._operations))
            raise HTTPError(405, f"this path knows {known}", {"allow": known})
        operation, function = self._operations[scope["method"]]
        if not operation.public and not self._service.access.allows(scope["header"]):
            raise HTTPError(401, "a key is needed: Authorization: Bearer KEY", {"www-authenticate": "Bearer"})
        arguments: list[Any] = []
        if self._id:
            (segment,) = scope["path_params"].values()
            arguments.append(self._id(segment))
        if operation.decoder:
            arguments.append(_parsed(operation.decoder, await _body(receive)))
        elif operation.query:
            arguments.append(parsed_query(scope["query_string"], operation.query))
        found = await function(*arguments)
        if found is None:
            return Answer(b"", status=204)
        return found if isinstance(found, Answer) else Answer(encode(found))


def as_answer(error: HTTPError, scope: Scope) -> Answer:
    """The problem document of an error."""
    headers = tuple((name.encode(), value.encode()) for name, value in (error.headers or {}).items())
    return Answer(problem(error, scope["request_id"]), PROBLEM, error.status_code, headers)


async def send_answer(answer: Answer, send: Send) -> None:
    """Send an answer whole."""
    headers = list(answer.headers)
    if answer.status != 204:  # noqa: PLR2004 - has no body
        headers += [(b"content-type", answer.content_type), (b"content-length", b"%d" % len(answer.body))]
    await send({"type": "http.response.start", "status": answer.status, "headers": headers})
    await send({"type": "http.response.body", "body": answer.body})


def decoded_id(segment: str) -> str:
    """An id from its segment of the path."""
    try:
        text = unquote_to_bytes(segment).decode()
    except UnicodeDecodeError:
        raise HTTPError(400, "an id in the path is not percent-encoded UTF-8") from None
    if len(text) > MAX_ID:
        raise HTTPError(404, f"an id in the path has {len(text)} characters, expected 1 to {MAX_ID}")
    return text


def session_id(segment: str) -> str:
    """A session's id from its segment of the path, as `fit` will read it from the event log."""
    text = tidy_text(decoded_id(segment))
    require_id(text, "a session's")
    return text


def parsed_query(query: bytes, parameters: type[T]) -> T:
    """The parameters of a query; a comma separates ids, and ``%2C`` is a comma in an id."""
    lists = _lists(parameters)
    found: dict[str, Any] = {}
    try:
        for pair in query.decode().split("&") if query else ():
            name, _, value = pair.partition("=")
            if name in lists:
                found.setdefault(name, []).extend(unquote_plus(one, errors="strict") for one in value.split(","))
            elif name in found:
                raise HTTPError(422, f"expected {name} once")
            else:
                found[unquote_plus(name, errors="strict")] = unquote_plus(value, errors="strict")
        return msgspec.convert(found, parameters, strict=False)
    except UnicodeDecodeError:
        raise HTTPError(400, "the query is not percent-encoded UTF-8") from None
    except msgspec.ValidationError as error:
        raise HTTPError(422, str(error).replace("Object contains unknown field", "unknown parameter")) from None


@cache
def _lists(parameters: type) -> set[str]:
    return {field.name for field in msgspec.structs.fields(parameters) if "list[" in str(field.type)}


def _parsed(decoder: "msgspec.json.Decoder[Any]", body: bytes) -> Any:
    try:
        return decoder.decode(body)
    except msgspec.ValidationError as error:
        raise HTTPError(422, str(error)) from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise HTTPError(400, f"the body is not JSON: {error}") from None


async def _body(receive: Receive) -> bytes:
    """The body; the connection passes requests on whole, so that it is here already."""
    message = await receive()
    body: bytes = message.get("body", b"")
    while message.get("more_body"):
        message = await receive()
        body += message.get("body", b"")
    return body
