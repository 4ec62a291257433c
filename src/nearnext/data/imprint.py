"""What is kept of sessions so that they are recognised later: times, and digests instead of ids and items."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Any, Self, cast

import numpy as np
import polars as pl
from numpy.typing import NDArray

from nearnext.data.ids import canonical_integers
from nearnext.data.sessions import MICROSECONDS, Sessions
from nearnext.forks import require_polars
from nearnext.types import Int64Array

Digests = NDArray[np.uint64]

KEPT = 65_536
"""Digests of contents, and of ids, that a fitted model keeps at most: those of the smallest value, a fair sample."""

NONE = np.uint64(np.iinfo(np.uint64).max)
"""The content of a session that cannot be recognised."""

SHAPE = 3
"""Clicks that tell sessions apart by their items and pauses alone."""
SAMPLED = 16
"""Number of sessions whose shapes are counted per kept shape."""
TELLING = 0.8
"""Share of sessions whose shape no other has, from which on equal shapes of two logs are no chance."""

KINDS = {"contents": np.uint64, "ids": np.uint64, "ends": np.int64, "shapes": np.uint64}
"""The arrays of an imprint."""

FACTORS = (np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB))
GOLDEN = np.uint64(0x9E3779B97F4A7C15)


def _mixed(values: Digests) -> Digests:
    """The finaliser of SplitMix64, in place. Steele, Lea and Flood, *Fast Splittable Pseudorandom Numbers*, 2014."""
    values ^= values >> np.uint64(30)
    values *= FACTORS[0]
    values ^= values >> np.uint64(27)
    values *= FACTORS[1]
    values ^= values >> np.uint64(31)
    return values


def id_digests(ids: pl.Series) -> Digests:
    """A number for each id, the same in every process; text that spells an integer has that integer's: [n].

    >>> bool((id_digests(pl.Series([7, 8])) == id_digests(pl.Series(["7", "008"]))).tolist() == [True, False])
    True
    """
    if ids.dtype != pl.String:
        return _mixed(ids.cast(pl.Int64).to_numpy().astype(np.int64).view(np.uint64) + GOLDEN)
    numbers = canonical_integers(ids)
    digests = _mixed(numbers.fill_null(0).to_numpy().astype(np.int64).view(np.uint64) + GOLDEN)
    text = numbers.is_null().to_numpy()
    words = (blake2b(word.encode("utf-8", "replace"), digest_size=8).digest() for word in ids.filter(pl.Series(text)))
    digests[text] = np.frombuffer(b"".join(words), dtype="<u8")
    return digests


def content_digests(sessions: Sessions) -> Digests:
    """A number for each session that equal last clicks at equal seconds share, whatever the session is called: [S].

    Of the last two clicks, so that a session cut to its last clicks keeps its number. The largest number stands for
    sessions of one click, of clicks within one second, and of unknown last items: they cannot be recognised.
    """
    of_item = _item_digests(sessions)
    return np.concatenate([*(_contents(part, of_item) for part in sessions.parts()), np.zeros(0, np.uint64)])


Columns = tuple[NDArray[Any], ...]


def _smallest(parts: Iterable[Columns], limit: int | None) -> tuple[Columns, np.uint64]:
    """The rows of the smallest ``limit`` digests, the first column, those of equal ones included, and the largest.

    About twice as many rows are held, and a part, however many parts there are.
    """
    held, bound, most = list[Columns](), NONE, 2 * (limit or 0)
    for part in parts:
        held.append(_up_to(bound, part))
        if limit and sum(len(columns[0]) for columns in held) > most:
            held, bound = _cut(held, limit, bound)
            most = 2 * max(limit, len(held[0][0]))
    (rows,), bound = _cut(held, limit, bound)
    return rows, bound


def _cut(held: Sequence[Columns], limit: int | None, bound: np.uint64) -> tuple[list[Columns], np.uint64]:
    columns = tuple(map(np.concatenate, zip(*held, strict=True)))
    if limit is not None and len(columns[0]) > limit:
        bound = min(bound, np.partition(columns[0], limit - 1)[limit - 1])
    return [_up_to(bound, columns)], bound


def _up_to(bound: np.uint64, columns: Columns) -> Columns:
    return columns if bound == NONE else tuple(column[columns[0] <= bound] for column in columns)


def _contents(sessions: Sessions, of_item: Digests) -> Digests:
    ends, starts = sessions.offsets[1:] - 1, sessions.offsets[:-1]
    pairs = [np.maximum(ends - 1, starts), ends]
    items = np.concatenate([sessions.items[clicks] for clicks in pairs])
    seconds = np.concatenate([sessions.times[clicks] // MICROSECONDS for clicks in pairs])
    clicks = _mixed(of_item[items] + _mixed(seconds.view(np.uint64) + GOLDEN))
    before, last = np.split(clicks, 2)
    digests = _mixed(before * FACTORS[0] + last)
    unknown = (items == 0).reshape(2, -1).any(axis=0)
    digests[unknown | (sessions.starts // MICROSECONDS == sessions.ends // MICROSECONDS)] = NONE
    return digests


def _item_digests(sessions: Sessions) -> Digests:
    """The digest of each item that is clicked, by its index: [I + 1]."""
    used = np.flatnonzero(sessions.item_counts()[1:])
    of_item = np.zeros(sessions.n_items + 1, np.uint64)
    of_item[used + 1] = id_digests(sessions.vocabulary.ids.gather(used))
    return of_item


def lone_shapes(sessions: Sessions, limit: int | None = None) -> tuple[Digests, int]:
    """Numbers of the shapes that one session alone has, rising, and how many sessions have a shape.

    A shape is the last three items and the pauses between them, in seconds, whenever they were: a copy of a log with
    other times and other session ids has the same ones. With a limit, only about so many sessions are looked at, those
    of the smallest numbers.
    """
    of_item = _item_digests(sessions)
    (digests,), _ = _smallest(((_shapes(part, of_item),) for part in sessions.parts()), limit)
    shapes, counts = np.unique(digests, return_counts=True)
    return shapes[counts == 1], len(digests)


def _shapes(sessions: Sessions, of_item: Digests) -> Digests:
    last = (sessions.offsets[1:] - 1)[sessions.lengths >= SHAPE]
    items = sessions.items[last - 2], sessions.items[last - 1], sessions.items[last]
    last = last[np.minimum.reduce(items) > 0]
    digests = of_item[sessions.items[last - 2]]
    for click in (last - 1, last):
        pause = (sessions.times[click] - sessions.times[click - 1]) // MICROSECONDS
        of_click = of_item[sessions.items[click]] + _mixed(pause.view(np.uint64) + GOLDEN)
        digests = _mixed(digests * FACTORS[0] + of_click)
    return digests


def cut_by_pauses(ids: pl.Series) -> bool:
    """Whether sessions are parts ``u:1``, ``u:2`` of the clicks of a user u."""
    return ids.dtype == pl.String and bool(len(ids)) and bool(ids.str.contains(r":\d+$").all())


def session_keys(ids: pl.Series, by_user: bool) -> pl.Series:
    """The key of a visit: the session id, or the user u of sessions ``u:1``, ``u:2``."""
    return ids.str.replace(r":\d+$", "") if by_user else ids


@dataclass(frozen=True, eq=False)
class Imprint:
    """Digests of the training sessions, to detect later whether other sessions overlap with them; no raw ids."""

    sessions: int
    first_start: int
    last_start: int
    last_end: int
    contents: Digests  # [C]: distinct content digests, rising
    ids: Digests  # [K]: of session ids, or of users (by_user) whose sessions were cut by pauses, rising
    ends: Int64Array  # [K]: time of the last click under each of them, seconds
    by_user: bool = False
    numbered: bool = False  # session ids count up from 0 or 1, so that those of another log may mean other sessions
    bounds: tuple[int, int] = (int(NONE), int(NONE))  # the largest digests kept among contents and among ids
    shapes: Digests = field(default_factory=lambda: np.zeros(0, np.uint64))  # the smallest `lone_shapes`, if they tell

    @classmethod
    def of(cls, sessions: Sessions, limit: int | None = None) -> Self:
        """The imprint of sessions, at least one; ``limit`` digests of contents and of ids at most."""
        require_polars("recognising sessions that were learned from")
        of_item, by_user = _item_digests(sessions), cut_by_pauses(sessions.session_ids)
        (contents,), contents_bound = _smallest(((_contents(part, of_item),) for part in sessions.parts()), limit)
        contents = np.unique(contents[contents < NONE])
        keys = ((session_keys(part.session_ids, by_user), part.ends // MICROSECONDS) for part in sessions.parts())
        (ids, ends), ids_bound = _smallest(((id_digests(key), end) for key, end in keys), limit)
        order = np.lexsort((ends, ids))
        last = np.append(np.diff(ids[order]) > 0, True)  # of one id, the session that ends last
        shapes, n_shaped = lone_shapes(sessions, limit and SAMPLED * limit)
        ids, ends = ids[order][last], ends[order][last]
        starts = [(int(part.starts.min()), int(part.starts.max())) for part in sessions.parts()]
        return cls(
            sessions=sessions.n_sessions,
            first_start=min(first for first, _ in starts),
            last_start=max(last for _, last in starts),
            last_end=max(int(part.ends.max()) for part in sessions.parts()),
            contents=contents,
            ids=ids,
            ends=ends,
            by_user=by_user,
            numbered=numbered(sessions.session_ids),
            bounds=(int(contents_bound), int(ids_bound)),
            shapes=shapes[: limit or len(shapes)] if len(shapes) >= TELLING * n_shaped else shapes[:0],
        )

    def arrays(self) -> dict[str, NDArray[Any]]:
        """All of it as arrays, for a file."""
        facts = (self.sessions, self.first_start, self.last_start, self.last_end, self.by_user, self.numbered)
        return {name: getattr(self, name) for name in KINDS} | {
            "facts": np.array(facts, np.int64),
            "bounds": np.array(self.bounds, np.uint64),
        }

    @classmethod
    def from_arrays(cls, arrays: dict[str, NDArray[Any]]) -> Self:
        """The imprint that `arrays` gave; a KeyError or ValueError where something is missing."""
        for name, kind in KINDS.items():
            if arrays[name].dtype != kind or arrays[name].ndim != 1:
                raise ValueError(f"{name} of the training sessions are no list of {np.dtype(kind)}")
        sessions, first_start, last_start, last_end, by_user, numbered = map(int, arrays["facts"])
        of_contents, of_ids = map(int, arrays["bounds"])
        contents, ids, ends, shapes = (arrays[name] for name in KINDS)
        known = (sessions, first_start, last_start, last_end, contents, ids, ends)
        return cls(*known, bool(by_user), bool(numbered), (of_contents, of_ids), shapes)


def numbered(ids: pl.Series) -> bool:
    """Whether session ids count up from 0 or 1, so that equal ids of two logs may stand for different sessions."""
    numbers = ids if ids.dtype != pl.String else canonical_integers(ids)
    if not len(numbers) or numbers.null_count():
        return False
    lowest, highest = cast("tuple[int, int]", (numbers.min(), numbers.max()))
    return 0 <= lowest <= 1 and highest < 2 * len(numbers) + 1
