"""Which requests are refused, by key, host or origin of a page, and the problem document (RFC 9457) that says why."""

import hmac
import re
from collections.abc import Mapping, Sequence
from hashlib import sha256
from http import HTTPStatus
from pathlib import Path

import msgspec
from starlette.exceptions import HTTPException

from nearnext.errors import ConfigError

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


def problem(error: HTTPException, request_id: str) -> bytes:
    """The problem document of an error, as JSON."""
    title = HTTPStatus(error.status_code).phrase
    return msgspec.json.encode(Problem(title, error.status_code, error.detail, request_id))


SHORTEST_KEY = 16
"""Characters of a key that is not easily guessed."""

PORT = re.compile(rb":[0-9]+\Z")

SAME_SITE = (b"same-origin", b"none")
"""Values of ``Sec-Fetch-Site`` for requests of the service's own page, and of the address bar."""


def read_keys(path: Path) -> list[bytes]:
    """The keys of a file, one per line; blank lines and lines that begin with # are ignored."""
    try:
        lines = [line.strip() for line in path.read_text(encoding="utf-8-sig").splitlines()]
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"cannot read the API keys in {path}: {error}") from error
    keys = [line for line in lines if line and not line.startswith("#")]
    if not keys or min(map(len, keys)) < SHORTEST_KEY:
        raise ConfigError(
            f"{path}: expected a key of at least {SHORTEST_KEY} characters on each line; make them longer"
        )
    return [key.encode() for key in keys]


class Access:
    """Decides on requests by their headers."""

    def __init__(self, keys: Sequence[bytes], origins: Sequence[str], hosts: Sequence[str] = ()) -> None:
        # Digests are compared: then not even the length of a key shows in the time that the comparison takes.
        self._digests = [sha256(key).digest() for key in keys]
        self._origins = {origin.encode() for origin in origins}
        self._hosts = {host.encode() for host in hosts}

    def allows(self, headers: Mapping[bytes, bytes]) -> bool:
        """Whether a request has a key, in ``authorization: Bearer`` or ``x-api-key``."""
        if not self._digests:
            return True
        given = headers.get(b"x-api-key", b"")
        scheme, _, token = headers.get(b"authorization", b"").partition(b" ")
        if scheme.lower() == b"bearer":
            given = token.strip()
        digest = sha256(given).digest()
        found = False
        for known in self._digests:
            found |= hmac.compare_digest(digest, known)
        return found

    def check(self, headers: Mapping[bytes, bytes], *, navigation: bool) -> None:
        """Refuse what a browser sends for a page from elsewhere, and names of hosts that are not served.

        Programs send neither ``Origin`` nor ``Sec-Fetch-Site``, and pass.
        """
        host = headers.get(b"host", b"").lower()
        if self._hosts and PORT.sub(b"", host) not in self._hosts:
            raise HTTPError(421, "this name of a host is not served; allow it with --allow-host")
        origin, site = headers.get(b"origin"), headers.get(b"sec-fetch-site")
        if origin is None and site is None:
            return
        if self._origins & {origin, b"*"} or site in SAME_SITE:
            return
        if site is None and origin is not None and origin.partition(b"://")[2].lower() == host:
            return
        if navigation and headers.get(b"sec-fetch-mode") == b"navigate":
            return
        raise HTTPError(403, "pages of this origin may not ask; allow it with --cors")
