"""A training that another process makes at the same time."""

import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import pytest
import torch

from nearnext.data.sessions import Sessions
from nearnext.errors import ConfigError
from nearnext.recommenders.metric import recommender as metric_module
from nearnext.recommenders.metric.recommender import Metric
from nearnext.training.aside import trained_aside
from nearnext.training.group import present_group
from nearnext.training.loop import train
from nearnext.training.workers import workers
from recipe_support import every_prefix

LOG = Sessions.of([[f"i{(start + step) % 9}" for step in range(4)] for start in range(9)] * 30)


def small(**options: Any) -> Metric:
    return Metric(dim=8, epochs=1, reranker_steps=20, **options)


@pytest.mark.slow
def test_both_trainings_give_the_weights_that_each_gives_alone():
    expected, there, here = (every_prefix("maxpool") for _ in range(3))
    train(expected)
    with workers(2), trained_aside(there) as wait:
        assert present_group().size == 1
        train(here)
        wait()
    for recipe in (there, here):
        torch.testing.assert_close(recipe.network.state_dict(), expected.network.state_dict())
        assert not recipe.network.training


@pytest.mark.slow
def test_a_model_is_the_same_with_two_processes():
    one, two = (small(workers=n).fit(LOG, seed=7) for n in (1, 2))
    states = one.state(), two.state()
    assert states[0].keys() == states[1].keys()
    for name, array in states[0].items():
        if array.dtype.kind == "f":
            np.testing.assert_allclose(states[1][name], array, rtol=1e-4, atol=1e-5, err_msg=name)


def diverging(*_: Any) -> torch.Tensor:
    """A loss that is no number."""
    return torch.full((), torch.nan, requires_grad=True)


@pytest.mark.slow
def test_what_is_wrong_in_the_other_process_is_said():
    recipe = replace(every_prefix("maxpool"), loss=diverging)
    with (
        pytest.raises(ConfigError, match="expected a finite loss, found nan"),
        workers(2),
        trained_aside(recipe) as wait,
    ):
        wait()
    assert present_group().size == 1


def fatal(given: Callable[..., torch.Tensor], batch: Any, rows: Any) -> torch.Tensor:
    """A loss that kills every process but the first."""
    if multiprocessing.parent_process() is not None:
        os.kill(os.getpid(), signal.SIGKILL)
    return given(batch, rows)


@pytest.mark.slow
def test_a_training_whose_process_ends_is_made_here():
    expected, recipe = every_prefix("maxpool"), every_prefix("maxpool")
    train(expected)
    dying = replace(recipe, loss=partial(fatal, recipe.loss))
    with workers(2), trained_aside(dying) as wait, pytest.warns(RuntimeWarning, match="the training is made here"):
        wait()
    torch.testing.assert_close(recipe.network.state_dict(), expected.network.state_dict())


def endless(given: Callable[..., torch.Tensor], batch: Any, rows: Any) -> torch.Tensor:
    """A loss that takes an hour in every process but the first."""
    if multiprocessing.parent_process() is not None:
        time.sleep(3600)
    return given(batch, rows)


@contextmanager
def timer(seconds: float, call: Callable[[], None]) -> Generator[None]:
    threading.Timer(seconds, call).start()
    yield


@pytest.mark.slow
def test_ctrl_c_ends_the_wait():
    recipe = every_prefix("maxpool")
    waiting = replace(recipe, loss=partial(endless, recipe.loss))
    with (
        pytest.raises(KeyboardInterrupt),
        workers(2),
        trained_aside(waiting) as wait,
        timer(0.5, partial(os.kill, os.getpid(), signal.SIGINT)),
    ):
        wait()


class OwnMetric(Metric):
    """A part that a new process may not find."""


@pytest.mark.parametrize(
    ("model", "cores", "n"),
    [
        (Metric(), 4, 2),
        (Metric(), 1, 1),
        (Metric(refit=False), 4, 1),
        (Metric(voters=()), 4, 1),
        (Metric(validation_fraction=0.0), 4, 1),
        (OwnMetric(), 4, 1),
    ],
)
def test_a_second_process_is_started_where_it_helps(model: Metric, cores: int, n: int, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(metric_module, "usable_cores", lambda: cores)
    assert model.useful_workers(LOG) == 1
    monkeypatch.setattr(metric_module, "LONG", LOG.n_events)
    assert model.useful_workers(LOG) == n
