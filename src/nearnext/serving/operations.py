"""Endpoints: how a request becomes the arguments of a function, and what the function gives becomes an answer."""

import logging
import re
from codecs import BOM_UTF8
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from types import UnionType
from typing import Any, NamedTuple, TypeVar, get_args, get_type_hints
from urllib.parse import unquote_to_bytes

import msgspec
from starlette.types import Receive, Scope, Send

from nearnext.serving.problems import PROBLEM, HTTPError, problem
from nearnext.serving.requests import require_id
from nearnext.serving.service import Service

F = TypeVar("F", bound=Callable[..., Awaitable[Any]])

BARE_PERCENT = re.compile("%(?![0-9A-Fa-f]{2})")

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
    answers: tuple[Any, ...]  # types; `NoneType`: status 204
    body: Any  # type of the JSON body, or None
    query: Any  # type of the query parameters, or None
    public: bool  # without key
    content: str
    read: Callable[[Scope, bytes], Any] | None  # gives the message of a request


def operation(method: str, path: str, *, public: bool = False, content: str = "application/json") -> Callable[[F], F]:
    """Mark a method as an endpoint; its docstring and annotations describe it.

    A parameter of a type for messages is the body, or for GET the query; a text before it is the id in the path.
    """

    def mark(function: F) -> F:
        hints = get_type_hints(function, include_extras=True)
        answer = hints.pop("return")
        message = next((one for one in hints.values() if one is not str), None)
        body, query = (None, message) if method == "GET" else (message, None)
        function.__dict__["operation"] = Operation(
            method,
            path,
            function.__name__,
            (function.__doc__ or "").partition("\n")[0],
            get_args(answer) if isinstance(answer, UnionType) else (answer,),
            body,
            query,
            public,
            content,
            _body_reader(body) if body else _query_reader(query) if query else None,
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
        self._operations = {one.method: (one, getattr(endpoints, one.name)) for one in operations}
        if "GET" in self._operations:
            self._operations["HEAD"] = self._operations["GET"]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        scope["route"] = self._path
        try:
            answer = await self._answer(scope, receive)
        except HTTPError as error:
            await refuse(error, scope, send)
        except Exception:
            log.exception("an endpoint failed", extra={"request_id": scope["request_id"]})
            error = HTTPError(500, "internal error; see the log under the request id")
            await refuse(error, scope, send)
        else:
            await _send(answer, send)

    async def _answer(self, scope: Scope, receive: Receive) -> Answer:
        if scope["method"] not in self._operations:
            known = ", ".join(sorted(self._operations))
            raise HTTPError(405, f"this path knows {known}", {"allow": known})
        operation, function = self._operations[scope["method"]]
        if not operation.public and not self._service.access.allows(scope["header"]):
            raise HTTPError(401, "a key is needed: Authorization: Bearer KEY", {"www-authenticate": "Bearer"})
        arguments: list[Any] = [id_in_path(segment) for segment in scope["path_params"].values()]
        if operation.read:
            arguments.append(operation.read(scope, (await receive())["body"]))
        found = await function(*arguments)
        if found is None:
            return Answer(b"", status=204)
        return found if isinstance(found, Answer) else Answer(encode(found))


async def refuse(error: HTTPError, scope: Scope, send: Send) -> None:
    """Respond with the problem document of an error."""
    headers = tuple((name.encode(), value.encode()) for name, value in (error.headers or {}).items())
    await _send(Answer(problem(error, scope["request_id"]), PROBLEM, error.status_code, headers), send)


async def _send(answer: Answer, send: Send) -> None:
    headers = list(answer.headers)
    if answer.status != 204:  # noqa: PLR2004 - has no body
        headers += [(b"content-type", answer.content_type), (b"content-length", b"%d" % len(answer.body))]
    await send({"type": "http.response.start", "status": answer.status, "headers": headers})
    await send({"type": "http.response.body", "body": answer.body})


def id_in_path(segment: str) -> str:
    """An id from its segment of the path, as `fit` will read it from the event log."""
    try:
        return require_id(_unquoted(segment))
    except UnicodeDecodeError:
        raise HTTPError(400, "an id in the path is not percent-encoded UTF-8") from None


def _unquoted(text: str) -> str:
    """A part of an address without its percent-encoding."""
    if BARE_PERCENT.search(text):
        raise HTTPError(400, "a % in the address is not followed by two hexadecimal digits; write % as %25")
    return unquote_to_bytes(text).decode()


def _with_known(said: str, message: Any) -> str:
    """The error text of msgspec; if the message has an unknown field, with those that it may have."""
    if "unknown field" not in said or " - at " in said:  # of an object within the message
        return said
    structs = [each for each in (get_args(message) or (message,)) if hasattr(each, "__struct_fields__")]
    return f"{said}; known: {', '.join(dict.fromkeys(name for each in structs for name in each.__struct_fields__))}"


def _body_reader(message: Any) -> Callable[[Scope, bytes], Any]:
    decoder: msgspec.json.Decoder[Any] = msgspec.json.Decoder(message)

    def read(scope: Scope, body: bytes) -> Any:
        if scope["query_string"]:
            name = scope["query_string"].decode(errors="replace").partition("=")[0]
            raise HTTPError(422, f"unknown parameter `{name}`: this path takes its options in the body")
        coding = scope["header"].get(b"content-encoding", b"identity").decode("latin-1")
        if coding.lower() != "identity":
            raise HTTPError(415, f"the body is encoded with {coding}; send it without Content-Encoding")
        try:
            return decoder.decode(body.removeprefix(BOM_UTF8))
        except msgspec.ValidationError as error:
            raise HTTPError(422, _with_known(str(error), message)) from None
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise HTTPError(400, f"the body is not JSON: {error}") from None

    return read


def _query_reader(message: Any) -> Callable[[Scope, bytes], Any]:
    """Parse a query; commas separate ids, and ``%2C`` is a comma within an id; rules are one for each parameter."""
    lists = {field.name for field in msgspec.structs.fields(message) if "list[" in str(field.type)}

    def read(scope: Scope, _body: bytes) -> Any:
        found: dict[str, Any] = {}
        try:
            for pair in filter(None, scope["query_string"].decode().replace("+", " ").split("&")):
                name, _, value = pair.partition("=")
                if name in lists:
                    values = [value] if name in ("boost", "at_most") else value.split(",")
                    found.setdefault(name, []).extend(map(_unquoted, values))
                elif name in found:
                    raise HTTPError(422, f"expected {name} once")
                else:
                    found[_unquoted(name)] = _unquoted(value)
            return msgspec.convert(found, message, strict=False)
        except UnicodeDecodeError:
            raise HTTPError(400, "the query is not percent-encoded UTF-8") from None
        except msgspec.ValidationError as error:
            said = _with_known(str(error), message).replace("Object contains unknown field", "unknown parameter")
            raise HTTPError(422, said) from None

    return read
