from math import exp, log

import pytest
import torch

from nearnext.model.losses import BPR, LossInput


def bpr(positive: float, negative: float) -> float:
    return -log(1 / (1 + exp(-(negative - positive))))


def test_every_positive_meets_every_negative_and_pairs_are_averaged() -> None:
    batch = LossInput(positive=torch.tensor([[0.5, 0.25]]), negative=torch.tensor([[1.0, 0.75, 2.0]]))
    expected = sum(bpr(p, n) for p in (0.5, 0.25) for n in (1.0, 0.75, 2.0)) / 6
    assert BPR()(batch).item() == pytest.approx(expected)


def test_matched_pairs_meet_in_order() -> None:
    batch = LossInput(positive=torch.tensor([[0.5, 0.25]]), negative=torch.tensor([[1.0, 0.75]]))
    assert BPR(pairing="matched")(batch).item() == pytest.approx((bpr(0.5, 1.0) + bpr(0.25, 0.75)) / 2)


def test_wrong_order_costs_its_distance_where_the_sigmoid_underflows() -> None:
    batch = LossInput(positive=torch.tensor([[1000.0]]), negative=torch.tensor([[0.0]]))
    assert BPR()(batch).item() == 1000.0
