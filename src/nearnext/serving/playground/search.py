"""Items by what is typed of their ids and titles."""

from typing import Any

import numpy as np
import polars as pl

from nearnext.options import Count, checked
from nearnext.recommenders.base import Recommender
from nearnext.serving.live_items import LiveItems
from nearnext.types import RawId


def find_items(
    recommender: Recommender, query: str = "", limit: int = 20, live: LiveItems | None = None
) -> list[dict[str, Any]]:
    """Items whose id or title contains a text, in any case: first those that begin with it, each part by popularity.

    ``live`` has the titles that items have now, and the items that are new since training, which follow the others.
    """
    limit = checked("limit", limit, Count)
    wanted = query.strip().lower()
    live = LiveItems(recommender) if live is None else live
    known = recommender.vocabulary.ids
    ids: list[RawId] = [*(known if wanted else known.head(limit)).to_list(), *live.new]
    titles = live.titles(ids)
    if not wanted:
        found = np.arange(min(limit, len(ids)))
    else:
        texts = [pl.Series(ids).cast(pl.String).str.to_lowercase()]
        if titles.null_count() < len(titles):
            texts.append(titles.str.to_lowercase().fill_null(""))
        begins, inside = (np.zeros(len(ids), np.bool_) for _ in range(2))
        for text in texts:
            begins |= text.str.starts_with(wanted).to_numpy()
            inside |= text.str.contains(wanted, literal=True).to_numpy()
        found = np.concatenate([np.flatnonzero(begins), np.flatnonzero(inside & ~begins)])[:limit]
    clicks = recommender.popularity
    return [
        {"id": ids[at], "clicks": int(clicks[at + 1]) if at < len(known) else 0, "title": titles[at]}
        for at in found.tolist()
    ]
