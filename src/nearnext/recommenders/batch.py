"""Batch recommendation: lists for all sessions of a log, written block by block with bounded memory."""

from collections.abc import Iterable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from nearnext.atomic import whole_file
from nearnext.data.arrow import parquet_file
from nearnext.data.event_weights import event_key
from nearnext.data.prefixes import Prefixes
from nearnext.data.sessions import Sessions
from nearnext.errors import DataError
from nearnext.options import Count, checked
from nearnext.processes import ONE_PROCESS, Executor
from nearnext.progress import track
from nearnext.recommenders.base import Recommender
from nearnext.recommenders.item_rules import ItemRules
from nearnext.recommenders.ranking import Ranking, admissible_items, lists_at_a_time, sources_of
from nearnext.recommenders.ruled import AppliedRules, rules_over
from nearnext.types import RawId


def write_lists(
    recommender: Recommender,
    sessions: Sessions,
    file: Path,
    asked: Mapping[str, Any],
    executor: Executor = ONE_PROCESS,
) -> int:
    """Write the list of every session, as a `batch_request` asks for it, as a row of a Parquet file; returns how many.

    The lists are those of `Recommender.recommend`. Columns: ``session_id``; ``items``, best first; ``scores``;
    ``sources``, what each item comes from, as in `Recommendation`; ``own``, how many leading items the method itself
    scored; ``unknown``, how many clicks training never saw. Where the log has event types, the rule `after` concerns
    the sessions whose last event has its type, else all. The executor ranks blocks of sessions side by side.

    Raises:
        DataError: no item of the log is known, or the file cannot be written.
    """
    if not recommender.vocabulary.encode(sessions.vocabulary.ids).any():
        raise DataError("expected items of the model in the log, found none of them; map the column of these ids")
    block = lists_at_a_time(asked["k"])
    ranked = partial(_lists, recommender, **asked)
    blocks = (
        sessions.select(np.arange(begin, min(begin + block, sessions.n_sessions)))
        for begin in range(0, sessions.n_sessions, block)
    )
    ranking = track("recommending", sessions.n_sessions, "sessions")
    with whole_file(file) as unfinished, parquet_file(unfinished) as append, ranking as advance:
        for lists in executor.map(ranked, blocks):
            append(lists)
            advance(lists.height)
    return sessions.n_sessions


def batch_request(
    recommender: Recommender,
    k: int = 20,
    *,
    exclude: Iterable[RawId] = (),
    allow: Iterable[RawId] | None = None,
    exclude_seen: bool = False,
    rules: ItemRules | None = None,
    threads: int | None = None,
) -> dict[str, Any]:
    """What is asked of the model for every session, checked; blocks of sessions are ranked by ``threads`` threads.

    Raises:
        ConfigError: k below 1, a rule that cannot be applied, or not fitted yet.
        DataError: an id to exclude or allow is unknown.
    """
    mask, unmatched = admissible_items(recommender.vocabulary, exclude, allow)
    if unmatched:
        raise DataError(f"no such items to exclude or allow: {', '.join(map(str, unmatched))}; leave them out")
    return {
        "after": None if rules is None else rules.after,
        "asked_at": recommender.asked_at(None),
        "k": min(checked("k", k, Count), len(recommender.vocabulary)),
        "admissible": mask,
        "exclude_seen": exclude_seen,
        "rules": rules_over(recommender, rules),
        "threads": threads,
    }


def _lists(
    recommender: Recommender,
    sessions: Sessions,
    *,
    after: str | None,
    asked_at: int,
    k: int,
    rules: AppliedRules | None,
    **request: Any,
) -> pl.DataFrame:
    """The lists of some sessions, a row each."""
    clicks = sessions.with_vocabulary(recommender.vocabulary).items
    times = np.full(sessions.n_sessions, asked_at, dtype=np.int64)
    prefixes = Prefixes(clicks, sessions.offsets[:-1], sessions.offsets[1:], times)
    ranking = recommender.rank(prefixes, k, rules=rules, **request)
    if rules is not None and after is not None and sessions.types is not None:
        last = np.array([*map(event_key, sessions.event_types)])[sessions.types[sessions.offsets[1:] - 1]]
        if len(others := np.flatnonzero(last != event_key(after))):
            plain = recommender.rank(prefixes.take(others), k, rules=rules._replace(leaving=None), **request)
            items, scores, own = ranking.items.copy(), ranking.scores.copy(), ranking.own.copy()
            items[others], scores[others], own[others] = plain.items, plain.scores, plain.own
            ranking = Ranking(items, scores, own)
    unknown = np.add.reduceat((clicks == 0).astype(np.int64), sessions.offsets[:-1])
    return _frame(recommender, sessions, ranking).with_columns(unknown=pl.Series(unknown))


def _frame(recommender: Recommender, sessions: Sessions, ranking: Ranking) -> pl.DataFrame:
    """One row per session, its list in two columns."""
    row, column = np.nonzero(ranking.items)
    clicks = recommender.popularity[ranking.items[row, column]]
    listed = pl.DataFrame(
        {
            "row": row,
            "items": recommender.vocabulary.ids.gather(ranking.items[row, column] - 1),
            "scores": ranking.scores[row, column],
            "sources": sources_of(clicks, column >= ranking.own[row]),
        }
    )
    lists = listed.group_by("row", maintain_order=True).agg("items", "scores", "sources")
    every = pl.DataFrame({"row": np.arange(len(ranking)), "session_id": sessions.session_ids, "own": ranking.own})
    return every.join(lists, on="row", how="left", maintain_order="left").select(
        "session_id", pl.col("items", "scores", "sources").fill_null([]), "own"
    )
