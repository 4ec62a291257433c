from typing import Literal

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.distance import cdist

from nearnext.errors import ConfigError
from nearnext.model.distances import DISTANCES, DistanceName, all_pairs, l2_normalised, pairwise, to_sets

SCIPY_NAMES: dict[DistanceName, Literal["cosine", "euclidean", "sqeuclidean"]] = {
    "cosine": "cosine",
    "euclidean": "euclidean",
    "squared_euclidean": "sqeuclidean",
}
every_distance = pytest.mark.parametrize("distance", DISTANCES)


def random_vectors(seed: int, *shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


@every_distance
@settings(deadline=None, max_examples=50)
@given(seed=st.integers(0, 10_000), dim=st.integers(1, 40))
def test_distances_equal_scipy(distance: DistanceName, seed: int, dim: int) -> None:
    anchors, items = random_vectors(seed, 5, dim), random_vectors(seed + 1, 7, dim)

    found = all_pairs(anchors, items, distance)

    expected = torch.from_numpy(cdist(anchors.double().numpy(), items.double().numpy(), SCIPY_NAMES[distance]))
    torch.testing.assert_close(found.double(), expected, rtol=1e-5, atol=1e-5)


@every_distance
def test_the_three_shapes_agree(distance: DistanceName) -> None:
    anchors, items = random_vectors(1, 4, 6), random_vectors(2, 4, 6)
    full = all_pairs(anchors, items, distance)

    torch.testing.assert_close(pairwise(anchors, items, distance), full.diagonal())
    torch.testing.assert_close(to_sets(anchors, items.expand(4, 4, 6), distance), full)


@settings(deadline=None, max_examples=50)
@given(seed=st.integers(0, 10_000), scale=st.sampled_from([1e-9, 1.0, 1e9]))
def test_cosine_distance_is_in_0_to_2_whatever_the_lengths(seed: int, scale: float) -> None:
    anchors = random_vectors(seed, 6, 3) * scale
    found = all_pairs(torch.cat([anchors, -anchors]), anchors)
    assert ((found >= 0) & (found <= 2)).all()
    torch.testing.assert_close(found[:6].diagonal(), torch.zeros(6), rtol=0, atol=1e-5)
    torch.testing.assert_close(found[6:].diagonal(), torch.full((6,), 2.0), rtol=0, atol=1e-5)


def test_opposite_orthogonal_and_equal_directions_by_hand() -> None:
    anchor = torch.tensor([[3.0, 4.0]])
    others = torch.tensor([[[6.0, 8.0], [-4.0, 3.0], [-3.0, -4.0]]])
    torch.testing.assert_close(to_sets(anchor, others, "cosine"), torch.tensor([[0.0, 1.0, 2.0]]))
    torch.testing.assert_close(to_sets(anchor, others, "euclidean"), torch.tensor([[5.0, 50.0**0.5, 10.0]]))
    torch.testing.assert_close(to_sets(anchor, others, "squared_euclidean"), torch.tensor([[25.0, 50.0, 100.0]]))


def test_near_vectors_far_from_the_origin_keep_their_euclidean_distance() -> None:
    # In single precision 1000² cancels 1000², and a distance of 0.5 becomes 0 or worse.
    anchor = torch.full((1, 64), 1000.0)
    item = anchor.clone()
    item[0, 0] += 0.5
    torch.testing.assert_close(all_pairs(anchor, item, "euclidean"), torch.tensor([[0.5]]))


def test_a_zero_vector_is_at_cosine_distance_1_from_everything() -> None:
    assert pairwise(torch.zeros(1, 3), torch.tensor([[1.0, 2.0, 3.0]])).tolist() == [1.0]
    assert pairwise(torch.zeros(1, 3), torch.zeros(1, 3)).tolist() == [1.0]


@every_distance
@pytest.mark.parametrize("vector", [[0.6, -0.8, 0.1], [0.0, 0.0, 0.0], [1e-20, 0.0, 0.0]])
def test_gradient_is_finite_and_vanishes_at_zero_distance(distance: DistanceName, vector: list[float]) -> None:
    anchors = torch.tensor([vector], requires_grad=True)
    others = torch.tensor([vector], requires_grad=True)

    pairwise(anchors, others, distance).sum().backward()

    for gradient in (anchors.grad, others.grad):
        assert gradient is not None
        torch.testing.assert_close(gradient, torch.zeros(1, 3), rtol=0, atol=1e-5)


@every_distance
def test_gradients_match_finite_differences(distance: DistanceName) -> None:
    anchors, sets = random_vectors(3, 3, 4).double(), random_vectors(4, 3, 5, 4).double()

    def distances(left: torch.Tensor, right: torch.Tensor) -> torch.Tensor:
        return to_sets(left, right, distance)

    assert torch.autograd.gradcheck(distances, (anchors.requires_grad_(), sets.requires_grad_()))


@every_distance
def test_distances_keep_single_precision_under_autocast(distance: DistanceName) -> None:
    anchors, items = random_vectors(5, 3, 64), random_vectors(6, 4, 64)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = all_pairs(anchors, items, distance)
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, all_pairs(anchors, items, distance))


def test_half_precision_embeddings_give_single_precision_distances() -> None:
    assert all_pairs(torch.ones(1, 4).bfloat16(), torch.ones(2, 4).bfloat16()).dtype == torch.float32


@every_distance
def test_inputs_are_unmodified_and_empty_sets_are_allowed(distance: DistanceName) -> None:
    anchors, items = random_vectors(7, 3, 4), random_vectors(8, 2, 4)
    before = anchors.clone(), items.clone()
    all_pairs(anchors, items, distance)
    assert torch.equal(anchors, before[0])
    assert torch.equal(items, before[1])
    assert to_sets(anchors, torch.zeros(3, 0, 4), distance).shape == (3, 0)


def test_l2_normalised_vectors_have_length_1() -> None:
    lengths = l2_normalised(random_vectors(9, 50, 400)).square().sum(1).sqrt()
    torch.testing.assert_close(lengths, torch.ones(50))


def test_unknown_distance_lists_the_known_ones() -> None:
    unknown: DistanceName = "manhattan"  # pyright: ignore[reportAssignmentType]
    with pytest.raises(ConfigError, match="unknown distance 'manhattan'; known: cosine, euclidean, squared_euclidean"):
        pairwise(torch.ones(1, 2), torch.ones(1, 2), unknown)


@pytest.mark.parametrize("distance", ["euclidean", "squared_euclidean"])
@pytest.mark.parametrize("shape", [(6, 4), (3, 6, 4)], ids=["shared", "own"])
def test_euclidean_gradients_are_those_of_the_differences(distance: DistanceName, shape: tuple[int, ...]) -> None:
    torch.manual_seed(8)
    anchors, items = torch.randn(3, 5, 4, requires_grad=True), torch.randn(shape, requires_grad=True)
    weights = torch.randn(3, 5, 6)
    squared = (anchors.unsqueeze(-2) - items.unsqueeze(-3)).square().sum(-1)
    expected = torch.autograd.grad(
        (weights * (squared if distance == "squared_euclidean" else squared.sqrt())).sum(), (anchors, items)
    )
    found = torch.autograd.grad((weights * all_pairs(anchors, items, distance)).sum(), (anchors, items))
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5)
