"""Items by what is typed of their ids."""

from typing import Any

import numpy as np
import polars as pl

from nearnext.options import Count, checked
from nearnext.recommenders.base import Recommender


def find_items(recommender: Recommender, query: str = "", limit: int = 20) -> list[dict[str, Any]]:
    """Items whose id contains a text, whatever its case: first those that begin with it, each part by popularity."""
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
