"""Ranked lists: computed chunk by chunk in threads as item indices, and given to users as raw ids."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np
import polars as pl

from nearnext.data.prefixes import Prefixes
from nearnext.data.raw import raw_ids
from nearnext.data.vocabulary import Vocabulary
from nearnext.errors import DataError
from nearnext.options import require_type
from nearnext.processes import in_threads
from nearnext.shown import Shown
from nearnext.topk import best_columns, exclude_clicks, fill_from_popularity, no_lists
from nearnext.types import BoolArray, IndexArray, Int64Array, RawId, Rows, ScoreArray

CHUNK = 1024
"""Prefixes ranked by one call of a kernel: small enough for a live progress bar, large enough to hide the call."""

MOST_LISTS, MOST_LISTED = 32_768, 1 << 22
"""Most lists, and most items in them, that are held at a time."""

BLOCK_BYTES = 64 * 2**20
"""Memory of the scores of all items that are computed together."""


@dataclass(frozen=True, eq=False)
class Request:
    """What a list must respect: its length, the admissible item indices [I + 1], and whether seen items may return."""

    k: int
    admissible: BoolArray
    exclude_seen: bool = False


RankChunk = Callable[[Prefixes, Request, IndexArray, ScoreArray], IndexArray]
"""Ranks B prefixes in one thread into zeroed items and scores [B, k]; returns the own length of each list: [B]."""


@dataclass(frozen=True, eq=False)
class Ranking:
    """Lists of at most k items for B prefixes; the arrays become read-only.

    >>> ranking = Ranking(np.array([[3, 1]], np.int32), np.array([[0.5, 0.0]], np.float32), np.array([1], np.int32))
    >>> len(ranking), ranking.k, ranking.unfilled().items.tolist()
    (1, 2, [[3, 0]])
    """

    items: IndexArray  # distinct item indices, best first, 0 after the end of a list: [B, k]
    scores: ScoreArray  # score of each item, higher is better, 0 after the end of a list: [B, k]
    # how many leading items the method itself scored; the rest was filled from popularity: [B], in 0..k
    own: IndexArray

    def __post_init__(self) -> None:
        shape = self.items.shape
        if self.items.ndim != 2 or self.scores.shape != shape or self.own.shape != shape[:1]:  # noqa: PLR2004
            raise DataError(
                f"expected items [B, k], scores [B, k] and own [B], found {list(shape)}, {list(self.scores.shape)} and "
                f"{list(self.own.shape)}; give each list one row of items and scores and one number of own items"
            )
        for array in (self.items, self.scores, self.own):
            array.flags.writeable = False

    def __len__(self) -> int:
        return len(self.items)

    @property
    def k(self) -> int:
        """Maximum length of a list."""
        return self.items.shape[1]

    def take(self, rows: Rows) -> "Ranking":
        """The lists of some prefixes, in this order."""
        return Ranking(self.items[rows], self.scores[rows], self.own[rows])

    def unfilled(self) -> "Ranking":
        """The lists without what was filled from popularity: beyond ``own``, items and scores are 0."""
        scored = np.arange(self.k) < self.own[:, np.newaxis]
        return replace(
            self,
            items=np.where(scored, self.items, 0).astype(np.int32, copy=False),
            scores=np.where(scored, self.scores, 0).astype(np.float32, copy=False),
        )


def lists_at_a_time(k: int) -> int:
    """How many lists of k items, at least 1, are held at a time where a log has many.

    >>> lists_at_a_time(20), lists_at_a_time(1_000_000)
    (32768, 4)
    """
    return max(1, min(MOST_LISTS, MOST_LISTED // k))


def require_known_items(prefixes: Prefixes, admissible: BoolArray | None, n_items: int) -> None:
    """Check that prefixes and a mask of item indices fit a vocabulary of ``n_items`` items."""
    require_type("prefixes", prefixes, Prefixes, "make them with Prefixes.every(sessions)")
    size = max(int(prefixes.items.max(initial=0)) + 1, 0 if admissible is None else len(admissible))
    if size > n_items + 1:
        raise DataError(
            f"expected item indices in 0..{n_items}, found {size - 1}; bring the sessions into this recommender's "
            "vocabulary first: sessions.with_vocabulary(recommender.vocabulary)"
        )


def filled(rank_own: RankChunk) -> RankChunk:
    """Rank chunks of prefixes and fill short lists from popularity."""

    def rank_chunk(prefixes: Prefixes, request: Request, items: IndexArray, scores: ScoreArray) -> IndexArray:
        own = rank_own(prefixes, request, items, scores)
        clicks, starts, ends = prefixes.items, prefixes.starts, prefixes.ends
        fill_from_popularity(items, own, request.admissible, clicks, starts, ends, request.exclude_seen)
        return own

    return rank_chunk


def ranked_by_scores(score: Callable[[Prefixes], ScoreArray], n_items: int, n_bytes: int | None = None) -> RankChunk:
    """Rank every item by its score; ``score`` gives those of item j + 1 in column j, −∞ for an item left out: [B, I].

    Scores are computed in blocks of ``n_bytes``, by default `BLOCK_BYTES`, and may be overwritten.
    """
    n_rows = max(1, (n_bytes or BLOCK_BYTES) // (4 * n_items))

    def rank_chunk(prefixes: Prefixes, request: Request, items: IndexArray, scores: ScoreArray) -> IndexArray:
        own = np.zeros(len(prefixes), dtype=np.int32)
        for begin in range(0, len(prefixes), n_rows):
            part = prefixes.slice(begin, begin + n_rows)
            values = score(part)
            if request.exclude_seen:
                exclude_clicks(part.items, part.starts, part.ends, values, 0)
            for row, at in enumerate(range(begin, begin + len(part))):
                own[at] = best_columns(values[row], request.admissible, items[at], scores[at])
        return own

    return rank_chunk


def rank_in_chunks(
    make_ranker: Callable[[], RankChunk],
    prefixes: Prefixes,
    request: Request,
    *,
    threads: int | None = None,
    advance: Callable[[int], None] | None = None,
    kept: list[RankChunk] | None = None,
) -> Ranking:
    """Lists for all prefixes; one of the rankers that are ``kept`` from call to call is used, or added, for a chunk."""
    items, scores, own = no_lists(len(prefixes), request.k)
    if kept is None or len(prefixes) > CHUNK:
        kept = []

    def work(begins: Iterable[int]) -> None:
        try:
            rank_chunk = kept.pop()
        except IndexError:  # none, or another thread was faster
            rank_chunk = make_ranker()
        for begin in begins:
            rows = slice(begin, begin + CHUNK)
            part = prefixes.slice(begin, begin + CHUNK)
            own[rows] = rank_chunk(part, request, items[rows], scores[rows])
            if advance is not None:
                advance(len(part))
        kept.append(rank_chunk)

    in_threads(work, range(0, len(prefixes), CHUNK), threads)
    return Ranking(items, scores, own)


Source = Literal["model", "cold", "similar", "popular"]
"""What an item of a list comes from, see `Recommendation`."""


@dataclass(frozen=True)
class Recommendation(Shown):
    """The list for one session in raw ids.

    Attributes:
        items: raw ids, best first, at most k, all different.
        scores: one per item, falling; 0 where the item was filled in from popularity.
        own: how many leading items the method itself scored; the rest was filled in from popularity.
        unknown: ids of the session that training never saw; they were ignored.
        shortage: why fewer than k items are given, or None.
        unmatched: ids of ``exclude`` and ``allow`` that training never saw, so that they name no item.
        sources: what each item comes from: ``model``, the method itself; ``cold``, also the method, for an item without
            clicks; ``similar``, as it is like other items; ``popular``, filled in from popularity.
    """

    items: list[RawId]
    scores: list[float]
    own: int
    unknown: list[RawId]
    shortage: str | None = None
    unmatched: list[RawId] = field(default_factory=list[RawId])
    sources: list[Source] = field(default_factory=list[Source], repr=False)

    def __len__(self) -> int:
        return len(self.items)

    def __bool__(self) -> bool:
        return True

    def __getitem__(self, rank: int) -> RawId:
        """The item at a 0-based position, best first."""
        return self.items[rank]

    def to_frame(self) -> pl.DataFrame:
        """One row per item: rank, item_id, score, source."""
        n = len(self.items)
        return pl.DataFrame(
            {
                "rank": range(1, n + 1),
                "item_id": self.items,
                "score": self.scores,
                "source": self.sources or [None] * n,
            },
            schema_overrides={"rank": pl.Int64, "score": pl.Float64, "source": pl.String},
        )

    def title(self) -> str:
        """The number of items, and why some are missing."""
        lost = f"unknown to training: {', '.join(map(str, self.unknown))}" if self.unknown else ""
        return "; ".join(filter(None, (f"{len(self.items)} items", self.shortage, lost)))


def admissible_items(
    vocabulary: Vocabulary, exclude: Iterable[RawId], allow: Iterable[RawId] | None
) -> tuple[BoolArray, list[RawId]]:
    """Which item indices may be recommended, [I + 1], and the ids of both options that the vocabulary lacks.

    >>> mask, unmatched = admissible_items(Vocabulary.of(["a", "b"]), exclude=["a", "z"], allow=None)
    >>> mask.tolist(), unmatched
    ([False, False, True], ['z'])
    """
    mask, unmatched = np.full(len(vocabulary) + 1, allow is None), list[RawId]()
    for option, ids in (("allow", () if allow is None else allow), ("exclude", exclude)):
        named = raw_ids(option, ids)
        indices = vocabulary.encode(named)
        unmatched += unknown_ids(named, indices)
        mask[indices] = option == "allow"
    mask[0] = False
    return mask, unmatched


def unknown_ids(raw: Sequence[RawId], indices: IndexArray) -> list[RawId]:
    """The ids whose index is 0."""
    return [one for one, index in zip(raw, indices.tolist(), strict=True) if not index]


def shortage_of(n: int, k: int, lacking: str = "may be recommended") -> str | None:
    """Why a list of k items has n; None where it has them all.

    >>> shortage_of(3, 5), shortage_of(5, 5)
    ('3 of 5: no further item may be recommended', None)
    """
    return None if n == k else f"{n} of {k}: no further item {lacking}"


def sources_of(clicks: Int64Array, filled_in: BoolArray) -> list[Source]:
    """What listed items come from, by their training clicks and whether they were filled in from popularity: [n]."""
    return np.where(filled_in, "popular", np.where(clicks > 0, "model", "cold")).tolist()


def recommendations(
    ranking: Ranking,
    k: int,
    vocabulary: Vocabulary,
    clicks: Int64Array,
    unknown: Iterable[list[RawId]],
    unmatched: list[RawId],
) -> list[Recommendation]:
    """A ranking in raw ids.

    Args:
        ranking: of item indices.
        k: length of the lists that were asked for.
        vocabulary: of the items.
        clicks: in training, of each item: [I + 1].
        unknown: the ids of each session that training never saw.
        unmatched: ids that name no item.
    """
    result = list[Recommendation]()
    for row, lost in enumerate(unknown):
        items = ranking.items[row][ranking.items[row] > 0]
        scores, shortage = ranking.scores[row, : len(items)].tolist(), shortage_of(len(items), k)
        own, listed = int(ranking.own[row]), vocabulary.decode(items)
        sources = sources_of(clicks[items], np.arange(len(items)) >= own)
        result.append(Recommendation(listed, scores, own, lost, shortage, list(unmatched), sources))
    return result
