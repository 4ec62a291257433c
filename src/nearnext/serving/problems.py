"""Errors as HTTP answers: one problem document for all of them (RFC 9457)."""

from collections.abc import Mapping
from http import HTTPStatus

import msgspec
from starlette.exceptions import HTTPException

from nearnext.serving.messages import Problem

PROBLEM = b"application/problem+json"
"""Media type of a problem document."""


class HTTPError(HTTPException):
    """A request that cannot be served: its HTTP status, and one line that says why.

    >>> HTTPError(404, "no such page").status_code
    404
    """

    def __init__(self, status_code: int, detail: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(status_code, detail, headers)


def problem(error: HTTPException, request_id: str) -> bytes:
    """The problem document of an error, as JSON.

    >>> problem(HTTPError(404, "no such page"), "r1")
    b'{"title":"Not Found","status":404,"detail":"no such page","request_id":"r1"}'
    """
    title = HTTPStatus(error.status_code).phrase
    return msgspec.json.encode(Problem(title, error.status_code, error.detail, request_id))
