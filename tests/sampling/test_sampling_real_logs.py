"""Sampling of a real log: every session once, and negatives that are none of its own."""

import os
from pathlib import Path

import numpy as np
import pytest

from nearnext.data.sessionise import read_sessions
from nearnext.recommenders.neighbours import prepare_neighbour_positives
from nearnext.sampling import Popularity, PositiveNegative

LOGS = Path(os.environ.get("NEARNEXT_DATA", "no-real-logs"))
pytestmark = [
    pytest.mark.real_logs,
    pytest.mark.skipif(not LOGS.is_dir(), reason="NEARNEXT_DATA names no folder with the real logs"),
]


def test_an_epoch_of_a_real_log_keeps_the_laws():
    log = read_sessions(LOGS / "rsc15_100k" / "train.parquet")
    neighbours = prepare_neighbour_positives(log, threads=1)
    sampler = PositiveNegative(fill="knn", negatives=Popularity(exclude="session"))
    batches = list(sampler.epoch(log, 0, 7, 32, neighbours=neighbours))
    sessions = np.concatenate([batch.sessions for batch in batches])
    negatives = np.concatenate([batch.negatives for batch in batches])
    positives = np.concatenate([batch.positives for batch in batches])
    assert np.array_equal(np.sort(sessions), np.flatnonzero(log.lengths >= 2))
    assert not (negatives[:, :, None] == positives[:, None, :]).any()
    clicked = log.session_of_event() * (log.n_items + 1) + log.items
    assert not np.isin(sessions[:, None] * (log.n_items + 1) + negatives, clicked).any()
    # Neighbours complete most of the lists, which are short on their own.
    assert np.count_nonzero(positives) > 0.8 * positives.size
