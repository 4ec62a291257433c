"""Text of unknown quality as valid UTF-8: bytes that are none stay visible and can be found again."""

import codecs
import io
import re
import secrets

from nearnext.data.files import ByteSource

__all__ = ["MARK", "Utf8Stream", "unmarked"]

MARK = f"\ufdd0{secrets.token_hex(8)}\ufdd0"
"""Stands before the two hexadecimal digits of each byte that is no UTF-8; drawn anew so that no log contains it."""


def _mark(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeDecodeError):
        raise error
    wrong = error.object[error.start : error.end]
    return "".join(f"{MARK}{byte:02x}" for byte in wrong), error.end


codecs.register_error("nearnext.mark", _mark)


def unmarked(text: str) -> str:
    r"""The text with each marked byte shown as ``\xff``.

    >>> unmarked("caf" + MARK + "e9")
    'caf\\xe9'
    """
    return re.sub(f"{MARK}([0-9a-f]{{2}})", r"\\x\1", text)


class Utf8Stream(io.RawIOBase):
    """The bytes of a source from ``skip`` on, made valid UTF-8.

    Attributes:
        quoted: whether there has been a quote so far.
        damaged: whether there have been bytes so far that are no UTF-8.
        tail: the last byte so far that ends no line.
    """

    def __init__(self, source: ByteSource, skip: int) -> None:
        super().__init__()
        source.read(skip)
        self._source = source
        self._decoder = codecs.getincrementaldecoder("utf-8")(errors="nearnext.mark")
        self._surplus = b""
        self.quoted = False
        self.damaged = False
        self.tail = b""

    def readable(self) -> bool:
        """Whether it can be read: yes."""
        return True

    def read(self, size: int = -1) -> bytes:
        """At most ``size`` bytes, none only at the end."""
        if not self._surplus:
            self._surplus = self._next(size)
        found, self._surplus = self._surplus[:size], self._surplus[size:]
        return found

    def _next(self, size: int) -> bytes:
        while True:
            raw = self._source.read(size)
            valid = raw if raw.isascii() and raw and not self._decoder.getstate()[0] else self._decode(raw)
            if valid or not raw:
                break
        self.quoted = self.quoted or b'"' in valid
        self.tail = valid[-2:].rstrip(b"\r\n")[-1:] or valid.rstrip(b"\r\n")[-1:] or self.tail
        return valid

    def _decode(self, raw: bytes) -> bytes:
        valid = self._decoder.decode(raw, final=not raw).encode()
        self.damaged = self.damaged or MARK.encode() in valid
        return valid
