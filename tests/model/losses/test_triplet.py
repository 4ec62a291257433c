from math import sqrt
from typing import cast

import pytest
import torch

from nearnext.errors import ConfigError
from nearnext.model.losses import LossInput, Triplet
from nearnext.model.losses.pairs import Pairing

POSITIVE = torch.tensor([[0.5, 0.75, 1.0]])
NEGATIVE = torch.tensor([[0.25, 1.0, 0.5]])
HINGES = [0.5 - 0.25 + 0.3, 0.75 - 1.0 + 0.3, 1.0 - 0.5 + 0.3]


def test_matched_pairs_are_weighted_by_position_and_summed_as_in_equation_8() -> None:
    expected = HINGES[0] + HINGES[1] / sqrt(2) + HINGES[2] / sqrt(3)
    assert Triplet(margin=0.3)(LossInput(POSITIVE, NEGATIVE)).item() == pytest.approx(expected)


def test_without_rank_weights_every_position_counts_the_same() -> None:
    assert Triplet(rank_weights=False)(LossInput(POSITIVE, NEGATIVE)).item() == pytest.approx(sum(HINGES))


def test_all_pairs_average_the_hinges_over_the_negatives_of_each_positive() -> None:
    batch = LossInput(positive=torch.tensor([[0.5, 0.75]]), negative=torch.tensor([[0.25, 1.0, 2.0]]))
    first = (0.55 + 0 + 0) / 3
    second = (0.8 + 0.05 + 0) / 3
    assert Triplet(pairing="all")(batch).item() == pytest.approx(first + second / sqrt(2))


def test_position_counts_real_positives_only() -> None:
    mask = torch.tensor([[True, False, True]])
    loss = Triplet()(LossInput(POSITIVE, NEGATIVE, positive_mask=mask))
    assert loss.item() == pytest.approx(HINGES[0] + HINGES[2] / sqrt(2))


def test_swap_takes_the_nearer_of_session_and_positive() -> None:
    between = torch.full((1, 3, 3), 2.0)
    between[0, 1, 1] = 0.125  # matched: only the diagonal is read
    between[0, 0, 1] = 0.0
    loss = Triplet(swap=True)(LossInput(POSITIVE, NEGATIVE, positive_negative=between))
    assert loss.item() == pytest.approx(HINGES[0] + (0.75 - 0.125 + 0.3) / sqrt(2) + HINGES[2] / sqrt(3))


def test_swap_over_all_pairs_reads_every_item_distance() -> None:
    batch = LossInput(
        positive=torch.tensor([[0.5, 0.75]]),
        negative=torch.tensor([[1.0]]),
        positive_negative=torch.tensor([[[0.25], [0.5]]]),
    )
    expected = (0.5 - 0.25 + 0.3) + (0.75 - 0.5 + 0.3) / sqrt(2)
    assert Triplet(swap=True, pairing="all")(batch).item() == pytest.approx(expected)


def test_gradient_is_the_weight_on_active_pairs_and_zero_on_the_others() -> None:
    positive = torch.tensor([[0.5, 0.25]], requires_grad=True)
    Triplet(margin=0.25)(LossInput(positive, torch.tensor([[2.0, 0.25]]))).backward()
    assert positive.grad is not None
    assert positive.grad.tolist() == [[0.0, pytest.approx(1 / sqrt(2))]]


def test_unequal_numbers_cannot_be_matched() -> None:
    with pytest.raises(ConfigError, match="as many negatives as positives, found 1 and 3 per session"):
        Triplet()(LossInput(POSITIVE, torch.tensor([[0.5]])))


def test_swap_without_item_distances_is_refused() -> None:
    with pytest.raises(ConfigError, match="swap needs positive_negative"):
        Triplet(swap=True)(LossInput(POSITIVE, NEGATIVE))


def test_unknown_pairing_lists_the_known() -> None:
    with pytest.raises(ConfigError, match="unknown pairing 'hardest'; known: matched, all"):
        Triplet(pairing=cast("Pairing", "hardest"))


def test_chord_compares_the_euclidean_distances_of_normalised_vectors() -> None:
    torch.manual_seed(6)
    anchors, positives, negatives = (torch.nn.functional.normalize(torch.randn(5, 4), dim=1) for _ in range(3))
    cosine = LossInput((1 - (anchors * positives).sum(1))[:, None], (1 - (anchors * negatives).sum(1))[:, None])
    expected = torch.nn.functional.triplet_margin_loss(anchors, positives, negatives, margin=0.5)
    torch.testing.assert_close(Triplet(margin=0.5, chord=True)(cosine), expected, rtol=1e-4, atol=1e-5)


def test_chord_has_a_finite_gradient_at_distance_zero() -> None:
    positive = torch.zeros(1, 1, requires_grad=True)
    Triplet(margin=0.5, chord=True)(LossInput(positive, torch.tensor([[0.1]]))).backward()
    assert positive.grad is not None
    assert positive.grad.tolist() == [[0.0]]
