"""What stores have in common, and sessions in the memory of one process, bounded in time and size."""

import time
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import groupby, islice
from operator import itemgetter
from typing import Literal, NamedTuple

from nearnext.data.event_weights import event_key
from nearnext.types import RawId

SESSION_BYTES = 64 << 10
"""Bytes of the ids that a session keeps at most, the last ones: a longer one would delay the requests of all others."""


class StoreDown(Exception):  # noqa: N818 - a state of the store that callers handle
    """The store is unreachable or returned an error; the text says which."""

    def __init__(self, reason: str = "the session store does not answer") -> None:
        super().__init__(reason)


ENTRY_BYTES = 400
"""Memory of a session without its id and clicks: entry of the table, record, list."""

CLICK_BYTES = 64
"""Memory of a click without the text of its id."""

TYPED_BYTES = 112
"""Memory that an event type adds to a click, without its text."""

Event = RawId | tuple[RawId, str]
"""A click as it is stored: the item, with its event type where the request gave one."""


def typed(items: Sequence[RawId], event: str | None) -> Sequence[Event]:
    """Clicks of one request as they are stored: with the key of their event type, see `event_key`."""
    if event is None:
        return items
    kind = event_key(event)
    return [(item, kind) for item in items]


class Counting(NamedTuple):
    """Which events count as clicks, as the fit of a model read its log.

    >>> Counting().clicks([("a", "view"), ("a", "purchase"), "b", "b"])
    ['a', 'b', 'b']
    >>> Counting(events=("purchase",)).clicks([("a", "view"), ("b", "purchase"), ("b", "purchase")])
    ['b', 'b']
    """

    events: Sequence[str] | None = None  # keys of the types that count; None: all; clicks without a type always do
    collapse_repeats: bool | None = None  # see `sessionise`
    rare: Sequence[str] = ()  # keys of the types after the most frequent one, the rarest last

    @classmethod
    def of(cls, events: Iterable[str] | None, collapse_repeats: bool | None, rare: Iterable[str]) -> "Counting":
        """Event types by their names in a log."""
        kept = None if events is None else tuple(map(event_key, events))
        return cls(kept, collapse_repeats, tuple(map(event_key, rare)))

    def clicks(self, events: Iterable[Event]) -> list[RawId]:
        """Clicks of stored events, oldest first."""
        clicks = list[RawId]()
        for item, run in groupby(self._counted(events), itemgetter(0)):
            types = [kind for _, kind in run]
            once = len(set(types)) > 1 if self.collapse_repeats is None else self.collapse_repeats
            clicks += [item] * (1 if once else len(types))
        return clicks

    def last_type(self, events: Sequence[Event]) -> str | None:
        """The key of the type of the last click; of events on one item that are one click, the rarest."""
        counted = self._counted(reversed(events))
        run = next((run for _, run in groupby(counted, itemgetter(0))), ())
        types = [kind for _, kind in islice(run, 1 if self.collapse_repeats is False else None)]
        return max(types, key=lambda kind: self.rare.index(kind) if kind in self.rare else -1, default=None)

    def _counted(self, events: Iterable[Event]) -> Iterator[tuple[RawId, str | None]]:
        pairs = (one if isinstance(one, tuple) else (one, None) for one in events)
        return (one for one in pairs if self.events is None or one[1] is None or one[1] in self.events)


class _Session(NamedTuple):
    events: list[Event]
    expires: float
    size: int


class MemoryStore:
    """Sessions in this process; when memory runs out, the least recently used are dropped."""

    state: Literal["memory"] = "memory"

    def __init__(self, ttl: float, clicks: int, limit: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._ttl, self._clicks, self._limit, self._clock = ttl, clicks, limit, clock
        # All sessions live equally long after a click, so the order of clicks is also that of expiry.
        self._sessions: OrderedDict[str, _Session] = OrderedDict()
        self.size = 0

    def __len__(self) -> int:
        return len(self._sessions)

    async def append(self, session: str, items: Sequence[RawId], event: str | None = None) -> list[Event]:
        """Append clicks of an event type; returns all stored events of the session."""
        now = self._clock()
        self._expire(now)
        known = self._remove(session)
        events = [*(known.events if known else ()), *typed(items, event)][-self._clicks :]
        texts = [_text_bytes(one) for one in events]
        total, dropped = sum(texts), 0
        while total > SESSION_BYTES:
            total -= texts[dropped]
            dropped += 1
        del events[:dropped]
        size = ENTRY_BYTES + _text_bytes(session) + CLICK_BYTES * len(events) + total
        self._sessions[session] = _Session(events, now + self._ttl, size)
        self.size += size
        while self.size > self._limit and len(self._sessions) > 1:
            self._remove(next(iter(self._sessions)))
        return events.copy()

    async def events(self, session: str) -> list[Event]:
        """The events of a session, oldest first, none of an unknown one."""
        self._expire(self._clock())
        found = self._sessions.get(session)
        return found.events.copy() if found else []

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


def _text_bytes(value: Event) -> int:
    """Bytes of a text, and of an event type, beyond what every click is counted with; up to 4 per character."""
    if isinstance(value, tuple):
        return TYPED_BYTES + sum(map(_text_bytes, value))
    if isinstance(value, int):
        return 0
    return len(value) if value.isascii() else 4 * len(value)
