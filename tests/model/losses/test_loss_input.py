import pytest
import torch
from torch import Tensor

from nearnext.errors import ConfigError
from nearnext.model.losses import LossInput

TWO_BY_TWO = torch.zeros(2, 2)
TWO_BY_THREE = torch.zeros(2, 3)


def test_without_masks_every_entry_counts() -> None:
    batch = LossInput(TWO_BY_TWO, TWO_BY_THREE, negative_mask=torch.tensor([[True, False, True]] * 2)).masked()
    assert batch.positive_mask.all()
    assert batch.negative_mask.tolist() == [[True, False, True]] * 2


@pytest.mark.parametrize(
    ("name", "tensor", "message"),
    [
        ("positive_mask", torch.ones(2, 3, dtype=torch.bool), r"positive_mask must have shape \[2, 2\]"),
        ("negative_mask", torch.ones(2, 3), r"negative_mask must be boolean, found torch.float32"),
        ("log_proposal", torch.ones(2), r"log_proposal must have shape \[2, 3\] or \[3\]"),
        ("positive_negative", torch.ones(2, 3, 2), r"positive_negative must have shape \[2, 2, 3\]"),
    ],
)
def test_shapes_that_do_not_fit_are_refused(name: str, tensor: Tensor, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        LossInput(TWO_BY_TWO, TWO_BY_THREE, **{name: tensor})


@pytest.mark.parametrize("negative", [torch.zeros(3, 2), torch.zeros(2), torch.zeros(2, 2, 2)])
def test_distances_of_other_sessions_are_refused(negative: Tensor) -> None:
    with pytest.raises(ConfigError, match=r"must be \[B, P\] and negative distances \[B, N\] of the same B"):
        LossInput(TWO_BY_TWO, negative)
