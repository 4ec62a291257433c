import pytest
import torch
from torch import Tensor

from nearnext.errors import ConfigError
from nearnext.model.losses import LossInput

TWO_BY_TWO = torch.zeros(2, 2)
TWO_BY_THREE = torch.zeros(2, 3)


def test_padding_index_is_masked() -> None:
    batch = LossInput(
        TWO_BY_TWO,
        TWO_BY_THREE,
        positive_indices=torch.tensor([[4, 0], [5, 6]]),
        negative_indices=torch.tensor([[1, 2, 0], [3, 0, 1]]),
    ).masked()
    assert batch.positive_mask.tolist() == [[True, False], [True, True]]
    assert batch.negative_mask.tolist() == [[True, True, False], [True, False, True]]


def test_shared_negative_is_masked_only_where_it_is_the_sessions_own_positive() -> None:
    batch = LossInput(
        TWO_BY_TWO,
        TWO_BY_THREE,
        positive_indices=torch.tensor([[4, 5], [6, 0]]),
        negative_indices=torch.tensor([5, 6, 7]),
    ).masked()
    assert batch.negative_mask.tolist() == [[False, True, True], [True, False, True]]


def test_masked_positive_hides_no_negative() -> None:
    batch = LossInput(
        TWO_BY_TWO,
        TWO_BY_THREE,
        positive_mask=torch.tensor([[True, False], [True, True]]),
        positive_indices=torch.tensor([[4, 5], [4, 6]]),
        negative_indices=torch.tensor([5, 6, 7]),
    ).masked()
    assert batch.negative_mask.tolist() == [[True, True, True], [True, False, True]]


def test_mask_and_indices_hold_together() -> None:
    mask = torch.tensor([[True, False, True], [True, True, True]])
    batch = LossInput(TWO_BY_TWO, TWO_BY_THREE, negative_mask=mask, negative_indices=torch.tensor([0, 1, 2])).masked()
    assert batch.negative_mask.tolist() == [[False, False, True], [False, True, True]]


@pytest.mark.parametrize(
    ("name", "tensor", "message"),
    [
        ("positive_mask", torch.ones(2, 3, dtype=torch.bool), r"positive_mask must have shape \[2, 2\]"),
        ("negative_mask", torch.ones(2, 3), r"negative_mask must be boolean, found torch.float32"),
        ("negative_indices", torch.ones(2), r"negative_indices must have shape \[2, 3\] or \[3\]"),
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
