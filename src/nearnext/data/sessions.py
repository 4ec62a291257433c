"""Sessions as frozen compressed arrays: all clicks in one row, cut by offsets."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from nearnext.data.blocks import BLOCK, concatenated, digest, empty_array, in_blocks, spans
from nearnext.data.event_weights import item_weights, joined_weights, require_weights
from nearnext.data.ids import series_of
from nearnext.data.raw import Moment, begins, indices, mask, raw_sessions
from nearnext.data.session_views import SessionViews
from nearnext.data.units import MICROSECONDS
from nearnext.data.vocabulary import Vocabulary, joined_ids
from nearnext.errors import DataError
from nearnext.options import require_type
from nearnext.types import BoolArray, FloatArray, IndexArray, Int64Array, RawId

if TYPE_CHECKING:
    from nearnext.data.imprint import Imprint


@dataclass(frozen=True, eq=False, repr=False)
class Sessions(SessionViews):
    """Click sessions in order of their start; session s is ``items[offsets[s]:offsets[s + 1]]``.

    Attributes:
        items: item index of each click, 0 for an item outside the vocabulary: [E].
        offsets: where each session begins, and the end of the last one: [S + 1].
        times: time of each click, microseconds since 1970 UTC, never falling inside a session: [E].
        vocabulary: raw ids of items 1..I.
        session_ids: raw id of each session: [S].
        targets: whether each click is to be predicted; None: all are: [E].
        weights: how much each click counts when it is learned from, at least 0; None: all count 1: [E].
        types: event type of each click as a position in ``event_types``, the most frequent type first; or None: [E].

    Raises:
        DataError: the arrays do not fit one another, or an item index is outside 0..I.

    >>> sessions = Sessions.of([["a", "b", "a"], ["b", "c"]])
    >>> sessions.n_sessions, sessions.n_events, sessions.n_items
    (2, 5, 3)
    """

    items: IndexArray
    offsets: Int64Array
    times: Int64Array
    vocabulary: Vocabulary
    session_ids: pl.Series
    targets: BoolArray | None = None
    weights: FloatArray | None = None
    types: NDArray[np.uint8] | None = None
    event_types: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        self._check()
        for array in (*self.per_click().values(), self.offsets):
            array.flags.writeable = False

    def per_click(self) -> dict[str, NDArray[Any]]:
        """The arrays that have a value for each click, by name: [E] each."""
        names = ("items", "times", "targets", "weights", "types")
        return {name: array for name in names if (array := getattr(self, name)) is not None}

    def _check(self) -> None:
        n_events = len(self.items)
        sizes = {name: len(array) for name, array in self.per_click().items()}
        if len(set(sizes.values())) > 1 or len(self.session_ids) + 1 != len(self.offsets):
            raise DataError(
                "expected as many times as items and one more offset than session ids, found "
                f"{sizes}, {len(self.offsets)} offsets, {len(self.session_ids)} ids"
            )
        if self.offsets[0] != 0 or self.offsets[-1] != n_events or np.any(self.offsets[1:] <= self.offsets[:-1]):
            raise DataError("expected offsets that rise from 0 to the number of clicks; every session needs a click")
        if n_events and (self.items.min() < 0 or self.items.max() > len(self.vocabulary)):
            raise DataError(f"expected item indices in 0..{len(self.vocabulary)}, found {self.items.max()}")
        require_weights(self.weights)

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
        flat: list[RawId] = series_of([raw for session in given for raw in session])[0].to_list()
        begin = np.arange(len(given)) * 3600 * MICROSECONDS if starts is None else begins(starts, len(given))
        vocabulary = Vocabulary.of(list(dict.fromkeys(flat)))
        sessions = cls(
            items=vocabulary.encode(flat),
            offsets=np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64),
            times=np.repeat(begin, lengths) + spans(np.zeros_like(lengths), lengths) * MICROSECONDS,
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
    def predicted(self) -> BoolArray:
        """Whether each click is to be predicted: [E]."""
        return np.ones(self.n_events, np.bool_) if self.targets is None else self.targets

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
        counts = np.zeros(self.n_items + 1, np.int64)
        for items in in_blocks(self.items):
            counts += np.bincount(items, minlength=len(counts))
        return counts

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

        Consecutive sessions are views of the clicks; others are copied.

        Raises:
            DataError: a mask of another length, or a position that no session has.

        >>> Sessions.of([["a"], ["b"]]).select([1]).raw(0)
        ['b']
        """
        if getattr(which, "dtype", None) == np.bool_:
            positions = np.flatnonzero(mask("sessions", which, self.n_sessions))
        else:
            positions = indices("sessions", which, 0, self.n_sessions - 1, "give positions from 0, or a mask in numpy")
        if len(positions) and np.all(positions[1:] == positions[:-1] + 1):
            return self._slice(int(positions[0]), int(positions[-1]) + 1)
        firsts, lengths = self.offsets[positions], self.lengths[positions]
        offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
        chosen = {name: empty_array(int(offsets[-1]), array.dtype) for name, array in self.per_click().items()}
        for first in range(0, len(positions), BLOCK):
            part = slice(first, first + BLOCK)
            here = slice(int(offsets[first]), int(offsets[min(first + BLOCK, len(positions))]))
            events = spans(firsts[part], lengths[part])
            for name, array in self.per_click().items():
                chosen[name][here] = array[events]
        return replace(self, **chosen, offsets=offsets, session_ids=self.session_ids.gather(positions))

    def _slice(self, begin: int, end: int) -> "Sessions":
        """Sessions begin..end − 1, which share these clicks."""
        if (begin, end) == (0, self.n_sessions):
            return self
        clicks = slice(int(self.offsets[begin]), int(self.offsets[end]))
        return replace(
            self,
            **{name: array[clicks] for name, array in self.per_click().items()},
            offsets=self.offsets[begin : end + 1] - self.offsets[begin],
            session_ids=self.session_ids.slice(begin, end - begin),
        )

    def parts(self) -> Iterator["Sessions"]:
        """These sessions in consecutive parts of at most a block of clicks, or one session; clicks are shared."""
        begin = 0
        while begin < self.n_sessions:
            end = int(np.searchsorted(self.offsets, int(self.offsets[begin]) + BLOCK, side="right")) - 1
            end = max(end, begin + 1)
            yield self._slice(begin, end)
            begin = end

    def keep_events(self, kept: BoolArray) -> "Sessions":
        """The same sessions without the clicks masked out; a session left without clicks goes too: kept [E].

        Raises:
            DataError: no mask of this length.
        """
        kept = mask("clicks", kept, self.n_events)
        if kept.all():
            return self
        left = self.lengths_of(kept)
        return replace(
            self,
            **{name: array[kept] for name, array in self.per_click().items()},
            offsets=np.concatenate([[0], np.cumsum(left[left > 0])]).astype(np.int64),
            session_ids=self.session_ids.filter(pl.Series(left > 0)),
        )

    def lengths_of(self, kept: BoolArray) -> Int64Array:
        """Clicks of each session that a mask keeps: kept [E], result [S]."""
        lengths = [np.zeros(0, np.int64)]
        for part in self.parts():
            kept_here, kept = np.split(kept, [part.n_events])
            lengths.append(np.add.reduceat(kept_here, part.offsets[:-1], dtype=np.int64))
        return np.concatenate(lengths)

    def with_vocabulary(self, vocabulary: Vocabulary) -> "Sessions":
        """The same clicks in another vocabulary; items that it lacks become 0."""
        require_type("vocabulary", vocabulary, Vocabulary, "make it with Vocabulary.of(ids)")
        if vocabulary is self.vocabulary:
            return self
        new_index = np.zeros(self.n_items + 1, dtype=np.int32)
        new_index[1:] = vocabulary.encode(self.vocabulary.ids)
        items = empty_array(self.n_events, self.items.dtype)
        for new, old in zip(in_blocks(items), in_blocks(self.items), strict=True):
            new[:] = new_index[old]
        return replace(self, items=items, vocabulary=vocabulary)

    def reindexed(self) -> "Sessions":
        """The same clicks in the vocabulary of these sessions alone, the most clicked item first.

        Equal counts keep the order of first appearance. So "equal scores are ranked by ``item_index``" means "the more
        popular item first" everywhere in nearnext.

        Raises:
            DataError: a click has an unknown item, so that it has no raw id to keep.
        """
        order = self.by_popularity()
        ordered = np.array_equal(order, np.arange(1, self.n_items + 1))
        return self if ordered else self.with_vocabulary(Vocabulary(self.vocabulary.ids.gather(order - 1)))

    def by_popularity(self) -> Int64Array:
        """Indices of clicked items by falling sum of weights, equal ones by their first click: [n]."""
        counts = self.item_counts()
        if counts[0]:
            raise DataError("expected known items only, found clicks on unknown items; drop them before reindexing")
        first = np.zeros_like(counts)
        for begin in reversed(range(0, self.n_events, BLOCK)):
            items = self.items[begin : begin + BLOCK]
            first[items[::-1]] = np.arange(begin, begin + len(items))[::-1]  # of equal indices the last one stays
        present = np.flatnonzero(counts)
        return present[np.lexsort((first[present], -item_weights(self, counts)[present]))]

    def followed_by(self, later: "Sessions") -> "Sessions":
        """These sessions, then others, without event types, in a vocabulary of both; all ids are texts if some are."""
        require_sessions("later sessions", later)
        new = later.vocabulary.ids.filter(pl.Series(self.vocabulary.encode(later.vocabulary.ids) == 0))
        vocabulary = Vocabulary(joined_ids(self.vocabulary.ids, new))
        return Sessions(
            items=concatenated([self.items, later.with_vocabulary(vocabulary).items]),
            offsets=np.concatenate([self.offsets, later.offsets[1:] + self.n_events]),
            times=concatenated([self.times, later.times]),
            vocabulary=vocabulary,
            session_ids=joined_ids(self.session_ids, later.session_ids),
            targets=None if self.targets is later.targets is None else np.append(self.predicted, later.predicted),
            weights=joined_weights(self, later),
        )

    @cached_property
    def imprint(self) -> "Imprint":
        """What a model that is fitted on these sessions keeps of them, to recognise them in a test log."""
        from nearnext.data.imprint import KEPT, Imprint  # it is made of sessions

        return Imprint.of(self, KEPT)

    def fingerprint(self) -> str:
        """SHA-256 of the clicks, times and raw ids: equal data have equal fingerprints, on every machine."""
        arrays = (self.items, self.offsets, self.times, self.targets, self.weights)
        return digest([one for one in arrays if one is not None], (self.vocabulary.ids, self.session_ids))


def require_sessions(name: str, value: object) -> None:
    """A check that an argument is `Sessions`; the `ConfigError` says how to make them."""
    split = hasattr(value, "train") and hasattr(value, "test")
    remedy = "give split.train or split.test" if split else "make them with Sessions.of(lists) or read_sessions(log)"
    require_type(name, value, Sessions, remedy)
