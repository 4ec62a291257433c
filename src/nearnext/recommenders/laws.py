"""The laws of lists that every recommender keeps, and what is checked of the user's own parts when they are fitted."""

from typing import NamedTuple

import numpy as np

from nearnext.data.prefixes import Prefixes
from nearnext.data.sessions import Sessions
from nearnext.recommenders.agreement import difference, list_of
from nearnext.recommenders.base import Recommender
from nearnext.recommenders.scored import ScoredRecommender
from nearnext.registration import Laws, kind_of, require_lawful
from nearnext.registry import is_built_in

CASES = 40
"""Prefixes that lists are checked on, at most."""


class Fitted(NamedTuple):
    """A fitted recommender, and prefixes in its vocabulary to try it on."""

    recommender: Recommender
    prefixes: Prefixes


def check_parts(recommender: Recommender) -> None:
    """Check the laws of the user's own encoder, loss, sampler and negatives; built-in ones are trusted."""
    parts = recommender.parts()
    for part in parts:
        if part is recommender or is_built_in(part):
            continue
        match kind_of(type(part)):  # the laws of what trains import torch, which own recommenders do without
            case "encoder":
                from nearnext.model.encoders.laws import check_encoder

                check_encoder(part)  # pyright: ignore[reportArgumentType] - of that kind
            case "loss":
                from nearnext.model.losses.laws import check_loss

                check_loss(part)  # pyright: ignore[reportArgumentType]
            case _:
                from nearnext.sampling.laws import check_sampler
                from nearnext.sampling.sampler import Sampler

                check_sampler(next(one for one in parts if isinstance(one, Sampler)))


def check_lists(recommender: Recommender, sessions: Sessions) -> None:
    """Check the laws of lists for a fitted recommender, on some prefixes of sessions."""
    some = Prefixes.every(sessions.with_vocabulary(recommender.vocabulary)).slice(0, CASES)
    require_lawful(Fitted(recommender, some), LAWS, f"method {recommender.name}")


def _distinct(fitted: Fitted) -> str | None:
    known = len(fitted.recommender.vocabulary)
    for k in (3, known + 2):
        for row in fitted.recommender.rank(fitted.prefixes, k=k, threads=1).items:
            listed = row[row > 0].tolist()
            if row.min() < 0 or row.max() > known:
                return f"found item indices from {row.min()} to {row.max()}, of {known} items"
            if len(set(listed)) != len(listed) or len(listed) != min(k, known):
                return f"expected {min(k, known)} different items, found {row.tolist()}"
    return None


def _falling(fitted: Fitted) -> str | None:
    ranking = fitted.recommender.rank(fitted.prefixes, k=10, threads=1)
    for row, own in enumerate(ranking.own.tolist()):
        scores = ranking.scores[row, :own]
        if not 0 <= own <= len(ranking.items[row]) or not np.all(np.isfinite(scores)) or np.any(np.diff(scores) > 0):
            return f"found {own} items with scores {scores.tolist()}"
        items = ranking.items[row, :own]
        if np.any(np.diff(items)[np.diff(scores) == 0] < 0):
            return f"found items {items.tolist()} with scores {scores.tolist()}"
    return None


def _numbers(fitted: Fitted) -> str | None:
    if not isinstance(fitted.recommender, ScoredRecommender):
        return None
    missing = np.isnan(np.asarray(fitted.recommender.score(fitted.prefixes), dtype=np.float64)[:, 1:])
    return (
        f"found NaN for {missing.sum():,} of {missing.size:,} items; give −∞ to leave one out"
        if missing.any()
        else None
    )


def _alone(fitted: Fitted) -> str | None:
    whole = fitted.recommender.rank(fitted.prefixes, k=10, threads=1)
    for row in range(0, len(fitted.prefixes), 3):
        alone = fitted.recommender.rank(fitted.prefixes.slice(row, row + 1), k=10, threads=1)
        if reason := difference(list_of(whole, row), list_of(alone, 0)):
            return f"alone, {reason}"
    return None


LAWS: Laws[Fitted] = {
    "a list holds k different known items, or all there are": _distinct,
    "a score is a number": _numbers,
    "its own items have finite falling scores, and equal ones are in order of item_index": _falling,
    "a list depends on its prefix alone": _alone,
}
