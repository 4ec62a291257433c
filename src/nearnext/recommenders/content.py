"""Content-based baselines: popular items of the session's categories, and items similar to its clicks."""

from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np
from scipy.sparse import csr_matrix

from nearnext.data.blocks import spans
from nearnext.data.item_features import ItemFeatures, Sparse, unit_rows
from nearnext.data.items import ItemTable
from nearnext.data.prefixes import Prefixes
from nearnext.data.sessions import Sessions
from nearnext.options import Count
from nearnext.recommenders.base import Recommender
from nearnext.recommenders.method import State
from nearnext.recommenders.ranking import RankChunk, ranked_by_scores
from nearnext.types import ScoreArray

SPARSE_BYTES = 8 * 2**20
"""Memory of the scores that are computed together; sparse products take six times as much."""
UNCLICKED = 0.5
"""Pseudo-clicks of an item without clicks, so that it is listed after the others."""


@dataclass(eq=False)
class Content(Recommender):
    """A method that scores each item by its attributes and those of the session's last clicks.

    Without an item table, lists are by popularity.

    Attributes:
        last: number of last clicks that count.
    """

    last: Count = 10

    described: Sparse = field(init=False, repr=False, default=None)

    def _take_in(self, items: ItemTable, sessions: Sessions) -> None:  # noqa: ARG002 - the table says it all
        self._add_unclicked(items.beyond(self.vocabulary))
        self._describe(items)

    def _restore(self, state: State) -> None:  # noqa: ARG002 - described again
        if self.items is not None:
            self._describe(self.items)

    def _describe(self, items: ItemTable) -> None:
        """Set the features of the items: [I, F]."""
        table = items.of(self.vocabulary.ids)
        self.described = unit_rows(ItemFeatures.of(table).rows(self._kept(table)))

    def _kept(self, table: ItemTable) -> ItemTable:
        """The feature columns that the method uses."""
        return table

    def _weighted(self, scores: ScoreArray) -> ScoreArray:
        """Scores from similarities of items to the session's clicks: [B, I], changed in place."""
        return scores

    def _scores(self, prefixes: Prefixes) -> ScoreArray:
        if self.described is None:
            return np.full((len(prefixes), len(self.vocabulary)), -np.inf, dtype=np.float32)
        alike: Any = self._clicked(prefixes) @ self.described @ self.described.T
        values = self._weighted(alike.toarray().astype(np.float32))
        values[values <= 0] = -np.inf
        return values

    def _ranker(self) -> RankChunk:
        return ranked_by_scores(self._scores, len(self.vocabulary), SPARSE_BYTES)

    def _clicked(self, prefixes: Prefixes) -> Sparse:
        """How often each item is among the last clicks of each prefix: [B, I]."""
        starts = np.maximum(prefixes.starts, prefixes.ends - self.last)
        lengths = prefixes.ends - starts
        rows = np.repeat(np.arange(len(prefixes)), lengths)
        clicks = prefixes.items[spans(starts, lengths)]
        known = clicks > 0
        shape = (len(prefixes), len(self.vocabulary))
        return csr_matrix((np.ones(int(known.sum())), (rows[known], clicks[known] - 1)), shape=shape)


@dataclass(eq=False)
class ContentKNN(Content):
    """content-knn: the items most similar to the session's last clicks, by the sum of attribute cosines.

    >>> import polars as pl
    >>> from nearnext.data.items import read_items
    >>> table = read_items(pl.DataFrame({"id": ["a", "b", "c"], "title": ["red tent", "blue lamp", "blue tent"]}))
    >>> ContentKNN().fit(Sessions.of([["a", "b"]]), items=table).recommend([["a"]], k=1, exclude_seen=True)[0].items
    ['c']
    """

    name: ClassVar[str] = "content-knn"


@dataclass(eq=False)
class CategoryPopularity(Content):
    """category-pop: the most popular items of the categories of the session's last clicks.

    Score: similarity of the item's categories to those of the clicks, times the item's training clicks.
    """

    name: ClassVar[str] = "category-pop"

    def _kept(self, table: ItemTable) -> ItemTable:
        return ItemTable(
            table.frame.select([name for name in ("item_id", "categories") if name in table.frame.columns])
        )

    def _weighted(self, scores: ScoreArray) -> ScoreArray:
        scores *= (self.popularity[1:] + UNCLICKED).astype(np.float32)
        return scores
