"""What stores have in common, and sessions in the memory of one process, bounded in time and size."""

import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import Literal, NamedTuple

from nearnext.types import RawId

SESSION_BYTES = 64 << 10
"""Bytes of the ids that a session keeps at most, the last ones: a longer one would delay the requests of all others."""


class StoreDown(Exception):  # noqa: N818 - a state of the store, which callers live with
    """The store is unreachable or returned an error; the text says which."""

    def __init__(self, reason: str = "the session store does not answer") -> None:
        super().__init__(reason)


ENTRY_BYTES = 400
"""Memory of a session without its id and clicks: entry of the table, record, list."""

CLICK_BYTES = 64
"""Memory of a click without the text of its id."""


class _Session(NamedTuple):
    clicks: list[RawId]
    expires: float
    size: int


class MemoryStore:
    """Sessions in this process; where memory runs out, the sessions that were longest without a click go first."""

    state: Literal["memory"] = "memory"

    def __init__(self, ttl: float, clicks: int, limit: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._ttl, self._clicks, self._limit, self._clock = ttl, clicks, limit, clock
        # All sessions live equally long after a click, so the order of clicks is also that of expiry.
        self._sessions: OrderedDict[str, _Session] = OrderedDict()
        self.size = 0

    def __len__(self) -> int:
        return len(self._sessions)

    async def append(self, session: str, items: Sequence[RawId]) -> list[RawId]:
        """Append clicks; returns all stored clicks of the session, oldest first."""
        now = self._clock()
        self._expire(now)
        known = self._remove(session)
        clicks = [*(known.clicks if known else ()), *items][-self._clicks :]
        texts = [_text_bytes(item) for item in clicks]
        total, dropped = sum(texts), 0
        while total > SESSION_BYTES:
            total -= texts[dropped]
            dropped += 1
        del clicks[:dropped]
        size = ENTRY_BYTES + _text_bytes(session) + CLICK_BYTES * len(clicks) + total
        self._sessions[session] = _Session(clicks, now + self._ttl, size)
        self.size += size
        while self.size > self._limit and len(self._sessions) > 1:
            self._remove(next(iter(self._sessions)))
        return list(clicks)

    async def clicks(self, session: str) -> list[RawId]:
        """The clicks of a session, none of an unknown one."""
        self._expire(self._clock())
        found = self._sessions.get(session)
        return list(found.clicks) if found else []

    async def forget(self, session: str) -> None:
        """Forget a session."""
        self._remove(session)

    async def check(self) -> None:
        """No-op: memory can always be used."""

    async def close(self) -> None:
        """Nothing is open."""

    def _remove(self, session: str) -> _Session | None:
        found = self._sessions.pop(session, None)
        if found:
            self.size -= found.size
        return found

    def _expire(self, now: float) -> None:
        while self._sessions:
            first = next(iter(self._sessions))
            if self._sessions[first].expires > now:
                return
            self._remove(first)


def _text_bytes(value: RawId) -> int:
    """Bytes of a text beyond what every click is counted with; up to 4 per character."""
    if isinstance(value, int):
        return 0
    return len(value) if value.isascii() else 4 * len(value)
