"""The list for one session in raw ids, and what a caller asks of it."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np

from nearnext.data.raw import raw_ids
from nearnext.data.vocabulary import Vocabulary
from nearnext.recommenders.ranking import Ranking
from nearnext.types import BoolArray, IndexArray, RawId

__all__ = ["Recommendation", "admissible_items", "recommendations", "unknown_ids"]


@dataclass(frozen=True)
class Recommendation:
    """The list for one session in raw ids.

    Attributes:
        items: raw ids, best first, at most k, all different.
        scores: one per item, falling; 0 where the item was filled in from popularity.
        own: how many leading items the method itself scored; the rest was filled in from popularity.
        unknown: ids of the session that training never saw; they were ignored.
        shortage: why fewer than k items are given, or None.
        unmatched: ids of ``exclude`` and ``allow`` that training never saw, so that they name no item.
    """

    items: list[RawId]
    scores: list[float]
    own: int
    unknown: list[RawId]
    shortage: str | None = None
    unmatched: list[RawId] = field(default_factory=list[RawId])


def admissible_items(
    vocabulary: Vocabulary, exclude: Iterable[RawId], allow: Iterable[RawId] | None
) -> tuple[BoolArray, list[RawId]]:
    """Which item indices may be recommended, [I + 1], and the ids of both options that the vocabulary lacks.

    Raises:
        DataError: a value that is no id.

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


def recommendations(
    ranking: Ranking, vocabulary: Vocabulary, unknown: Iterable[list[RawId]], unmatched: list[RawId]
) -> list[Recommendation]:
    """A ranking in raw ids; ``unknown`` are the ids of each session that training never saw."""
    result = list[Recommendation]()
    for row, lost in enumerate(unknown):
        items = ranking.items[row][ranking.items[row] > 0]
        n, k = len(items), ranking.k
        shortage = None if n == k else f"{n} of {k}: no further item may be recommended"
        scores = ranking.scores[row, :n].tolist()
        listed = vocabulary.decode(items)
        result.append(Recommendation(listed, scores, int(ranking.own[row]), lost, shortage, list(unmatched)))
    return result
