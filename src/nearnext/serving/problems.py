"""Why a request was refused: the error that is raised, and the problem document (RFC 9457) that is answered."""

from collections.abc import Mapping
from http import HTTPStatus

import msgspec
from starlette.exceptions import HTTPException

PROBLEM = b"application/problem+json"
"""Media type of a problem document."""


class Problem(msgspec.Struct):
    """Why a request was refused (RFC 9457)."""

    title: str
    status: int
    detail: str
    request_id: str


class HTTPError(HTTPException):
    """A request that cannot be served: its HTTP status, and one line that says why."""

    def __init__(self, status_code: int, detail: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(status_code, detail, headers)


def problem(error: HTTPException, request_id: str) -> bytes:
    """The problem document of an error, as JSON."""
    title = HTTPStatus(error.status_code).phrase
    return msgspec.json.encode(Problem(title, error.status_code, error.detail, request_id))
