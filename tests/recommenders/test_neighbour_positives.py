"""Candidate positives from the nearest training sessions."""

import numpy as np
import pytest

from nearnext.data.sessions import Sessions
from nearnext.errors import ConfigError, DataError
from nearnext.recommenders.neighbours import prepare_neighbour_positives
from nearnext.sampling import NeighbourPositives, PositiveNegative

LOG = Sessions.of([["a", "b"], ["a", "b", "c"], ["a", "d", "e", "f"], ["x", "y"]])


def raw(log: Sessions, prepared: NeighbourPositives, session: int) -> list[object]:
    items = prepared.items[prepared.offsets[session] : prepared.offsets[session + 1]]
    return list(log.vocabulary.decode(items))


def test_the_nearest_sessions_items_come_first_and_own_clicks_never():
    prepared = prepare_neighbour_positives(LOG, n_items=4)
    assert raw(LOG, prepared, 0)[0] == "c"
    assert set(raw(LOG, prepared, 0)) == {"c", "d", "e", "f"}
    assert set(raw(LOG, prepared, 1)) == {"d", "e", "f"}
    assert set(raw(LOG, prepared, 2)) == {"b", "c"}


def test_a_session_without_neighbours_has_no_candidates():
    assert raw(LOG, prepare_neighbour_positives(LOG), 3) == []


def test_the_session_itself_is_none_of_its_k_neighbours():
    assert raw(LOG, prepare_neighbour_positives(LOG, k=1), 0) == ["c"]


def test_n_items_bounds_the_candidates():
    prepared = prepare_neighbour_positives(LOG, n_items=2)
    assert np.diff(prepared.offsets).tolist() == [2, 2, 2, 0]


def test_a_wider_vocabulary_keeps_its_own_indices():
    part = LOG.select(np.array([0, 1, 3]))
    prepared = prepare_neighbour_positives(part)
    assert [raw(part, prepared, session) for session in range(3)] == [["c"], [], []]


def test_threads_change_nothing():
    log = Sessions.of([[f"i{(s * 7 + j * j) % 23}" for j in range(2 + s % 5)] for s in range(600)])
    one, two = (prepare_neighbour_positives(log, threads=threads) for threads in (1, 2))
    assert np.array_equal(one.items, two.items)
    assert np.array_equal(one.offsets, two.offsets)


def test_short_lists_of_a_sampler_are_completed_with_them():
    prepared = prepare_neighbour_positives(LOG)
    (batch,) = PositiveNegative(n_positives=3, fill="knn").epoch(LOG, 0, 7, 4, neighbours=prepared)
    (row,) = np.flatnonzero(batch.sessions == 0).tolist()
    positives = LOG.vocabulary.decode(batch.positives[row])
    assert positives[0] == "b"
    assert set(positives[1:]) < {"c", "d", "e", "f"}


def test_bad_options_and_an_empty_log_are_refused():
    with pytest.raises(ConfigError, match="k must be a whole number of at least 1"):
        prepare_neighbour_positives(LOG, n_items=0)
    with pytest.raises(ConfigError, match="k must be a whole number of at least 1, found 0"):
        prepare_neighbour_positives(LOG, k=0)
    with pytest.raises(DataError, match="expected training sessions"):
        prepare_neighbour_positives(LOG.select(np.zeros(4, dtype=np.bool_)))
