"""The playground: a web page to browse the catalogue and try recommendations, with explanations."""

from base64 import b64encode
from functools import cache
from hashlib import sha256
from html import escape
from importlib.resources import files
from typing import Any

import numpy as np
import polars as pl

from nearnext.options import Count, checked
from nearnext.recommenders.base import Recommender
from nearnext.serving.available import LiveItems
from nearnext.types import RawId


def page(method: str) -> bytes:
    """The complete HTML of the playground, as UTF-8; it requests all else from the service that sent it."""
    return _page().replace("{{method}}", escape(method)).encode()


@cache
def _page() -> str:
    folder = files("nearnext.serving.playground")
    parts = {name: folder.joinpath(name).read_text(encoding="utf-8") for name in ("page.html", "page.css", "page.js")}
    return parts["page.html"].replace("{{css}}", parts["page.css"]).replace("{{js}}", parts["page.js"])


def _hash(tag: str) -> str:
    content = _page().partition(f"<{tag}>")[2].partition(f"</{tag}>")[0]
    return f"'sha256-{b64encode(sha256(content.encode()).digest()).decode()}'"


POLICY = (
    f"default-src 'none'; script-src {_hash('script')}; style-src {_hash('style')}; img-src data: http: https:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
).encode()
"""Content security policy: the page's own script and style, the service that it came from, and images of items."""


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
