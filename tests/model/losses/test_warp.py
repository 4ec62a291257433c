import pytest
import torch

from nearnext.errors import ConfigError
from nearnext.model.losses import WARP, LossInput


def test_violators_weigh_the_mean_hinge_by_the_harmonic_sum_of_their_number() -> None:
    batch = LossInput(positive=torch.tensor([[0.5]]), negative=torch.tensor([[0.5, 0.25, 0.625, 2.0]]))
    hinges = [0.25, 0.5, 0.125]
    assert WARP(margin=0.25)(batch).item() == pytest.approx((1 + 1 / 2 + 1 / 3) * sum(hinges) / 3, rel=1e-5)


def test_catalogue_size_scales_the_share_of_violators_to_a_rank() -> None:
    batch = LossInput(positive=torch.tensor([[0.5]]), negative=torch.tensor([[0.25, 2.0]]))
    rank_4 = 1 + 1 / 2 + 1 / 3 + 1 / 4  # half of the 9 − 1 other items
    assert WARP(margin=0.25, n_items=9)(batch).item() == pytest.approx(rank_4 * 0.5, rel=1e-5)


def test_positives_of_a_session_are_averaged() -> None:
    batch = LossInput(positive=torch.tensor([[0.5, 0.0]]), negative=torch.tensor([[0.25, 2.0]]))
    assert WARP(margin=0.25)(batch).item() == pytest.approx((1 * 0.5 + 0) / 2, rel=1e-5)


def test_masked_negatives_are_no_violators() -> None:
    batch = LossInput(torch.tensor([[0.5]]), torch.tensor([[0.25, 0.0]]), negative_mask=torch.tensor([[True, False]]))
    assert WARP(margin=0.25, n_items=3)(batch).item() == pytest.approx((1 + 1 / 2) * 0.5, rel=1e-5)


def test_weight_is_a_constant_to_the_gradient() -> None:
    negative = torch.tensor([[0.5, 0.25]], requires_grad=True)
    WARP(margin=0.5)(LossInput(torch.tensor([[0.5]]), negative)).backward()
    assert negative.grad is not None
    assert negative.grad.tolist() == [pytest.approx([-(1 + 1 / 2) / 2, -(1 + 1 / 2) / 2])]


@pytest.mark.parametrize("n_items", [1, 0, -3])
def test_catalogue_without_another_item_is_refused(n_items: int) -> None:
    with pytest.raises(ConfigError, match="n_items must be a whole number of at least 2"):
        WARP(n_items=n_items)
