from math import exp

import pytest
import torch

from nearnext.model.losses import TOP1, LossInput


def sigmoid(x: float) -> float:
    return 1 / (1 + exp(-x))


def top1(positive: float, negative: float) -> float:
    return sigmoid(positive - negative) + sigmoid((1 - negative) ** 2)


def test_rank_and_regulariser_are_averaged_over_all_pairs() -> None:
    batch = LossInput(positive=torch.tensor([[0.5, 0.25]]), negative=torch.tensor([[1.0, 0.75, 2.0]]))
    expected = sum(top1(p, n) for p in (0.5, 0.25) for n in (1.0, 0.75, 2.0)) / 6
    assert TOP1()(batch).item() == pytest.approx(expected)


def test_matched_pairs_meet_in_order() -> None:
    batch = LossInput(positive=torch.tensor([[0.5, 0.25]]), negative=torch.tensor([[1.0, 0.75]]))
    assert TOP1(pairing="matched")(batch).item() == pytest.approx((top1(0.5, 1.0) + top1(0.25, 0.75)) / 2)


def test_regulariser_pulls_back_a_negative_beyond_distance_1() -> None:
    losses = [TOP1()(LossInput(torch.tensor([[0.0]]), torch.tensor([[d]]))).item() for d in (1.0, 2.0, 3.0)]
    assert losses[2] > losses[1] > losses[0]
