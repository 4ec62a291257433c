from math import exp, log
from typing import Any, Literal

import pytest
import torch

from nearnext.errors import ConfigError
from nearnext.model.losses import NCAS, LossInput

Direction = Literal["paper", "cross_entropy"]
# exp(−d) is 1 and 1/3, so that p is 3/4 and 1/4.
THREE_TO_ONE = LossInput(positive=torch.tensor([[0.0]]), negative=torch.tensor([[log(3)]]))


def test_paper_direction_is_the_divergence_of_the_prediction_from_the_smoothed_labels() -> None:
    expected = 0.75 * log(0.75 / 0.85) + 0.25 * log(0.25 / 0.15)
    assert NCAS(smoothing=0.3)(THREE_TO_ONE).item() == pytest.approx(expected)


def test_cross_entropy_direction_is_the_divergence_of_the_smoothed_labels_from_the_prediction() -> None:
    expected = 0.85 * log(0.85 / 0.75) + 0.15 * log(0.15 / 0.25)
    assert NCAS(smoothing=0.3, direction="cross_entropy")(THREE_TO_ONE).item() == pytest.approx(expected)


@pytest.mark.parametrize("direction", ["paper", "cross_entropy"])
def test_prediction_equal_to_the_smoothed_labels_gives_zero_and_no_gradient(direction: Direction) -> None:
    positive = torch.tensor([[0.0]], requires_grad=True)
    negative = torch.tensor([[log(3)]], requires_grad=True)
    loss = NCAS(smoothing=0.5, direction=direction)(LossInput(positive, negative))  # p' = 0.5 + 0.25 and 0.25
    loss.backward()
    assert loss.item() == pytest.approx(0.0, abs=1e-6)
    assert positive.grad is not None
    assert positive.grad.item() == pytest.approx(0.0, abs=1e-6)


def test_labels_are_uniform_over_the_positives_of_a_session() -> None:
    batch = LossInput(positive=torch.tensor([[0.0, log(2)]]), negative=torch.tensor([[log(2)]]))
    p, smoothed = (1 / 2, 1 / 4, 1 / 4), (0.35 + 0.1, 0.35 + 0.1, 0.1)
    expected = sum(a * log(a / b) for a, b in zip(p, smoothed, strict=True))
    assert NCAS(smoothing=0.3)(batch).item() == pytest.approx(expected)


def test_masked_entries_are_not_in_the_sampled_set() -> None:
    batch = LossInput(
        positive=torch.tensor([[0.0, 9.0]]),
        negative=torch.tensor([[9.0, log(3)]]),
        positive_mask=torch.tensor([[True, False]]),
        negative_mask=torch.tensor([[False, True]]),
    )
    assert NCAS(smoothing=0.3)(batch).item() == pytest.approx(NCAS(smoothing=0.3)(THREE_TO_ONE).item())


def test_temperature_divides_the_distances() -> None:
    batch = LossInput(positive=torch.tensor([[0.0]]), negative=torch.tensor([[log(3) / 4]]))
    assert NCAS(temperature=0.25)(batch).item() == pytest.approx(NCAS()(THREE_TO_ONE).item())


def test_without_smoothing_the_cross_entropy_is_that_of_uniform_positives() -> None:
    batch = LossInput(positive=torch.tensor([[0.0, log(2)]]), negative=torch.tensor([[log(2)]]))
    expected = 0.5 * log(0.5 / 0.5) + 0.5 * log(0.5 / 0.25)
    assert NCAS(smoothing=0.0, direction="cross_entropy")(batch).item() == pytest.approx(expected)


def test_without_smoothing_the_paper_direction_is_the_probability_of_the_negatives() -> None:
    batch = LossInput(positive=torch.tensor([[0.0]]), negative=torch.tensor([[log(2), log(2)]]))
    assert NCAS(smoothing=0.0)(batch).item() == pytest.approx(1 / 4 + 1 / 4)


def test_paper_direction_without_smoothing_is_the_limit_over_the_logarithm() -> None:
    smallest = 1e-300  # far below what float32 can hold
    scaled = NCAS(smoothing=smallest)(THREE_TO_ONE).item() / log(1 / smallest)
    assert scaled == pytest.approx(1 / 4, rel=0.01)


def test_proposal_makes_the_sampled_denominator_unbiased() -> None:
    distances, sampled_with = [0.5, 1.0, 1.5], [0.5, 0.25, 0.25]
    loss = NCAS(smoothing=0.0, direction="cross_entropy")

    def denominator(item: int) -> float:
        batch = LossInput(
            positive=torch.tensor([[0.25]], dtype=torch.float64),
            negative=torch.tensor([[distances[item]]], dtype=torch.float64),
            log_proposal=torch.tensor([log(sampled_with[item])], dtype=torch.float64),
        )
        return exp(loss(batch).item() - 0.25)

    expectation = sum(chance * denominator(item) for item, chance in enumerate(sampled_with))
    assert expectation == pytest.approx(exp(-0.25) + sum(exp(-d) for d in distances))


def test_smoothed_negative_below_its_share_is_drawn_nearer() -> None:
    near, far = (
        NCAS(smoothing=0.3, direction="cross_entropy")(LossInput(torch.tensor([[0.0]]), torch.tensor([[distance]])))
        for distance in (log(0.85 / 0.15), 4.0)
    )
    assert near.item() == pytest.approx(0.0, abs=1e-6)
    assert far > near


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"smoothing": -0.1}, "smoothing must be a finite number of at least 0"),
        ({"smoothing": 1.0}, "smoothing must be a finite number of at least 0 and below 1"),
        ({"temperature": 0.0}, "temperature must be a finite number above 0"),
        ({"direction": "reverse"}, "unknown direction 'reverse'; known: paper, cross_entropy"),
    ],
)
def test_option_out_of_range_is_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        NCAS(**options)


@pytest.mark.parametrize("direction", ["paper", "cross_entropy"])
def test_softmax_labels_are_the_softmax_of_the_block_of_positives(direction: Direction) -> None:
    torch.manual_seed(4)
    positive, negative = torch.rand(3, 2), torch.rand(3, 5)
    log_p = torch.cat([-positive, -negative], dim=1).log_softmax(dim=1)
    log_labels = torch.cat([torch.ones(3, 2), torch.zeros(3, 5)], dim=1).log_softmax(dim=1)
    wanted, given = (log_p, log_labels) if direction == "paper" else (log_labels, log_p)
    expected = torch.nn.functional.kl_div(given, wanted, reduction="batchmean", log_target=True)
    loss = NCAS(labels="softmax", direction=direction)
    torch.testing.assert_close(loss(LossInput(positive, negative)), expected)


@pytest.mark.parametrize("direction", ["paper", "cross_entropy"])
def test_softmax_labels_leave_out_what_is_masked(direction: Direction) -> None:
    loss = NCAS(smoothing=0.0, labels="softmax", direction=direction)
    short = LossInput(positive=torch.tensor([[0.3]]), negative=torch.tensor([[0.9, 0.4]]))
    padded = LossInput(
        positive=torch.tensor([[0.3, torch.nan]], requires_grad=True),
        negative=torch.tensor([[0.9, 0.4, 7.0]]),
        positive_mask=torch.tensor([[True, False]]),
        negative_mask=torch.tensor([[True, True, False]]),
    )
    found = loss(padded)
    found.backward()
    torch.testing.assert_close(found, loss(short))
    assert padded.positive.grad is not None
    assert padded.positive.grad.isfinite().all()


def test_softmax_labels_over_a_whole_batch_leave_the_positives_four_percent_as_a_smoothing_of_974_does() -> None:
    batch = LossInput(positive=torch.rand(1, 8), negative=torch.rand(1, 504))
    kept = 8 * exp(1) / (8 * exp(1) + 504)
    smoothing = 1 - (kept - 8 / 512) / (1 - 8 / 512)
    assert (kept, smoothing) == (pytest.approx(0.0414, abs=5e-5), pytest.approx(0.974, abs=5e-4))
    smoothed = NCAS(smoothing=smoothing, direction="cross_entropy")
    soft = NCAS(labels="softmax", direction="cross_entropy")
    torch.testing.assert_close(soft(batch), smoothed(batch), rtol=1e-3, atol=1e-6)


def test_unknown_labels_are_refused() -> None:
    with pytest.raises(ConfigError, match="unknown labels 'hard'; known: smoothed, softmax"):
        NCAS(labels="hard")  # pyright: ignore[reportArgumentType]
