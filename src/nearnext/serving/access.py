"""Who may ask: keys, and origins of web pages."""

import hmac
from collections.abc import Mapping, Sequence
from hashlib import sha256
from pathlib import Path

from nearnext.errors import ConfigError

__all__ = ["Access", "read_keys"]

SHORTEST_KEY = 16
"""Characters of a key that is not easily guessed."""

Headers = tuple[tuple[bytes, bytes], ...]


def read_keys(path: Path) -> list[bytes]:
    """The keys of a file, one per line; blank lines and lines that begin with # are none.

    Raises:
        ConfigError: the file cannot be read, or holds no key or one of less than 16 characters.
    """
    try:
        lines = [line.strip() for line in path.read_text(encoding="utf-8").splitlines()]
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"cannot read the API keys in {path}: {error}") from error
    keys = [line for line in lines if line and not line.startswith("#")]
    if not keys or min(map(len, keys)) < SHORTEST_KEY:
        raise ConfigError(
            f"{path}: expected a key of at least {SHORTEST_KEY} characters on each line; make them longer"
        )
    return [key.encode() for key in keys]


class Access:
    """Decides over requests by their headers.

    Args:
        keys: keys of which a request must have one; none: everybody may ask.
        origins: origins whose pages may read answers, ``*``: every one.

    >>> access = Access([b"0123456789abcdef"], ["https://shop.example"])
    >>> access.allows({b"authorization": b"Bearer 0123456789abcdef"}), access.allows({b"x-api-key": b"guess"})
    (True, False)
    >>> dict(access.shared_with(b"https://shop.example"))[b"access-control-allow-origin"]
    b'https://shop.example'
    """

    def __init__(self, keys: Sequence[bytes], origins: Sequence[str]) -> None:
        # Digests are compared: then not even the length of a key shows in the time that the comparison takes.
        self._digests = [sha256(key).digest() for key in keys]
        self._origins = {origin.rstrip("/").encode() for origin in origins}

    def allows(self, headers: Mapping[bytes, bytes]) -> bool:
        """Whether a request carries a key, in ``authorization: Bearer`` or ``x-api-key``."""
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

    def shared_with(self, origin: bytes | None) -> Headers:
        """Headers that let pages of an origin read the answer; none for an origin that is not listed."""
        if origin is None or not self._origins & {origin, b"*"}:
            return ()
        allowed = b"*" if b"*" in self._origins else origin
        exposed = (b"access-control-expose-headers", b"x-request-id")
        return ((b"access-control-allow-origin", allowed), exposed, (b"vary", b"origin"))

    def preflight(self, origin: bytes | None, methods: str) -> Headers:
        """Headers that answer a browser's question whether a page may ask at all."""
        shared = self.shared_with(origin)
        if not shared:
            return ()
        return (
            *shared,
            (b"access-control-allow-methods", methods.encode()),
            (b"access-control-allow-headers", b"authorization, content-type, x-api-key, x-request-id"),
            (b"access-control-max-age", b"600"),
        )
