import pytest
import torch

from nearnext.errors import ConfigError
from nearnext.model.losses import Contrastive, LossInput


def test_positive_counts_its_distance_and_a_negative_what_the_margin_lacks() -> None:
    batch = LossInput(positive=torch.tensor([[0.25, 0.75]]), negative=torch.tensor([[0.5, 1.5]]))
    assert Contrastive(margin=1.0)(batch).item() == pytest.approx((0.25 + 0.75) / 2 + ((1 - 0.5) + 0) / 2)


def test_near_negative_is_pushed_away_and_not_pulled_as_the_paper_prints() -> None:
    negative = torch.tensor([[0.125]], requires_grad=True)
    Contrastive(margin=0.5)(LossInput(positive=torch.tensor([[0.0]]), negative=negative)).backward()
    assert negative.grad is not None
    assert negative.grad.item() == -1.0


def test_positive_at_zero_and_negative_beyond_margin_give_exactly_zero() -> None:
    batch = LossInput(positive=torch.tensor([[0.0]]), negative=torch.tensor([[0.31, 2.0]]))
    assert Contrastive(margin=0.3)(batch).item() == 0.0


def test_two_sessions_give_their_mean() -> None:
    batch = LossInput(positive=torch.tensor([[0.25], [0.75]]), negative=torch.tensor([[2.0], [0.5]]))
    assert Contrastive(margin=1.0)(batch).item() == pytest.approx(((0.25 + 0) + (0.75 + 0.5)) / 2)


@pytest.mark.parametrize("margin", [-0.1, float("nan"), float("inf"), True, "0.3"])
def test_margin_out_of_range_is_refused(margin: float) -> None:
    with pytest.raises(ConfigError, match="margin must be a finite number of at least 0"):
        Contrastive(margin=margin)
