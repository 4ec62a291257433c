"""The learning rate falls when validation improves by less than 0.5%, and training stops at the third time."""

import re
from dataclasses import FrozenInstanceError

import pytest

from nearnext.errors import ConfigError
from nearnext.training.config import Schedule, Standing, TrainingConfig

PLAN = Schedule(epochs=100, lr_factor=0.5, improvement=0.005, lowerings=3)


def after(metrics: list[float | None], plan: Schedule = PLAN) -> Standing:
    standing = Standing()
    for metric in metrics:
        standing = plan.after(standing, {} if metric is None else {"HitRate@20": metric})
    return standing


def share(standing: Standing) -> float:
    return PLAN.share(standing, 0, 10)


def test_the_share_rises_to_its_peak_and_falls_along_a_cosine():
    plan = Schedule(epochs=1, warmup=0.1, final=0.2)
    found = [plan.share(Standing(), step, 20) for step in (0, 1, 2, 11, 20)]
    assert found == pytest.approx([0.5, 1.0, 1.0, 0.6, 0.2])


def test_figures_are_compared_by_their_sum_and_the_share_is_never_lowered_without_a_threshold():
    plan = Schedule(epochs=9, compared=("HitRate@20", "MRR@20"))
    standing = plan.after(Standing(), {"HitRate@20": 0.4, "MRR@20": 0.2})
    standing = plan.after(standing, {"HitRate@20": 0.5, "MRR@20": 0.0})
    assert (standing.best, standing.best_epoch, standing.lowered) == (pytest.approx(0.6), 1, 0)


def test_the_learning_rate_stays_while_validation_improves_by_half_a_percent():
    assert share(after([0.2, 0.201, 0.25])) == 1.0


def test_an_improvement_just_below_half_a_percent_lowers_it():
    standing = after([0.2, 0.2009])
    assert (share(standing), standing.lowered, standing.best_epoch) == (0.5, 1, 2)


def test_training_stops_at_the_third_lowering():
    assert not after([0.5, 0.4, 0.4]).finished
    stopped = after([0.5, 0.4, 0.4, 0.4])
    assert (stopped.finished, stopped.lowered, stopped.epoch, stopped.best_epoch) == (True, 3, 4, 1)


def test_improvement_counts_from_the_best_epoch_so_far_not_from_the_last():
    assert after([0.5, 0.3, 0.4]).lowered == 2


def test_a_slight_improvement_is_remembered_as_the_best():
    assert after([0.5, 0.5001]).best == 0.5001


def test_a_metric_of_zero_throughout_stops():
    assert not after([0.0] * 3).finished
    assert after([0.0] * 4).finished


def test_training_ends_after_the_last_epoch_however_well_it_goes():
    standing = after([0.1, 0.2], TrainingConfig(epochs=2).schedule())
    assert standing.finished
    assert standing.lowered == 0


def test_without_validation_every_epoch_is_the_best_so_far():
    standing = after([None, None], TrainingConfig(epochs=3).schedule())
    assert (standing.best_epoch, standing.finished, share(standing)) == (2, False, 1.0)


def test_the_rate_can_fall_after_every_so_many_epochs_whatever_validation_says():
    plan = TrainingConfig(lr_factor=0.5, lower_every=2, lowerings=2).schedule()
    shares = [plan.share(after([0.1 * epoch for epoch in range(epochs)], plan), 0, 9) for epochs in range(6)]
    assert shares == [1.0, 1.0, 0.5, 0.5, 0.25, 0.25]
    assert plan.share(after([None] * 4, plan), 0, 9) == 0.25
    stopped = after([0.5, 0.5, 0.5], plan)
    assert (stopped.finished, stopped.lowered, stopped.best_epoch) == (True, 2, 1)


def test_it_is_a_frozen_value():
    with pytest.raises(FrozenInstanceError):
        Standing().epoch = 3  # pyright: ignore[reportAttributeAccessIssue]


def test_the_defaults_are_those_of_the_paper():
    paper = TrainingConfig()
    assert (paper.learning_rate, paper.batch_size, paper.epochs) == (0.001, 32, 150)
    assert (paper.improvement, paper.lowerings, paper.validation_fraction) == (0.005, 3, 0.05)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"epochs": 0}, "epochs must be a whole number of at least 1, found 0"),
        ({"lower_every": -1}, "lower_every must be a whole number of at least 0, found -1"),
        ({"batch_size": 2.5}, "batch_size must be a whole number of at least 1, found 2.5"),
        ({"learning_rate": 0.0}, "learning_rate must be a finite number above 0, found 0.0"),
        ({"learning_rate": float("nan")}, "learning_rate must be a finite number above 0, found nan"),
        ({"lr_factor": 1.0}, "lr_factor must be a finite number above 0 and below 1, found 1.0"),
        ({"validation_fraction": 1.0}, "validation_fraction must be a finite number of at least 0 and below 1"),
        ({"clip": -1}, "clip must be a finite number of at least 0, found -1"),
        ({"validation_metric": "NDCG"}, "unknown validation_metric 'NDCG'; known: HitRate, MRR"),
        ({"precision": "fp16"}, "unknown precision 'fp16'; did you mean 'bf16'?; known: fp32, bf16"),
    ],
)
def test_options_out_of_range_are_refused(options: dict[str, float], message: str):
    with pytest.raises(ConfigError, match=re.escape(message)):
        TrainingConfig(**options)  # pyright: ignore[reportArgumentType]
