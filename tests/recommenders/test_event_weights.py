"""Weights of events against brute force, method by method, and in every loss."""

import math
from collections import Counter, defaultdict
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose

from nearnext.data.event_weights import training_weights
from nearnext.data.sessions import Sessions
from nearnext.errors import DataError
from nearnext.model.losses import LossInput, Triplet
from nearnext.model.propagation import neighbouring_items
from nearnext.recommenders.base import Recommender
from nearnext.recommenders.gru4rec.network import SessionParallel
from nearnext.recommenders.neighbours import SKNN, VSTAN
from nearnext.recommenders.popularity import Pop, SessionPop
from nearnext.recommenders.rules import AssociationRules, Markov, SequentialRules
from nearnext.sampling import EveryPrefix
from nearnext.sampling.proposal import BatchItems
from nearnext.sampling.windows import PrefixWindows
from nearnext.training.next_item import PrefixBatches, sampled_softmax

Weighted = list[list[tuple[int, float]]]
Scores = dict[int, dict[int, float]]

event = st.tuples(st.integers(1, 6), st.sampled_from([0.0, 0.5, 1.0, 3.0, 5.0]))
logs = st.lists(st.lists(event, min_size=1, max_size=7), min_size=1, max_size=12).filter(
    lambda log: any(weight for session in log for _, weight in session)
)


def sessions_of(log: Weighted) -> Sessions:
    clicks = Sessions.of([[item for item, _ in session] for session in log])
    return replace(clicks, weights=np.array([weight for session in log for _, weight in session]))


def found(recommender: Recommender, after: int) -> dict[int, float]:
    answer = recommender.recommend([[after]], k=9)[0]
    return dict(zip(map(int, answer.items[: answer.own]), answer.scores[: answer.own], strict=True))


def assert_scores(recommender: Recommender, log: Weighted, expected: Scores) -> None:
    fitted = recommender.fit(sessions_of(log))
    for item in {item for session in log for item, _ in session}:
        above = {other: score for other, score in expected.get(item, {}).items() if score > 0}
        assert found(fitted, item) == pytest.approx(above, rel=1e-5)


def rules_of(log: Weighted, weight: Callable[[int], float]) -> Scores:
    """Rules from each click to those after it by the weight of their distance times that of the later event."""
    rules: Scores = {}
    for session in log:
        for at, (item, _) in enumerate(session):
            for later in range(at + 1, len(session)):
                other, counts = session[later]
                of_item = rules.setdefault(item, {})
                of_item[other] = of_item.get(other, 0.0) + weight(later - at) * counts
    return rules


@settings(deadline=None, max_examples=40)
@given(logs)
def test_popularity_is_the_sum_of_weights(log: Weighted):
    support: dict[int, float] = defaultdict(float)
    for item, weight in (event for session in log for event in session):
        support[item] += weight
    for method in (Pop(), SessionPop()):
        answer = method.fit(sessions_of(log)).recommend([[log[0][0][0]]], k=9)[0]
        own = {log[0][0][0]: 1.0} if isinstance(method, SessionPop) else {}
        expected = {item: own.get(item, 0) + total / (1 + total) for item, total in support.items()}
        assert dict(zip(map(int, answer.items), answer.scores, strict=True)) == pytest.approx(expected, rel=1e-6)
        assert answer.scores == sorted(answer.scores, reverse=True)


@settings(deadline=None, max_examples=40)
@given(logs)
def test_rules_count_the_weight_of_the_later_event(log: Weighted):
    assert_scores(Markov(), log, rules_of(log, lambda step: float(step == 1)))
    sr = SequentialRules(steps=3, weighting="div")
    assert_scores(sr, log, rules_of(log, lambda step: 1 / step if step <= 3 else 0.0))


@settings(deadline=None, max_examples=40)
@given(logs)
def test_association_rules_count_the_weight_of_the_other_event(log: Weighted):
    rules: Scores = {}
    for session in log:
        for at, (item, _) in enumerate(session):
            for other, weight in session[:at] + session[at + 1 :]:
                of_item = rules.setdefault(item, {})
                of_item[other] = of_item.get(other, 0.0) + weight
    assert_scores(AssociationRules(), log, rules)


@settings(deadline=None, max_examples=40)
@given(logs)
def test_sessions_vote_with_the_largest_weight_of_the_item_in_them(log: Weighted):
    votes: Scores = {}
    for session in log:
        largest = {item: max(weight for other, weight in session if other == item) for item, _ in session}
        for item in largest:
            for other, weight in largest.items():
                of_item = votes.setdefault(item, {})
                of_item[other] = of_item.get(other, 0.0) + weight / math.sqrt(len(largest))
    assert_scores(SKNN(), log, votes)
    sknn = SKNN().fit(sessions_of(log))
    again = SKNN().restore(sknn.vocabulary, sknn.state())
    assert found(again, log[0][0][0]) == found(sknn, log[0][0][0])


def test_weights_do_not_change_which_sessions_are_near():
    plain = Sessions.of([[1, 2], [1, 3], [1, 2, 4]])
    weighted = replace(plain, weights=np.array([1.0, 5.0, 1.0, 1.0, 1.0, 2.0, 1.0]))
    near, far = (VSTAN(k=2).fit(log).neighbours(np.array([1, 2], np.int32)) for log in (plain, weighted))
    assert near[0].tolist() == far[0].tolist()


@settings(deadline=None, max_examples=40)
@given(logs)
def test_the_start_of_items_weighs_pairs_by_the_later_event(log: Weighted):
    sessions = sessions_of(log)
    graph, weights = (
        np.zeros((sessions.n_items + 1,) * 2),
        np.array([weight for session in log for _, weight in session]),
    )
    for begin, end in zip(sessions.offsets, sessions.offsets[1:], strict=False):
        for at in range(begin, end):
            for later in range(at + 1, min(at + 6, end)):
                one, other = sessions.items[at], sessions.items[later]
                if one != other:
                    graph[[one, other], [other, one]] += weights[later] / (later - at)
    total = graph.sum(axis=1)
    scale = np.where(total > 0, 1 / np.sqrt(np.maximum(total, 1e-30)), 0)
    assert_allclose(neighbouring_items(sessions).toarray(), scale[:, None] * graph * scale, rtol=1e-5)


def test_the_softmax_multiplies_each_loss_by_its_weight():
    generator = torch.Generator().manual_seed(3)
    sessions = torch.nn.functional.normalize(torch.randn(5, 4, generator=generator), dim=1).requires_grad_()
    items = torch.nn.functional.normalize(torch.randn(7, 4, generator=generator), dim=1).requires_grad_()
    targets, presence = torch.tensor([0, 3, 3, 6, 1]), torch.linspace(-4, -0.5, 7)
    weights = torch.tensor([0.0, 1.0, 2.5, 1.0, 0.5])

    def loss(chosen: slice) -> torch.Tensor:
        return sampled_softmax(
            sessions[chosen], items, targets[chosen], targets[chosen, None], presence, 0.1, 0.2, weights[chosen]
        )

    whole = loss(slice(None))
    apart = sum(
        weights[row] * sampled_softmax(sessions[row : row + 1], items, targets[row : row + 1],
                                       targets[row : row + 1, None], presence, 0.1, 0.2)
        for row in range(5)
    )  # fmt: skip
    expected = torch.as_tensor(apart) / 5
    torch.testing.assert_close(whole, expected)
    for one, other in zip(
        torch.autograd.grad(whole, [sessions, items]), torch.autograd.grad(expected, [sessions, items]), strict=True
    ):
        torch.testing.assert_close(one, other)


def test_other_losses_multiply_each_session_by_its_weight():
    positive, negative = torch.tensor([[0.5], [0.2]]), torch.tensor([[0.4], [0.3]])
    alone = [Triplet(margin=0.3)(LossInput(positive[row : row + 1], negative[row : row + 1])) for row in (0, 1)]
    weighted = LossInput(positive, negative, weights=torch.tensor([0.5, 1.5]))
    torch.testing.assert_close(Triplet(margin=0.3)(weighted), (0.5 * alone[0] + 1.5 * alone[1]) / 2)


LOG = sessions_of([[(1 + (s * 3 + j * j) % 7, float(1 + (s + j) % 3)) for j in range(1 + s % 6)] for s in range(30)])


def test_every_batch_has_the_weight_of_its_next_clicks():
    weights = training_weights(LOG)
    assert weights is not None
    follows = np.ones(LOG.n_events, np.bool_)
    follows[LOG.offsets[:-1]] = False
    expected = Counter(zip(LOG.items[follows].tolist(), weights[follows].round(4).tolist(), strict=True))
    windows = PrefixWindows.of(LOG, max_length=9)
    batches = PrefixBatches(windows, BatchItems.of(LOG, 4, 0.5), LOG.n_items, 4, 0, weights)
    of_prefixes, of_clicks, of_examples = Counter[tuple[int, float]](), Counter[tuple[int, float]](), Counter()
    for batch in batches.epoch(0):
        assert batch.weights is not None
        real = batch.real[:, 1:]
        of_prefixes.update(zip(batch.rows[batch.clicks[:, 1:][real]].tolist(),
                               batch.weights[:, 1:][real].numpy().round(4).tolist(), strict=True))  # fmt: skip
    for step in SessionParallel(LOG, 4, 8, 0.5, logq=1.0, inputs=False, seed=0).epoch(0):
        assert step.weights is not None
        targets = step.rows["outputs"][step.target_at].tolist()
        of_clicks.update(zip(targets, step.weights.numpy().round(4).tolist(), strict=True))
    for drawn in EveryPrefix().epoch(LOG, 0, 7, 8):
        assert drawn.weights is not None
        of_examples.update(zip(drawn.positives[:, 0].tolist(), drawn.weights.round(4).tolist(), strict=True))
    assert of_prefixes == of_clicks == of_examples == expected


def test_a_log_with_nothing_to_learn_says_so():
    first_only = np.zeros(LOG.n_events)
    first_only[LOG.offsets[:-1]] = 1.0
    with pytest.raises(DataError, match="every click that follows another one has weight 0"):
        training_weights(replace(LOG, weights=first_only))
    with pytest.raises(DataError, match="finite numbers of at least 0, found -1"):
        replace(LOG, weights=first_only * -1 + (first_only == 0))
