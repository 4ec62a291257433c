import sys
from collections.abc import Sequence
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from nearnext.errors import ConfigError
from nearnext.model.losses import MetricLearning, MetricLearningLoss, loss_named, metric_learning_names
from nearnext.model.losses.metric_learning import REFERENCES

pytest.importorskip("pytorch_metric_learning", reason="the optional extra metric-learning is not installed")

# The library's older losses hand tensors to numpy in a way that numpy 2 deprecates.
pytestmark = pytest.mark.filterwarnings("ignore:__array_wrap__ must accept context:DeprecationWarning")

ITEMS, SESSIONS, POSITIVES, NEGATIVES, DIM = 30, 6, 3, 4, 8
OPTIONS: dict[str, dict[str, Any]] = {"ranked-list": {"margin": 0.4, "Tn": 1.0}}
NAMED = [
    "pml:multi-similarity",
    "pml:angular",
    "pml:n-pairs",
    "pml:lifted-structure",
    "pml:proxy-nca",
    "pml:contrastive@snr",
    "pml:margin+distance-weighted",
    "pml:multi-similarity+batch-hard",
    "pml:contrastive+hdc",
]


def indices_of(parts: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
    """Distinct item indices of positives and of negatives."""
    indices = 1 + torch.arange(parts[1][..., 0].numel() + parts[2][..., 0].numel())
    positives, negatives = indices.split([parts[1][..., 0].numel(), parts[2][..., 0].numel()])
    return positives.view(parts[1].shape[:2]), negatives.view(parts[2].shape[:2])


def losses_while_training(config: MetricLearning, steps: int = 8) -> tuple[list[float], MetricLearningLoss]:
    torch.manual_seed(0)
    sessions = nn.Parameter(torch.randn(SESSIONS, DIM))
    items = nn.Parameter(torch.randn(ITEMS + 1, DIM))
    shuffled = 1 + torch.randperm(ITEMS)[: SESSIONS * 3]
    positives = shuffled.reshape(SESSIONS, POSITIVES)
    negatives = positives.roll(2, dims=0)[:, [0, 1, 2, 0]]
    loss = config.build(DIM, ITEMS)
    optimiser = torch.optim.Adam([sessions, items, *loss.parameters()], lr=0.05)
    values: list[float] = []
    for _ in range(steps):
        torch.manual_seed(1)  # miners that draw see the same draw at each step
        vectors = normalize(items, dim=1)
        value = loss(
            normalize(sessions, dim=1),
            vectors[positives],
            vectors[negatives],
            positives,
            negatives,
        )
        optimiser.zero_grad()
        value.backward()
        assert sessions.grad is not None
        assert items.grad is not None
        assert sessions.grad.isfinite().all()
        assert items.grad[positives].count_nonzero() > 0
        optimiser.step()
        values.append(value.item())
    return values, loss


@pytest.mark.parametrize("name", metric_learning_names("loss"))
def test_every_loss_falls_while_it_trains(name: str) -> None:
    values, _ = losses_while_training(MetricLearning(name, loss_options=OPTIONS.get(name, {})))
    assert values[-1] < values[0]


@pytest.mark.parametrize("miner", metric_learning_names("miner"))
@pytest.mark.parametrize("loss", ["multi-similarity", "proxy-nca"])
def test_every_miner_chooses_what_a_loss_falls_on(miner: str, loss: str) -> None:
    values, _ = losses_while_training(MetricLearning(loss, miner=miner))
    assert values[-1] < values[0]


@pytest.mark.parametrize("distance", metric_learning_names("distance"))
def test_every_distance_serves_a_loss(distance: str) -> None:
    values, _ = losses_while_training(MetricLearning("contrastive", distance=distance))
    assert values[-1] < values[0]


@pytest.mark.parametrize("name", NAMED)
def test_the_combinations_that_papers_name_work_by_name(name: str) -> None:
    config = loss_named(name)
    assert isinstance(config, MetricLearning)
    values, _ = losses_while_training(config)
    assert values[-1] < values[0]


def test_proxies_are_trained_with_one_class_per_item() -> None:
    _, loss = losses_while_training(MetricLearning("proxy-nca"), steps=1)
    (proxies,) = loss.parameters()
    assert proxies.shape == (ITEMS + 1, DIM)
    assert proxies.grad is not None
    assert proxies.grad.count_nonzero() > 0


class Recorder(nn.Module):
    """A stand-in for a library loss that keeps what it was given."""

    rows: Tensor
    labels: Tensor
    pairs: tuple[Tensor, ...] | None

    def forward(self, rows: Tensor, labels: Tensor, pairs: tuple[Tensor, ...] | None) -> Tensor:
        self.rows, self.labels, self.pairs = rows, labels, pairs
        return rows.sum()


class HardestNegative(nn.Module):
    """A stand-in for a miner: each session with item 0 of the list and the last item."""

    def forward(self, sessions: Tensor, labels: Tensor, items: Tensor, item_labels: Tensor) -> tuple[Tensor, ...]:
        assert len(sessions) == len(labels)
        last = torch.full((len(sessions),), len(item_labels) - 1)
        assert len(items) == len(item_labels)
        return torch.arange(len(sessions)), torch.zeros_like(last), last


SESSION_ROWS = torch.tensor([[1.0], [2.0]])
POSITIVE_ROWS = torch.tensor([[[3.0], [4.0]], [[5.0], [-1.0]]])
NEGATIVE_ROWS = torch.tensor([[[6.0]], [[7.0]]])
POSITIVE_ITEMS = torch.tensor([[3, 4], [5, 0]])
NEGATIVE_ITEMS = torch.tensor([[6], [3]])


def test_positives_share_the_class_of_their_session_and_negatives_are_classes_of_their_own() -> None:
    recorder = Recorder()
    loss = MetricLearningLoss(recorder, None, "one set")
    loss(SESSION_ROWS, POSITIVE_ROWS, NEGATIVE_ROWS, POSITIVE_ITEMS, NEGATIVE_ITEMS)
    assert recorder.rows.flatten().tolist() == [1, 2, 3, 4, 5, 6, 7]
    assert recorder.labels.tolist() == [0, 1, 0, 0, 1, 2, 3]


def test_pairs_lead_from_sessions_to_items_and_never_make_a_negative_of_an_own_positive() -> None:
    recorder = Recorder()
    loss = MetricLearningLoss(recorder, None, "one set")
    loss(SESSION_ROWS, POSITIVE_ROWS, NEGATIVE_ROWS, POSITIVE_ITEMS, NEGATIVE_ITEMS)
    assert recorder.pairs is not None
    anchors, positives, other_anchors, negatives = (part.tolist() for part in recorder.pairs)
    assert list(zip(anchors, positives, strict=True)) == [(0, 2), (0, 3), (1, 4)]
    # Row 6 is item 3, a positive of session 0: left out there, a negative of session 1 as sampled.
    assert list(zip(other_anchors, negatives, strict=True)) == [(0, 4), (0, 5), (1, 2), (1, 3), (1, 5), (1, 6)]


def test_mined_triplets_are_freed_of_own_positives_too() -> None:
    recorder = Recorder()
    loss = MetricLearningLoss(recorder, HardestNegative(), "one set")
    loss(SESSION_ROWS, POSITIVE_ROWS, NEGATIVE_ROWS, POSITIVE_ITEMS, NEGATIVE_ITEMS)
    assert recorder.pairs is not None
    assert [part.tolist() for part in recorder.pairs] == [[1], [2], [6]]


def test_class_weights_see_sessions_and_items_under_item_classes() -> None:
    recorder = Recorder()
    loss = MetricLearningLoss(recorder, None, "item classes")
    loss(SESSION_ROWS, POSITIVE_ROWS, NEGATIVE_ROWS, POSITIVE_ITEMS, NEGATIVE_ITEMS)
    assert recorder.rows.flatten().tolist() == [1, 1, 2, 3, 4, 5, 6, 7]
    assert recorder.labels.tolist() == [3, 4, 5, 3, 4, 5, 6, 3]
    assert recorder.pairs is None


# Angular and NCA compare with every row there is, and among references that is the items alone.
@pytest.mark.parametrize("name", sorted(REFERENCES - {"AngularLoss", "NCALoss"}))
def test_items_as_references_pull_as_the_same_items_in_one_set(name: str) -> None:
    torch.manual_seed(0)
    parts = [normalize(torch.randn(SESSIONS, count, DIM), dim=2) for count in (1, POSITIVES, NEGATIVES)]
    parts = [part.requires_grad_() for part in (parts[0].squeeze(1).detach(), *parts[1:])]
    built = MetricLearning(name).build(DIM, ITEMS)
    assert built.reading == "references"
    one_set = MetricLearningLoss(built.loss, None, "one set")
    one, other = (torch.autograd.grad(loss(*parts, *indices_of(parts)), parts) for loss in (built, one_set))
    for gradient, expected in zip(one, other, strict=True):  # the mean over rows differs in scale alone
        torch.testing.assert_close(normalize(gradient.flatten(), dim=0), normalize(expected.flatten(), dim=0))


def test_swap_is_given_one_set() -> None:
    assert MetricLearning("triplet-margin", loss_options={"swap": True}).build(DIM, ITEMS).reading == "one set"
    values, _ = losses_while_training(MetricLearning("triplet-margin", loss_options={"swap": True}))
    assert values[-1] < values[0]


@pytest.mark.parametrize("name", ["multi-similarity", "triplet-margin", "n-pairs", "angular"])
def test_masked_entries_influence_neither_value_nor_gradient(name: str) -> None:
    loss = MetricLearning(name).build(DIM, ITEMS)
    torch.manual_seed(0)
    sessions = torch.randn(SESSIONS, DIM)
    positives, negatives = torch.randn(SESSIONS, POSITIVES, DIM), torch.randn(SESSIONS, NEGATIVES, DIM)
    positive_mask, negative_mask = torch.rand(SESSIONS, POSITIVES) < 0.7, torch.rand(SESSIONS, NEGATIVES) < 0.7

    def value(fill: float) -> tuple[Tensor, Tensor]:
        filled = torch.where(positive_mask[:, :, None], positives, fill).requires_grad_()
        others = torch.where(negative_mask[:, :, None], negatives, fill)
        indices = indices_of((sessions, filled, others))
        result = loss(sessions, filled, others, indices[0] * positive_mask, indices[1] * negative_mask)
        result.backward()
        assert filled.grad is not None
        return result, filled.grad

    (zero, _), (spoiled, gradient) = value(0.0), value(float("nan"))
    torch.testing.assert_close(zero, spoiled)
    assert gradient[~positive_mask].count_nonzero() == 0
    assert gradient.isfinite().all()


def test_batch_without_positives_gives_zero_with_a_gradient() -> None:
    loss = MetricLearning("multi-similarity").build(1, ITEMS)
    sessions = SESSION_ROWS.clone().requires_grad_()
    value = loss(sessions, POSITIVE_ROWS, NEGATIVE_ROWS, torch.zeros(2, 2).long(), NEGATIVE_ITEMS)
    value.backward()
    assert value.item() == 0.0
    assert sessions.grad is not None


def test_bfloat16_embeddings_give_a_float32_loss() -> None:
    torch.manual_seed(0)
    loss = MetricLearning("multi-similarity", miner="batch-hard").build(DIM, ITEMS)
    shapes = [(SESSIONS, DIM), (SESSIONS, POSITIVES, DIM), (SESSIONS, NEGATIVES, DIM)]
    parts = [torch.randn(shape).bfloat16() for shape in shapes]
    indices = indices_of(parts)
    assert loss(*parts, *indices).dtype == torch.float32
    torch.testing.assert_close(loss(*parts, *indices), loss(*(part.float() for part in parts), *indices))


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (MetricLearning("hinge"), "unknown metric-learning loss 'hinge'; known: angular, arc-face"),
        (MetricLearning("angular", miner="hardest"), "unknown metric-learning miner 'hardest'; known: angular, batch"),
        (MetricLearning("angular", distance="cosine"), "unknown metric-learning distance 'cosine'; known: cosine-sim"),
        (MetricLearning("angular", distance="snr"), "AngularLoss cannot be built with"),
        (MetricLearning("contrastive", loss_options={"margin": 1}), "ContrastiveLoss cannot be built with"),
        (MetricLearning("ranked-list"), "RankedListLoss cannot be built with"),
        (MetricLearning("instance", miner="batch-hard"), "'instance' takes no chosen pairs, found miner 'batch-hard'"),
    ],
)
def test_what_cannot_be_built_says_why(config: MetricLearning, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        config.build(DIM, ITEMS)


def test_missing_library_names_the_command_that_installs_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pytorch_metric_learning.losses", None)
    with pytest.raises(ConfigError, match=r"pip install 'nearnext\[metric-learning\]'"):
        MetricLearning("angular").build(DIM, ITEMS)
