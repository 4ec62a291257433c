"""Cross-entropy and BPR-max on distinct columns against their definition on a plain list of places."""

import math

import numpy as np
import pytest
import torch

from nearnext.data.sessions import Sessions
from nearnext.recommenders.gru4rec.network import SessionParallel, StepReader, bpr_max, cross_entropy
from nearnext.sampling.windows import Step

TARGETS, SAMPLES = [1, 2, 1], [3, 1, 3, 4]
SCORE = {1: [0.3, -1.0, 2.0], 2: [0.1, 0.7, -0.4], 3: [-2.0, 0.5, 0.9], 4: [1.1, 0.0, -0.6]}
POPULARITY = np.array([0, 8, 4, 2, 1])


def sigmoid(x: float) -> float:
    return 1 / (1 + math.exp(-x))


def objective_of(loss: str, *, logq: float = 0.0, bpreg: float = 0.0, elu: float = 0.0) -> list[float]:
    options = SessionParallel(Sessions.of([["a"]]), 3, len(SAMPLES), 0.5, logq=logq, inputs=True, seed=0)
    slots, targets = np.arange(3), np.array(TARGETS, np.int32)
    batch = StepReader(options, POPULARITY)(Step(slots, slots, targets, targets, slots), np.array(SAMPLES, np.int32))
    scores = torch.tensor([[SCORE[item][row] for item in batch.rows["outputs"].tolist()] for row in range(3)])
    if loss == "bpr-max":
        return bpr_max(scores, batch.target_at, batch.occurrences, regularisation=bpreg, elu=elu).tolist()
    return (cross_entropy(scores, batch.target_at, batch.occurrences) + batch.correction).tolist()


def test_cross_entropy_is_the_softmax_over_all_columns():
    places = TARGETS + SAMPLES
    expected = [
        -math.log(math.exp(SCORE[target][row]) / sum(math.exp(SCORE[item][row]) for item in places))
        for row, target in enumerate(TARGETS)
    ]
    assert objective_of("cross-entropy") == pytest.approx(expected, rel=1e-5)


def test_logq_lowers_each_column_by_the_log_of_its_chance():
    targets = [(item, SCORE[item], math.log(POPULARITY[item])) for item in TARGETS]
    samples = [(item, SCORE[item], 0.5 * math.log(POPULARITY[item])) for item in SAMPLES]
    expected = [
        -math.log(
            math.exp(score[row] - chance) / sum(math.exp(other[row] - less) for _, other, less in targets + samples)
        )
        for row, (_, score, chance) in enumerate(targets)
    ]
    assert objective_of("cross-entropy", logq=1.0) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("elu", [0.0, 0.5])
def test_bpr_max_leaves_out_only_the_target_s_own_place(elu: float):
    def active(score: float) -> float:
        return elu * (math.exp(score) - 1) if elu and score < 0 else score

    expected: list[float] = []
    for row, target in enumerate(TARGETS):
        negatives = [active(SCORE[item][row]) for item in TARGETS[:row] + TARGETS[row + 1 :] + SAMPLES]
        total = sum(map(math.exp, negatives))
        won = sum(math.exp(r) / total * sigmoid(active(SCORE[target][row]) - r) for r in negatives)
        penalty = sum(math.exp(r) / total * r * r for r in negatives)
        expected.append(-math.log(won) + 1.5 * penalty)
    assert objective_of("bpr-max", bpreg=1.5, elu=elu) == pytest.approx(expected, rel=1e-5)


def test_columns_without_occurrences_change_nothing():
    scores = torch.tensor([[1.0, 2.0, 50.0]], requires_grad=True)
    for loss in (cross_entropy, bpr_max):
        value = loss(scores, torch.tensor([0]), torch.tensor([1.0, 1.0, 0.0]))
        assert value.item() == pytest.approx(math.log(1 + math.e), rel=1e-5)
        (gradient,) = torch.autograd.grad(value.sum(), scores)
        assert gradient[0, 2].item() == 0
        assert gradient[0, 0].item() < 0 < gradient[0, 1].item()


@pytest.mark.parametrize("target", [-500.0, 500.0])
def test_extreme_scores_keep_losses_and_gradients_finite(target: float):
    scores = torch.tensor([[target, 0.0, 3.0]], requires_grad=True)
    for loss in (cross_entropy, bpr_max):
        value = loss(scores, torch.tensor([0]), torch.ones(3))
        (gradient,) = torch.autograd.grad(value.sum(), scores)
        assert torch.isfinite(value).all()
        assert torch.isfinite(gradient).all()


def test_a_better_target_never_costs_more():
    for loss in (cross_entropy, bpr_max):
        values = [
            loss(torch.tensor([[score, 0.0, 1.0]]), torch.tensor([0]), torch.tensor([1.0, 2.0, 1.0])).item()
            for score in np.linspace(-9, 9, 19)
        ]
        assert values == sorted(values, reverse=True)
