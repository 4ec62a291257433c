"""Endpoints: how a request becomes the arguments of a function, and what the function gives becomes an answer."""

import logging
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from types import UnionType
from typing import Any, NamedTuple, TypeVar, get_args, get_type_hints
from urllib.parse import unquote_plus, unquote_to_bytes

import msgspec
from starlette.types import Receive, Scope, Send

from nearnext.data.ids import tidy_text
from nearnext.serving.messages import MAX_ID, NO_ID, PROBLEM, HTTPError, problem
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
    answer: Any
    body: Any
    query: Any
    problems: tuple[int, ...]
    public: bool
    content: str


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
        )
        return function

    return mark


def operations(endpoints: type) -> list[Operation]:
    """The operations of a class, in the order of its methods."""
    return [one.operation for one in vars(endpoints).values() if hasattr(one, "operation")]


class Endpoint:
    """One operation, ready to run."""

    def __init__(self, operation: Operation, function: Callable[..., Awaitable[Any]]) -> None:
        self.public = operation.public
        self._function = function
        self._id = session_id if "{session}" in operation.path else decoded_id if "{" in operation.path else None
        self._query = operation.query
        self._decoder = msgspec.json.Decoder(operation.body) if operation.body else None

    async def answer(self, scope: Scope, receive: Receive) -> Answer:
        """The answer to a request."""
        arguments: list[Any] = []
        if self._id:
            (segment,) = scope["path_params"].values()
            arguments.append(self._id(segment))
        if self._decoder:
            arguments.append(_parsed(self._decoder, await _body(receive)))
        elif self._query:
            arguments.append(parsed_query(scope["query_string"], self._query))
        found = await self._function(*arguments)
        if found is None:
            return Answer(b"", status=204)
        return found if isinstance(found, Answer) else Answer(encode(found))


class Resource:
    """The operations of one path, as an ASGI application."""

    def __init__(self, path: str, endpoints: Mapping[str, Endpoint], service: Service) -> None:
        self._path, self._service = path, service
        self._endpoints = dict(endpoints)
        if "GET" in endpoints:
            self._endpoints["HEAD"] = endpoints["GET"]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        scope["route"] = self._path
        try:
            answer = await self._endpoint(scope).answer(scope, receive)
        except HTTPError as error:
            answer = as_answer(error, scope)
        except Exception:
            log.exception("an endpoint failed", extra={"request_id": scope["request_id"]})
            answer = as_answer(HTTPError(500, "this is our fault; the log says more under the request's id"), scope)
        await send_answer(answer, send)

    def _endpoint(self, scope: Scope) -> Endpoint:
        endpoint = self._endpoints.get(scope["method"])
        if endpoint is None:
            known = ", ".join(sorted(self._endpoints))
            raise HTTPError(405, f"this path knows {known}", {"allow": known})
        if not endpoint.public and not self._service.access.allows(scope["header"]):
            raise HTTPError(401, "a key is needed: Authorization: Bearer KEY", {"www-authenticate": "Bearer"})
        return endpoint


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
    if text in NO_ID:
        raise HTTPError(422, f"expected a session's id, found '{text}', which logs write where there is none")
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


_known_lists: dict[type, set[str]] = {}


def _lists(parameters: type) -> set[str]:
    if parameters not in _known_lists:
        fields = msgspec.structs.fields(parameters)
        _known_lists[parameters] = {field.name for field in fields if "list[" in str(field.type)}
    return _known_lists[parameters]


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
