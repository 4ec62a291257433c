"""One request: its parts as the endpoints need them, checked."""

import re
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from typing import Any, NamedTuple, TypeVar, cast
from urllib.parse import parse_qsl, unquote_to_bytes

import msgspec

from nearnext.serving.messages import MAX_ID
from nearnext.serving.problems import Refusal
from nearnext.types import RawId

__all__ = [
    "Answer",
    "Query",
    "Receive",
    "Request",
    "Scope",
    "decoded_segment",
    "ids",
    "moment",
    "parsed",
    "parsed_query",
    "read_body",
    "switch",
    "whole_number",
]

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
T = TypeVar("T")

DRAINED = 16
"""A body that is too long is read on up to this many times the limit, so that its sender comes to read the answer."""

NUMBER = re.compile(r"-?[0-9]{1,19}")
TIME = re.compile(r"[0-9]{1,12}(\.[0-9]{1,9})?")

Query = dict[str, list[str]]


class Answer(NamedTuple):
    """What is sent back."""

    body: bytes
    status: int = 200
    content_type: bytes = b"application/json"
    headers: tuple[tuple[bytes, bytes], ...] = ()


class Request(NamedTuple):
    """A request that has been read.

    Attributes:
        parameters: the ids in its path, decoded.
        query: raw query string.
        body: whole body.
    """

    parameters: list[str]
    query: bytes
    body: bytes


def parsed(decoder: "msgspec.json.Decoder[T]", body: bytes) -> T:
    """A body as what the decoder makes of it.

    Raises:
        Refusal: it is no JSON, or not of the form that is expected.
    """
    try:
        return decoder.decode(body)
    except msgspec.ValidationError as error:
        raise Refusal(422, str(error)) from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise Refusal(400, f"the body is not JSON: {error}") from None


def decoded_segment(segment: bytes) -> str:
    """An id from its part of the path.

    Raises:
        Refusal: it is empty, too long, or not percent-encoded UTF-8.

    >>> decoded_segment(b"..%2Fetc%2F%E2%82%AC")
    '../etc/€'
    """
    try:
        text = unquote_to_bytes(segment).decode()
    except UnicodeDecodeError:
        raise Refusal(400, "an id in the path is not percent-encoded UTF-8") from None
    if not 0 < len(text) <= MAX_ID:
        raise Refusal(404, f"an id in the path has {len(text)} characters, expected 1 to {MAX_ID}")
    return text


def parsed_query(query: bytes, known: Iterable[str]) -> Query:
    """The values of each parameter.

    Raises:
        Refusal: an unknown parameter, or what is no query.

    >>> parsed_query(b"k=5&exclude=a&exclude=b", ["k", "exclude"])
    {'k': ['5'], 'exclude': ['a', 'b']}
    """
    if not query:
        return {}
    try:
        pairs = parse_qsl(query.decode("ascii"), keep_blank_values=True, errors="strict", max_num_fields=10_000)
    except ValueError:
        raise Refusal(400, "the query is not percent-encoded UTF-8") from None
    found: Query = {}
    names = set(known)
    for name, value in pairs:
        if name not in names:
            raise Refusal(422, f"unknown parameter '{name[:40]}'; known: {', '.join(sorted(names))}")
        found.setdefault(name, []).append(value)
    return found


def whole_number(query: Query, name: str, default: int) -> int:
    """A parameter that is a whole number.

    Raises:
        Refusal: it is none, or given twice.
    """
    text = _single(query, name)
    if text is None:
        return default
    if not NUMBER.fullmatch(text):
        raise Refusal(422, f"expected a whole number as {name}, found '{text[:40]}'")
    return int(text)


def switch(query: Query, name: str) -> bool:
    """A parameter that is true or false, by default false.

    Raises:
        Refusal: it is neither, or given twice.
    """
    text = _single(query, name)
    if text not in (None, "true", "false"):
        raise Refusal(422, f"expected true or false as {name}, found '{text[:40]}'")
    return text == "true"


def moment(query: Query, name: str) -> float | None:
    """A parameter that is a time in seconds since 1970.

    Raises:
        Refusal: it is none, or given twice.
    """
    text = _single(query, name)
    if text is None:
        return None
    if not TIME.fullmatch(text) or float(text) > 1e11:  # noqa: PLR2004 - as in a body
        raise Refusal(422, f"expected seconds since 1970 as {name}, found '{text[:40]}'")
    return float(text)


def ids(query: Query, name: str) -> list[RawId] | None:
    """A parameter that may be given several times, each an id; None where it is not given.

    Raises:
        Refusal: an id that is empty or too long.
    """
    values = query.get(name)
    if values is not None and not all(0 < len(value) <= MAX_ID for value in values):
        raise Refusal(422, f"expected ids of 1 to {MAX_ID} characters as {name}")
    return cast("list[RawId] | None", values)


def _single(query: Query, name: str) -> str | None:
    values = query.get(name)
    if values is None:
        return None
    if len(values) > 1:
        raise Refusal(422, f"expected {name} once, found it {len(values)} times")
    return values[0]


async def read_body(receive: Receive, limit: int) -> bytes:
    """The whole body.

    Args:
        receive: gives the next part.
        limit: bytes that it may have.

    Raises:
        Refusal: it is too long, or its sender went away.
    """
    message = await receive()
    if message["type"] == "http.request" and not message.get("more_body"):
        body: bytes = message.get("body", b"")
        if len(body) <= limit:
            return body
    parts: list[bytes] = []
    size = 0
    while True:
        if message["type"] == "http.disconnect":
            raise Refusal(400, "the connection was closed before the body was complete")
        part: bytes = message.get("body", b"")
        size += len(part)
        if size <= limit:
            parts.append(part)
        if not message.get("more_body") or size > DRAINED * limit:
            break
        message = await receive()
    if size > limit:
        raise Refusal(413, f"the body is longer than {limit} bytes", ((b"connection", b"close"),))
    return b"".join(parts)
