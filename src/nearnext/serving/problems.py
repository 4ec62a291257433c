"""Reasons to refuse a request."""

from http import HTTPStatus

import msgspec

from nearnext.serving.messages import Problem

__all__ = ["PROBLEM", "Refusal"]

PROBLEM = b"application/problem+json"
"""Type of what a refusal says."""


class Refusal(Exception):  # noqa: N818 - it ends a request, not the program
    """A request that is refused, with its HTTP status and one line of what was wrong.

    >>> Refusal(404, "no such page").title
    'Not Found'
    """

    def __init__(self, status: int, detail: str, headers: tuple[tuple[bytes, bytes], ...] = ()) -> None:
        super().__init__(detail)
        self.status = status
        self.detail = detail
        self.headers = headers

    @property
    def title(self) -> str:
        """The status in words."""
        return HTTPStatus(self.status).phrase

    def body(self, request_id: str) -> bytes:
        """What is answered, as JSON.

        >>> Refusal(404, "no such page").body("r1")
        b'{"title":"Not Found","status":404,"detail":"no such page","request_id":"r1"}'
        """
        return msgspec.json.encode(Problem(self.title, self.status, self.detail, request_id))
