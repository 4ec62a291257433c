"""Where an HTTP/1 request ends, read strictly: what two programs could read in two ways is refused (RFC 9112)."""

import re
from typing import NamedTuple

from nearnext.serving.problems import HTTPError

HEADER_BYTES = 64 << 10
"""Longest request line with headers, bytes."""

CHUNK_LINE_BYTES = 256
"""Longest line before a chunk, bytes."""

METHODS = rb"GET|HEAD|POST|PUT|DELETE|OPTIONS|PATCH|TRACE"
HOST = rb"(?:[0-9A-Za-z._-]++|\[[0-9A-Fa-f:.]++\])(?::[0-9]{1,5})?"
HEAD = re.compile(
    rb"(" + METHODS + rb") (?:https?://(" + HOST + rb")(?=/))?(/[!\"$->@-~]*+|\*)(?:\?([!\"$-~]*+))? HTTP/1\.([01])\r\n"
    rb"((?:[!#$%&'*+.^_`|~0-9A-Za-z-]++:[\t\x20-\x7e\x80-\xff]*+\r\n)*+)\r\n"
)
"""A whole head without folded lines, control characters, bare CR or LF, or spaces around a header's name."""

ONCE = (b"host", b"content-length", b"transfer-encoding", b"expect")
"""Headers that determine the host or the length of a request; each may occur once."""

CHUNK = re.compile(rb"([0-9A-Fa-f]{1,8})[\t ]*(?:;[\t\x20-\x7e\x80-\xff]*)?")
HOST_VALUE, LENGTH = re.compile(HOST), re.compile(rb"[0-9]{1,18}")
BARE = re.compile(rb"\r(?!\n|\Z)|(?<!\r)\n")


class Head(NamedTuple):
    """The request line and headers of a request."""

    method: str
    path: bytes
    query: bytes
    headers: list[tuple[bytes, bytes]]  # names in lower case
    named: dict[bytes, bytes]  # the same
    length: int | None  # of the body; None: it comes in chunks
    expects: bool  # the client waits for 100 Continue
    last: bool  # close the connection after the response


def find_head(data: bytearray, begin: int) -> int:
    """The position after the head at the start of the data, -1 where the head is not complete."""
    end = data.find(b"\r\n\r\n", begin)
    if end > HEADER_BYTES or (end < 0 and len(data) > HEADER_BYTES):
        raise HTTPError(431, f"the headers are longer than {HEADER_BYTES} bytes")
    if end < 0 and (not data[:1].isalpha() or BARE.search(data, max(0, begin - 1))):
        raise HTTPError(400, "this is not HTTP/1.1")
    return end + 4 if end >= 0 else -1


def read_head(data: bytes) -> Head:
    """A complete head."""
    found = HEAD.fullmatch(data)
    if found is None:
        raise HTTPError(400, "this is not HTTP/1.1")
    method, target_host, path, query, version, lines = found.groups()
    parts = [line.partition(b":") for line in lines.split(b"\r\n")[:-1]]
    headers = [(name.lower(), value.strip(b"\t ")) for name, _, value in parts]
    named = dict(headers)
    if len(named) < len(headers):
        names = [name for name, _ in headers]
        if any(names.count(name) > 1 for name in ONCE):
            raise HTTPError(400, f"expected each of {b', '.join(ONCE).decode()} once")
    host = named.get(b"host")
    if not HOST_VALUE.fullmatch(host or b"") and (host is not None or version == b"1"):
        raise HTTPError(400, "expected a Host header with the name of a host")
    if target_host and host and target_host.lower() != host.lower():
        raise HTTPError(400, "the request line and the Host header name different hosts")
    length, coding, expected = (named.get(name) for name in ONCE[1:])
    if length is not None and not LENGTH.fullmatch(length):
        raise HTTPError(400, "expected an integer as Content-Length")
    if coding is not None and (length is not None or coding.lower() != b"chunked" or version == b"0"):
        raise HTTPError(400, "expected a Content-Length, or Transfer-Encoding: chunked, not both")
    if expected is not None and expected.lower() != b"100-continue":
        raise HTTPError(417, "expected no other Expect header than 100-continue")
    n_bytes = int(length or 0) if coding is None else None
    last = version == b"0" or b"close" in named.get(b"connection", b"").lower()
    return Head(
        method.decode(), path, query or b"", headers, named, n_bytes, expected is not None and version == b"1", last
    )


class Chunks:
    """A body that comes in chunks."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._body = bytearray()
        self._size: int | None = None
        self._last = False

    def take(self, data: bytearray) -> bytes | None:
        """Take whole chunks off the data; gives the body once it is complete."""
        while True:
            if self._size is not None:
                if len(data) < self._size + 2:
                    return None
                if not data.startswith(b"\r\n", self._size):
                    raise HTTPError(400, "a chunk does not end where its size says")
                self._body += data[: self._size]
                del data[: self._size + 2]
                self._size = None
            end = data.find(b"\r\n", 0, CHUNK_LINE_BYTES)
            if end < 0:
                if len(data) >= CHUNK_LINE_BYTES or BARE.search(data):
                    raise HTTPError(400, "expected the size of a chunk")
                return None
            line = bytes(data[:end])
            del data[: end + 2]
            if self._last and not line:
                return bytes(self._body)
            found = CHUNK.fullmatch(line)
            if found is None or self._last:
                raise HTTPError(400, "expected the size of a chunk, and no trailers")
            size = int(found[1], 16)
            if len(self._body) + size > self._limit:
                raise HTTPError(413, f"the body is longer than {self._limit} bytes")
            self._last = size == 0
            self._size = size or None
