"""Lists of a given network: one pass over a session, scores by definition, ties, memory in blocks."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from nearnext.data.prefixes import Prefixes
from nearnext.data.sessions import Sessions
from nearnext.recommenders import ranking
from nearnext.recommenders.gru4rec.network import gru_step
from nearnext.recommenders.gru4rec.scoring import Weights, hidden_states, ranker
from nearnext.recommenders.ranking import Ranking, Recommendation, Request
from nearnext.testing import assert_same_lists
from nearnext.types import BoolArray, IndexArray, ScoreArray

N_ITEMS = 40


def network(widths: tuple[int, ...] = (6,), embedding: int | None = None, seed: int = 0) -> Weights:
    rng = np.random.default_rng(seed)
    weights = Weights.draw(rng, N_ITEMS, widths, embedding)
    for array in (weights.outputs, *(layer.bias for layer in weights.layers)):
        np.add(array, rng.normal(size=array.shape), out=array, casting="same_kind")
    return weights


def clicks(n: int, seed: int = 1) -> IndexArray:
    return np.random.default_rng(seed).integers(1, N_ITEMS + 1, n).astype(np.int32)


def lists(weights: Weights, prefixes: Prefixes, k: int, admissible: BoolArray | None = None):
    items, scores = np.zeros((len(prefixes), k), np.int32), np.zeros((len(prefixes), k), np.float32)
    mask = np.arange(N_ITEMS + 1) > 0 if admissible is None else admissible
    own = ranker(weights)(prefixes, Request(k, mask), items, scores)
    return items, scores, own


def by_definition(weights: Weights, prefix: IndexArray) -> ScoreArray:
    """Scores of items 1..I in double precision, with the network as it is trained."""
    states = [torch.zeros(1, len(layer.hidden), dtype=torch.float64) for layer in weights.layers]
    layers = [[torch.from_numpy(array).double() for array in layer] for layer in weights.layers]
    for item in prefix[prefix > 0]:
        entered = torch.from_numpy(weights.embedding[item : item + 1, : len(weights.layers[0].inputs)]).double()
        for depth, layer in enumerate(layers):
            entered = states[depth] = gru_step(entered, states[depth], tuple(layer))
    return states[-1].numpy()[0] @ weights.outputs[1:, :-1].astype(np.float64).T + weights.outputs[1:, -1]


def test_a_step_is_a_gru_with_its_reset_gate_behind_the_product():
    weights = network()
    layer, x, h = weights.layers[0], np.linspace(-1, 1, 6), np.linspace(0.5, -0.9, 6)
    w_reset, w_update, w_candidate = np.split(layer.inputs, 3, axis=1)
    b_reset, b_update, b_candidate = np.split(layer.bias[0], 3)
    u_reset, u_update, u_candidate = np.split(layer.hidden, 3, axis=1)
    reset = 1 / (1 + np.exp(-(x @ w_reset + h @ u_reset + b_reset)))
    update = 1 / (1 + np.exp(-(x @ w_update + h @ u_update + b_update)))
    candidate = np.tanh(x @ w_candidate + reset * (h @ u_candidate) + b_candidate)
    after = gru_step(
        torch.from_numpy(x)[None], torch.from_numpy(h)[None], tuple(torch.from_numpy(a).double() for a in layer)
    )
    assert after[0].numpy() == pytest.approx((1 - update) * h + update * candidate, abs=1e-12)


@pytest.mark.parametrize(("widths", "embedding"), [((6,), None), ((5, 8, 6), None), ((6, 4), 3)])
def test_scores_are_those_of_the_trained_network(widths: tuple[int, ...], embedding: int | None):
    weights = network(widths, embedding)
    prefix = clicks(7)
    items, scores, own = lists(weights, Prefixes.of([prefix]), k=N_ITEMS)
    expected = by_definition(weights, prefix)
    assert own.tolist() == [N_ITEMS]
    assert sorted(items[0].tolist()) == list(range(1, N_ITEMS + 1))
    best = np.argsort(-expected) + 1
    assert_same_lists(
        Ranking(items, scores, own), Recommendation(best.tolist(), expected[best - 1].tolist(), N_ITEMS, [])
    )


def test_unknown_clicks_are_skipped():
    weights = network()
    states, known = hidden_states(weights, Prefixes.of([np.array(p, np.int32) for p in ([0, 3, 0, 5, 0], [3, 5], [0])]))
    np.testing.assert_allclose(states[0], states[1], rtol=1e-5)
    assert known.tolist() == [2, 2, 0]
    assert states[2].tolist() == [0] * 6 + [1]


@settings(deadline=None, max_examples=30)
@given(sessions=st.lists(st.lists(st.integers(1, N_ITEMS), min_size=2, max_size=6), min_size=1, max_size=5))
def test_sharing_a_pass_changes_no_state(sessions: list[list[int]]):
    weights = network()
    every = Prefixes.every(Sessions.of([list(map(str, s)) for s in sessions]))
    shared, _ = hidden_states(weights, every)
    for row in range(len(every)):
        alone, _ = hidden_states(weights, every.slice(row, row + 1))
        np.testing.assert_allclose(alone[0], shared[row], rtol=1e-5, atol=1e-6)
    backwards = Prefixes(every.items, every.starts[::-1], every.ends[::-1], every.times[::-1])
    np.testing.assert_allclose(hidden_states(weights, backwards)[0][::-1], shared, rtol=1e-5, atol=1e-6)


def test_blocks_change_no_list(monkeypatch: pytest.MonkeyPatch):
    weights = network(widths=(33,))
    prefixes = Prefixes.of([clicks(1 + n % 5, seed=n) for n in range(50)])
    whole = Ranking(*lists(weights, prefixes, k=9))
    for block_bytes in (1, 4 * 41 * 7):
        monkeypatch.setattr(ranking, "BLOCK_BYTES", block_bytes)
        assert_same_lists(Ranking(*lists(weights, prefixes, k=9)), whole)


def test_equal_scores_are_in_order_of_the_index():
    weights = network()
    weights.outputs[10:31] = 0  # their scores are their biases, in whatever order they are summed
    weights.outputs[10:31, -1] = 50
    items, scores, _ = lists(weights, Prefixes.of([clicks(3)]), k=12)
    assert scores[0].tolist() == [50] * 12
    assert items[0].tolist() == list(range(10, 22))


def test_only_admissible_items_are_listed():
    weights = network()
    mask = np.zeros(N_ITEMS + 1, dtype=np.bool_)
    mask[[5, 17, 31]] = True
    items, _, own = lists(weights, Prefixes.of([clicks(4)]), k=5, admissible=mask)
    assert own.tolist() == [3]
    assert sorted(items[0, :3].tolist()) == [5, 17, 31]
