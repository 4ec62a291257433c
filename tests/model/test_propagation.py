"""Items that are clicked one after the other begin near one another."""

import math

import numpy as np
import pytest

from nearnext.data.sessions import Sessions
from nearnext.data.vocabulary import Vocabulary
from nearnext.errors import ConfigError
from nearnext.model.propagation import neighbouring_items, propagated_embeddings

ABC = Sessions.of([["a", "b", "c"]])
LOG = Sessions.of([[f"i{(s * 7 + j * j) % 23}" for j in range(2 + s % 5)] for s in range(60)])


def test_neighbours_weigh_one_over_their_distance_scaled_by_both_totals():
    # ab 1, bc 1, ac 1/2: the totals of a, b, c are 1.5, 2 and 1.5.
    near, across = 1 / math.sqrt(1.5 * 2), 0.5 / 1.5
    expected = [[0, 0, 0, 0], [0, 0, near, across], [0, near, 0, near], [0, across, near, 0]]
    np.testing.assert_allclose(neighbouring_items(ABC).toarray(), expected, rtol=1e-5)


def test_pairs_that_return_add_up():
    # ab twice in the first session and once in the second, bc once: the totals of a, b, c are 3, 4 and 1.
    log = Sessions.of([["b", "a", "b"], ["a", "b"], ["b", "c"]])
    found = neighbouring_items(log)
    a, b, c = log.vocabulary.encode(["a", "b", "c"])
    np.testing.assert_allclose([found[a, b], found[b, c], found[a, c]], [3 / math.sqrt(12), 0.5, 0.0], rtol=1e-5)


def test_clicks_more_than_five_apart_and_other_sessions_are_no_neighbours():
    log = Sessions.of([["a", "b", "c", "d", "e", "f", "g"], ["x", "y"]])
    found = neighbouring_items(log).toarray()
    a, f, g, x = log.vocabulary.encode(["a", "f", "g", "x"])
    assert found[a, f] > 0
    assert found[a, g] == 0
    assert np.flatnonzero(found[x]).tolist() == log.vocabulary.encode(["y"]).tolist()


def test_of_a_large_log_sessions_are_taken_evenly(monkeypatch: pytest.MonkeyPatch):
    log = Sessions.of([["a", "b"], ["x", "y"]] * 3 + [["a", "b"]] * 6)
    monkeypatch.setattr("nearnext.model.propagation.MOST", 8)
    expected = neighbouring_items(log.select([0, 3, 6, 9]))
    assert (neighbouring_items(log) != expected).nnz == 0


def test_unknown_clicks_and_repeats_join_nothing():
    log = Sessions.of([["a", "a"], ["a", "z"]]).with_vocabulary(Vocabulary.of(["a", "b"]))
    assert neighbouring_items(log).nnz == 0


def test_one_step_is_the_mean_of_neighbours_and_the_own_vector():
    drawn = np.random.default_rng(3).standard_normal((4, 5), dtype=np.float32)
    moved = neighbouring_items(ABC).toarray() @ drawn + drawn
    expected = moved / np.linalg.norm(moved, axis=1, keepdims=True)
    found = propagated_embeddings(ABC, 5, steps=1, seed=3)
    np.testing.assert_allclose(found[1:], expected[1:], rtol=1e-5, atol=1e-6)


def test_no_step_leaves_random_directions():
    drawn = np.random.default_rng(3).standard_normal((4, 5), dtype=np.float32)[1:]
    expected = drawn / np.linalg.norm(drawn, axis=1, keepdims=True)
    np.testing.assert_allclose(propagated_embeddings(ABC, 5, steps=0, seed=3)[1:], expected, rtol=1e-5)


@pytest.mark.parametrize("steps", [0, 1, 60])
def test_embeddings_have_length_one_and_padding_none(steps: int):
    found = propagated_embeddings(LOG, 6, steps=steps)
    assert (found.dtype, found.shape) == (np.float32, (LOG.n_items + 1, 6))
    np.testing.assert_allclose(np.linalg.norm(found[1:], axis=1), 1.0, rtol=1e-5)
    assert not found[0].any()


def test_items_without_neighbours_keep_their_own_direction():
    log = Sessions.of([["a", "b"], ["alone"]])
    alone = log.vocabulary.encode(["alone"])
    kept, drawn = propagated_embeddings(log, 4, steps=5), propagated_embeddings(log, 4, steps=0)
    np.testing.assert_allclose(kept[alone], drawn[alone], rtol=1e-5)


def test_same_seed_same_embeddings_and_the_log_stays_as_it_was():
    before = LOG.fingerprint()
    one, other, third = (propagated_embeddings(LOG, 6, seed=seed) for seed in (4, 4, 5))
    np.testing.assert_allclose(other, one, rtol=1e-5, atol=1e-6)
    assert not np.allclose(one, third, atol=1e-3)
    assert LOG.fingerprint() == before


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"dim": 0}, "dim must be a whole number of at least 1, found 0"),
        ({"dim": 4, "steps": -1}, "steps must be a whole number of at least 0, found -1"),
        ({"dim": 4, "seed": -1}, "seed must be a whole number of at least 0, found -1"),
    ],
)
def test_bad_options_are_one_clear_line(options: dict[str, int], message: str):
    with pytest.raises(ConfigError, match=message):
        propagated_embeddings(ABC, **options)
