"""Items by what is typed of their ids and titles."""

from typing import Any

import numpy as np
import polars as pl

from nearnext.options import Count, checked
from nearnext.recommenders.base import Recommender


def find_items(recommender: Recommender, query: str = "", limit: int = 20) -> list[dict[str, Any]]:
    """Items whose id or title contains a text, in any case: first those that begin with it, each part by popularity."""
    limit = checked("limit", limit, Count)
    wanted = query.strip().lower()
    ids, table = recommender.vocabulary.ids, recommender.items
    if not wanted:
        found = np.arange(min(limit, len(ids)))
    else:
        texts = [ids.cast(pl.String).str.to_lowercase()]
        if table is not None and "title" in table.frame.columns:
            texts.append(table.of(ids).frame["title"].str.to_lowercase().fill_null(""))
        begins, inside = (np.zeros(len(ids), np.bool_) for _ in range(2))
        for text in texts:
            begins |= text.str.starts_with(wanted).to_numpy()
            inside |= text.str.contains(wanted, literal=True).to_numpy()
        found = np.concatenate([np.flatnonzero(begins), np.flatnonzero(inside & ~begins)])[:limit]
    indices = found.astype(np.int32) + 1
    clicks, raw = recommender.popularity[indices].tolist(), recommender.vocabulary.decode(indices)
    titles = table.titles(raw) if table is not None else [None] * len(raw)
    return [
        {"id": item, "clicks": count, "title": title} for item, count, title in zip(raw, clicks, titles, strict=True)
    ]
