"""Reasons to refuse a request."""

from http import HTTPStatus

__all__ = ["Refusal"]


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
