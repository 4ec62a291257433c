"""Items by what is typed of their ids."""

from typing import Any

import numpy as np
import polars as pl

from nearnext.options import Count, checked
from nearnext.recommenders.base import Recommender


def find_items(recommender: Recommender, query: str = "", limit: int = 20) -> list[dict[str, Any]]:
    """Items whose id contains a text, whatever its case: first those that begin with it, each part by popularity.

    Args:
        recommender: fitted.
        query: part of an id; "": the most popular items.
        limit: how many items at most, at least 1.

    Returns:
        For each item its raw ``id`` and the number of ``clicks`` on it in training.

    Raises:
        ConfigError: a limit below 1.

    >>> from nearnext.data.sessions import Sessions
    >>> from nearnext.recommenders.popularity import Pop
    >>> pop = Pop().fit(Sessions.of([["sku-a", "sku-b", "A1"], ["sku-b"]]))
    >>> find_items(pop, "a", limit=1), len(find_items(pop))
    ([{'id': 'A1', 'clicks': 1}], 3)
    """
    limit = checked("limit", limit, Count)
    wanted = query.strip().lower()
    ids = recommender.vocabulary.ids
    if not wanted:
        found = np.arange(min(limit, len(ids)))
    else:
        texts = ids.cast(pl.String).str.to_lowercase()
        begins = texts.str.starts_with(wanted)
        inside = texts.str.contains(wanted, literal=True) & ~begins
        found = np.concatenate([begins.arg_true().to_numpy(), inside.arg_true().to_numpy()])[:limit]
    clicks = recommender.popularity[found.astype(np.int64) + 1].tolist()
    raw = recommender.vocabulary.decode(found.astype(np.int32) + 1)
    return [{"id": item, "clicks": count} for item, count in zip(raw, clicks, strict=True)]
