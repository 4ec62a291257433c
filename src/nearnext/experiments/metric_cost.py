"""What a fit of the default method takes, from small fits of it: its steps grow with the log in different ways.

With p the seconds of one pass over the log, E epochs, a the share of the sessions that is not held out, and c the
seconds of a step of the re-ranker, of which there are at most 3 S:

    seconds = p × (a E + a [a correction is chosen] + E [refit]) + 3 S c + searches × seconds of a search + the rest

p, c and a search among the whole catalogue are measured. The rest, what candidates and counting take, comes from a line
through fits on two samples, up to the clicks from which the re-ranker is fitted on no more prefixes.
"""

from dataclasses import asdict, replace
from typing import NamedTuple

import numpy as np

from nearnext.data.sessions import Sessions
from nearnext.errors import DataError
from nearnext.experiments.measuring import (
    FLOAT,
    Estimate,
    network_bytes,
    seconds_of,
    spread_sessions,
    timed_fit,
    used_bytes,
)
from nearnext.recommenders.base import Recommender
from nearnext.recommenders.metric.recommender import MEASURED, Metric
from nearnext.retrieval import ExactIndex

WARM_UP, FEW, MANY = 100, 1_000, 4_000
"""Sessions of the samples; the first one only compiles what is compiled."""

EPOCHS, STEPS, SEARCHES = 2, 40, 64
"""Measured: epochs, of which the fastest counts, steps of the re-ranker, and searches."""

RERANKER_FITS = 3
"""On either half of the sessions held out, and on all of them where the re-ranker is used."""


class _Fit(NamedTuple):
    """A measured fit; ``rest`` are its seconds outside training, ``rest_bytes`` its bytes besides the network's."""

    n_events: int
    seconds: float
    per_pass: float
    rest: float
    n_reranker_fits: int
    network: dict[str, int]
    rest_bytes: int


def estimate_metric(recommender: Recommender, sessions: Sessions) -> Estimate:
    """What a fit of the default method on these sessions takes; the recommender is not fitted."""
    assert isinstance(recommender, Metric)  # noqa: S101 - what the names stand for
    settled = asdict(recommender.size(sessions))
    metric = replace(recommender, **settled, directory="", resume=False)
    epochs, before = settled["epochs"], used_bytes()
    brief = replace(metric, epochs=EPOCHS, reranker_steps=1)
    _measured(replace(brief, epochs=1), spread_sessions(sessions, WARM_UP), before)
    few, many = (_measured(brief, spread_sessions(sessions, n), before) for n in (FEW, MANY))
    # What the re-ranker is fitted on is bounded: the time and the memory that go with it too.
    bounded = min(sessions.n_events, int(metric.reranker_prefixes / max(metric.validation_fraction, 0.01)))
    more = max(bounded - many.n_events, 0) / max(many.n_events - few.n_events, 1)
    n_held_out = int(metric.validation_fraction * (sessions.n_events - sessions.n_sessions))
    n_searches = epochs * min(MEASURED, n_held_out) + min(metric.reranker_prefixes, n_held_out)
    seconds = many.per_pass * sessions.n_events / many.n_events * _passes(metric, epochs, epochs)
    seconds += many.rest + max(many.rest - few.rest, 0.0) * more
    seconds += n_searches * _search_seconds(sessions.n_items, metric.dim or 1)
    if many.n_reranker_fits:
        longer = _measured(replace(brief, reranker_steps=1 + STEPS), spread_sessions(sessions, MANY), before)
        step = max(longer.seconds - many.seconds, 0.0) / (STEPS * longer.n_reranker_fits)
        seconds += RERANKER_FITS * metric.reranker_steps * step
    weights = many.network["weights"]
    memory = {
        "this process and the log": before,
        **many.network,
        "network of the refit": weights,
        "rest": int(many.rest_bytes + max(many.rest_bytes - few.rest_bytes, 0) * more),
    }
    basis = f"fits on {few.n_events:,} and {many.n_events:,} of {sessions.n_events:,} clicks"
    return Estimate(weights // FLOAT, memory, epochs, 0, seconds, basis, settled)


def _passes(metric: Metric, epochs: int, best: float) -> float:
    """Passes of training over all sessions, with so many epochs, of which one was best."""
    if metric.validation_fraction == 0:
        return epochs
    return (1 - metric.validation_fraction) * (epochs + (metric.correction is None)) + best * metric.refit


def _measured(metric: Metric, sample: Sessions, before: int) -> _Fit:
    fitted = replace(metric)
    seconds, peak = timed_fit(fitted, sample)
    if fitted.network is None:
        raise DataError(f"{metric.name}: {fitted.note}")
    per_pass = min(epoch["seconds"] for epoch in fitted.history) / (1 - metric.validation_fraction)
    best = max(fitted.history, key=lambda epoch: epoch.get("HitRate@20", 0.0) + epoch.get("MRR@20", 0.0))["epoch"]
    training = per_pass * _passes(metric, len(fitted.history), best)
    reranked = bool(metric.voters) and metric.validation_fraction > 0
    network = network_bytes(fitted.network, sample.n_items)
    return _Fit(
        sample.n_events,
        seconds,
        per_pass,
        max(seconds - training, 0.0),
        reranked * (2 + (fitted.reranker is not None)),
        network,
        max(peak - before - sum(network.values()), 0),
    )


def _search_seconds(n_items: int, dim: int) -> float:
    """Seconds of one search among the whole catalogue."""
    vectors = np.random.default_rng(0).standard_normal((n_items, dim), dtype=np.float32)
    index, k = ExactIndex(vectors), min(20, n_items)
    queries = vectors[np.arange(SEARCHES) % n_items]
    return seconds_of(lambda: index.search(queries, k)) / SEARCHES
