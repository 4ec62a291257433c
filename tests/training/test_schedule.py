"""The learning rate falls when validation improves by less than 0.5%, and training stops at the third time."""

from dataclasses import FrozenInstanceError

import pytest

from nearnext.errors import ConfigError
from nearnext.training.config import TrainingConfig
from nearnext.training.schedule import Schedule

CONFIG = TrainingConfig(epochs=100, learning_rate=0.8, lr_factor=0.5, improvement=0.005, lowerings=3)


def after(metrics: list[float | None], config: TrainingConfig = CONFIG) -> Schedule:
    schedule = Schedule.of(config)
    for metric in metrics:
        schedule = schedule.step(metric, config)
    return schedule


def test_the_learning_rate_stays_while_validation_improves_by_half_a_percent():
    assert after([0.2, 0.201, 0.25]).learning_rate == 0.8


def test_an_improvement_just_below_half_a_percent_lowers_it():
    schedule = after([0.2, 0.2009])
    assert (schedule.learning_rate, schedule.lowered, schedule.best_epoch) == (0.4, 1, 2)


def test_training_stops_at_the_third_lowering():
    assert not after([0.5, 0.4, 0.4]).finished
    stopped = after([0.5, 0.4, 0.4, 0.4])
    assert (stopped.finished, stopped.lowered, stopped.epoch, stopped.best_epoch) == (True, 3, 4, 1)
    assert stopped.learning_rate == 0.2


def test_improvement_counts_from_the_best_epoch_so_far_not_from_the_last():
    assert after([0.5, 0.3, 0.4]).lowered == 2


def test_a_slight_improvement_is_remembered_as_the_best():
    assert after([0.5, 0.5001]).best == 0.5001


def test_a_metric_of_zero_throughout_stops():
    assert not after([0.0] * 3).finished
    assert after([0.0] * 4).finished


def test_training_ends_after_the_last_epoch_however_well_it_goes():
    schedule = after([0.1, 0.2], TrainingConfig(epochs=2))
    assert schedule.finished
    assert schedule.lowered == 0


def test_without_validation_every_epoch_is_the_best_so_far():
    schedule = after([None, None], TrainingConfig(epochs=3))
    assert (schedule.best_epoch, schedule.finished, schedule.learning_rate) == (2, False, 0.001)


def test_the_rate_can_fall_after_every_so_many_epochs_whatever_validation_says():
    config = TrainingConfig(learning_rate=0.8, lr_factor=0.5, lower_every=2, lowerings=2)
    rates = [after([0.1 * epoch for epoch in range(epochs)], config).learning_rate for epochs in range(6)]
    assert rates == [0.8, 0.8, 0.4, 0.4, 0.2, 0.2]
    assert after([None] * 4, config).learning_rate == 0.2
    stopped = after([0.5, 0.5, 0.5], config)
    assert (stopped.finished, stopped.lowered, stopped.best_epoch, stopped.learning_rate) == (True, 2, 1, 0.4)


def test_it_is_a_frozen_value():
    with pytest.raises(FrozenInstanceError):
        Schedule(0.1).epoch = 3  # pyright: ignore[reportAttributeAccessIssue]


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
        ({"precision": "fp16"}, "unknown precision 'fp16'; known: fp32, bf16"),
    ],
)
def test_options_out_of_range_are_refused(options: dict[str, float], message: str):
    with pytest.raises(ConfigError, match=message.replace("(", r"\(")):
        TrainingConfig(**options)  # pyright: ignore[reportArgumentType]
