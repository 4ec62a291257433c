"""Sessions as frozen compressed arrays: all clicks in one row, cut by offsets."""

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from nearnext.data.raw import Moment, indices, microseconds_of, one_type, raw_sessions, raw_values
from nearnext.data.vocabulary import Vocabulary
from nearnext.errors import ConfigError, DataError
from nearnext.options import require_type
from nearnext.types import BoolArray, IndexArray, Int64Array, RawId

if TYPE_CHECKING:
    from nearnext.data.imprint import Imprint

MICROSECONDS = 1_000_000


@dataclass(frozen=True, eq=False)
class Sessions:
    """Click sessions in order of their start; session s is ``items[offsets[s]:offsets[s + 1]]``.

    Attributes:
        items: item index of each click, 0 for an item outside the vocabulary: [E].
        offsets: where each session begins, and the end of the last one: [S + 1].
        times: time of each click, microseconds since 1970 UTC, never falling inside a session: [E].
        vocabulary: raw ids of items 1..I.
        session_ids: raw id of each session: [S].

    Raises:
        DataError: the arrays do not fit one another, or an item index is outside 0..I.

    >>> sessions = Sessions.of([["a", "b", "a"], ["b", "c"]])
    >>> sessions.n_sessions, sessions.n_events, sessions.n_items
    (2, 5, 3)
    >>> sessions.raw(1)
    ['b', 'c']
    """

    items: IndexArray
    offsets: Int64Array
    times: Int64Array
    vocabulary: Vocabulary
    session_ids: pl.Series

    def __post_init__(self) -> None:
        self._check()
        for array in (self.items, self.offsets, self.times):
            array.flags.writeable = False

    def _check(self) -> None:
        n_events = len(self.items)
        if len(self.times) != n_events or len(self.session_ids) + 1 != len(self.offsets):
            raise DataError(
                f"expected as many times as items and one more offset than session ids, found {n_events} items, "
                f"{len(self.times)} times, {len(self.offsets)} offsets, {len(self.session_ids)} ids"
            )
        if self.offsets[0] != 0 or self.offsets[-1] != n_events or np.any(np.diff(self.offsets) < 1):
            raise DataError("expected offsets that rise from 0 to the number of clicks; every session needs a click")
        if n_events and (self.items.min() < 0 or self.items.max() > len(self.vocabulary)):
            raise DataError(f"expected item indices in 0..{len(self.vocabulary)}, found {self.items.max()}")

    @classmethod
    def of(cls, clicks: Iterable[Iterable[RawId]], starts: Iterable[Moment] | None = None) -> "Sessions":
        """Sessions from raw ids; click j of session s happens j seconds after ``starts[s]``.

        Items are indexed by falling popularity.

        Args:
            clicks: integer or text ids of each session, oldest click first, in lists, tuples, generators, arrays or
                columns; where some ids are texts, all are: 7 becomes ``"7"``.
            starts: seconds since 1970 UTC, datetimes or ISO texts, one for each session; by default session s starts
                at hour s.

        Raises:
            DataError: a flat list or a text instead of sessions, a session without clicks, or a value that is no id.
            ConfigError: a start that is no time, or not as many starts as sessions.

        >>> Sessions.of([["a", "b"], ["b"]]).items.tolist()
        [2, 1, 1]
        """
        given = raw_sessions(clicks)
        lengths = np.fromiter(map(len, given), np.int64, count=len(given))
        if not lengths.all():
            raise DataError(f"expected clicks in every session, found none in session {lengths.argmin()}; leave it out")
        flat = one_type([raw for session in given for raw in session])
        begin = np.arange(len(given)) * 3600 * MICROSECONDS if starts is None else _begins(starts, len(given))
        within = np.arange(len(flat)) - np.repeat(np.cumsum(lengths) - lengths, lengths)
        vocabulary = Vocabulary.of(list(dict.fromkeys(flat)))
        sessions = cls(
            items=vocabulary.encode(flat),
            offsets=np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64),
            times=np.repeat(begin, lengths) + within * MICROSECONDS,
            vocabulary=vocabulary,
            session_ids=pl.Series("session_id", np.arange(len(given), dtype=np.int64)),
        )
        return sessions.select(np.argsort(sessions.starts, kind="stable")).reindexed()

    @property
    def n_sessions(self) -> int:
        """Number of sessions S."""
        return len(self.offsets) - 1

    @property
    def n_events(self) -> int:
        """Number of clicks E."""
        return len(self.items)

    @property
    def n_items(self) -> int:
        """Number of items I in the vocabulary."""
        return len(self.vocabulary)

    @property
    def lengths(self) -> Int64Array:
        """Clicks of each session: [S]."""
        return np.diff(self.offsets)

    @property
    def starts(self) -> Int64Array:
        """Time of each session's first click, microseconds: [S]."""
        return self.times[self.offsets[:-1]]

    @property
    def ends(self) -> Int64Array:
        """Time of each session's last click, microseconds: [S]."""
        return self.times[self.offsets[1:] - 1]

    def item_counts(self) -> Int64Array:
        """Clicks of each item index; position 0 counts unknown items: [I + 1]."""
        return np.bincount(self.items, minlength=self.n_items + 1).astype(np.int64)

    def session_of_event(self) -> Int64Array:
        """Index of the session that each click belongs to: [E]."""
        return np.repeat(np.arange(self.n_sessions), self.lengths)

    def raw(self, session: int) -> list[RawId]:
        """Raw ids of one session's known clicks, in order.

        Raises:
            DataError: no session has this number.
        """
        session = int(indices("a session", [session], 0, self.n_sessions - 1, "they are counted from 0")[0])
        items = self.items[self.offsets[session] : self.offsets[session + 1]]
        return self.vocabulary.decode(items[items > 0])

    def select(self, which: BoolArray | Int64Array | Sequence[int]) -> "Sessions":
        """The chosen sessions (a mask, or positions in the order to give), with the same vocabulary.

        Raises:
            DataError: a mask of another length, or a position that no session has.

        >>> Sessions.of([["a"], ["b"]]).select([1]).raw(0)
        ['b']
        """
        if getattr(which, "dtype", None) == np.bool_:
            positions = np.flatnonzero(_mask("sessions", which, self.n_sessions))
        else:
            positions = indices("sessions", which, 0, self.n_sessions - 1, "give positions from 0, or a mask in numpy")
        lengths = self.lengths[positions]
        offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
        events = np.repeat(self.offsets[positions] - offsets[:-1], lengths) + np.arange(int(offsets[-1]))
        return replace(
            self,
            items=self.items[events],
            offsets=offsets,
            times=self.times[events],
            session_ids=self.session_ids.gather(positions),
        )

    def keep_events(self, kept: BoolArray) -> "Sessions":
        """The same sessions without the clicks masked out; a session left without clicks goes too: kept [E].

        Raises:
            DataError: no mask of this length.
        """
        kept = _mask("clicks", kept, self.n_events)
        lengths = np.add.reduceat(kept, self.offsets[:-1], dtype=np.int64) if self.n_sessions else np.zeros(0, np.int64)
        alive = lengths > 0
        return replace(
            self,
            items=self.items[kept],
            offsets=np.concatenate([[0], np.cumsum(lengths[alive])]).astype(np.int64),
            times=self.times[kept],
            session_ids=self.session_ids.filter(pl.Series(alive)),
        )

    def with_vocabulary(self, vocabulary: Vocabulary) -> "Sessions":
        """The same clicks in another vocabulary; items that it lacks become 0."""
        require_type("vocabulary", vocabulary, Vocabulary, "make it with Vocabulary.of(ids)")
        new_index = np.zeros(self.n_items + 1, dtype=np.int32)
        new_index[1:] = vocabulary.encode(self.vocabulary.ids)
        return replace(self, items=new_index[self.items], vocabulary=vocabulary)

    def reindexed(self) -> "Sessions":
        """The same clicks in the vocabulary of these sessions alone, the most clicked item first.

        Equal counts keep the order of first appearance. Because of this order, "equal scores are ranked by
        ``item_index``" means "the more popular item first" everywhere in nearnext.

        Raises:
            DataError: a click has an unknown item, so that it has no raw id to keep.
        """
        if self.n_events and self.items.min() == 0:
            raise DataError("expected known items only, found clicks on unknown items; drop them before reindexing")
        counts = self.item_counts()
        first = np.zeros_like(counts)
        first[self.items[::-1]] = np.arange(self.n_events)[::-1]  # of equal indices the last assignment stays
        present = np.flatnonzero(counts)
        order = np.lexsort((first[present], -counts[present]))
        return self.with_vocabulary(Vocabulary(self.vocabulary.ids.gather(present[order] - 1)))

    def followed_by(self, later: "Sessions") -> "Sessions":
        """These sessions and then others, in a vocabulary of both: known items keep their index, new ones come after.

        Where one side has integer ids and the other strings, all are strings: 7 and ``"7"`` are the same item.
        """
        require_sessions("later sessions", later)
        new = later.vocabulary.ids.filter(pl.Series(self.vocabulary.encode(later.vocabulary.ids) == 0))
        vocabulary = Vocabulary(_joined(self.vocabulary.ids, new))
        return Sessions(
            items=np.concatenate([self.items, later.with_vocabulary(vocabulary).items]),
            offsets=np.concatenate([self.offsets, later.offsets[1:] + self.n_events]),
            times=np.concatenate([self.times, later.times]),
            vocabulary=vocabulary,
            session_ids=_joined(self.session_ids, later.session_ids),
        )

    @cached_property
    def imprint(self) -> "Imprint":
        """What a model that is fitted on these sessions keeps of them, to recognise them in a test log."""
        from nearnext.data.imprint import KEPT, Imprint  # it is made of sessions

        return Imprint.of(self, KEPT)

    def fingerprint(self) -> str:
        """SHA-256 of the clicks, times and raw ids: equal data have equal fingerprints, on every machine."""
        digest = hashlib.sha256()
        for array in (self.items, self.offsets, self.times):
            digest.update(np.ascontiguousarray(array.astype(array.dtype.newbyteorder("<"))).tobytes())
        for ids in (self.vocabulary.ids, self.session_ids):
            digest.update(str(ids.dtype).encode())
            digest.update("\x1f".join(map(str, ids.to_list())).encode())
        return digest.hexdigest()


def _mask(name: str, values: object, n: int) -> BoolArray:
    mask = np.asarray(values)
    if mask.dtype != np.bool_ or mask.shape != (n,):
        raise DataError(
            f"expected a mask of {n} {name}, found values of type {mask.dtype} in shape {list(mask.shape)}; "
            "give True or False for each"
        )
    return mask


def _begins(starts: object, n_sessions: int) -> Int64Array:
    moments = [
        microseconds_of(f"start of session {number}", one) for number, one in enumerate(raw_values("starts", starts))
    ]
    if len(moments) != n_sessions:
        raise ConfigError(f"expected a start for each of {n_sessions} sessions, found {len(moments)}")
    return np.array(moments, dtype=np.int64)


def _joined(ids: pl.Series, others: pl.Series) -> pl.Series:
    """One column of both; text where only one of them is."""
    return pl.concat([ids, others] if ids.dtype == others.dtype else [ids.cast(pl.String), others.cast(pl.String)])


def require_sessions(name: str, value: object) -> None:
    """A check that an argument is `Sessions`.

    Raises:
        ConfigError: it is not; the message says how to make them.

    >>> require_sessions("test sessions", Sessions.of([["a"]]))
    """
    split = hasattr(value, "train") and hasattr(value, "test")
    remedy = "give split.train or split.test" if split else "make them with Sessions.of(lists) or read_sessions(log)"
    require_type(name, value, Sessions, remedy)
