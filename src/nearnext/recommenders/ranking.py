"""Ranked lists of items: what a recommender answers to a batch of prefixes."""

from dataclasses import dataclass, replace

import numpy as np

from nearnext.errors import DataError
from nearnext.types import IndexArray, ScoreArray

__all__ = ["Ranking"]


@dataclass(frozen=True, eq=False)
class Ranking:
    """Ranked lists for B prefixes, k places each; the arrays become read-only.

    Attributes:
        items: distinct item indices, best first, 0 after the end of a list: [B, k].
        scores: score of each item, higher is better, 0 after the end of a list: [B, k].
        own: how many leading items the method itself scored; the rest was filled from popularity: [B], in 0..k.

    Raises:
        DataError: the arrays do not fit one another.

    >>> ranking = Ranking(np.array([[3, 1]], np.int32), np.array([[0.5, 0.0]], np.float32), np.array([1], np.int32))
    >>> len(ranking), ranking.k, ranking.unfilled().items.tolist()
    (1, 2, [[3, 0]])
    """

    items: IndexArray
    scores: ScoreArray
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
        """Places of each list."""
        return self.items.shape[1]

    def unfilled(self) -> "Ranking":
        """The lists without what was filled from popularity: beyond ``own``, items and scores are 0.

        >>> ranking = Ranking(np.ones((1, 1), np.int32), np.ones((1, 1), np.float32), np.zeros(1, np.int32))
        >>> ranking.unfilled().items.tolist()
        [[0]]
        """
        scored = np.arange(self.k) < self.own[:, np.newaxis]
        return replace(
            self,
            items=np.where(scored, self.items, 0).astype(np.int32, copy=False),
            scores=np.where(scored, self.scores, 0).astype(np.float32, copy=False),
        )
