"""Two trainings at the same time, one in each of two processes, with the weights that each gives alone."""

import warnings
from collections.abc import Callable, Generator
from contextlib import contextmanager
from functools import partial
from typing import Any

from nearnext.errors import NearnextError
from nearnext.progress import track
from nearnext.training.group import ALONE, Group, GroupError, in_group, present_group, sent_work
from nearnext.training.loop import train
from nearnext.training.recipe import Recipe

OTHER = 1
"""Number of the process that trains."""


def has_other() -> bool:
    """Whether there is one process besides this one, free to make a training by itself."""
    group = present_group()
    return group.size == OTHER + 1 and not group.sharded


@contextmanager
def trained_aside(recipe: Recipe[Any]) -> Generator[Callable[[], None]]:
    """Inside, another process trains the recipe; what is given waits for it and sets the weights of the network.

    The group is of two, see `has_other`; trainings of this process inside are its own.

    Raises:
        ConfigError: the recipe cannot be sent.
        NearnextError: what the other process found wrong. If it ended, this one makes its training, with a
            ``RuntimeWarning``.
    """
    group = present_group()
    with sent_work(group, partial(_train, recipe)), in_group(ALONE):
        yield partial(_receive, recipe, group)


def _train(recipe: Recipe[Any], group: Group) -> None:
    wrong: Exception | None = None
    try:
        with in_group(ALONE):
            train(recipe)
    except NearnextError as error:
        wrong = error
    _exchange(recipe, group, wrong)


def _receive(recipe: Recipe[Any], group: Group) -> None:
    try:
        with track(f"{recipe.title} in another process", None, "trainings"):
            _exchange(recipe, group, None)
    except GroupError:
        ended = "another process ended before its training did, perhaps for lack of memory; the training is made here"
        warnings.warn(ended, RuntimeWarning, stacklevel=2)
        train(recipe)


def _exchange(recipe: Recipe[Any], group: Group, wrong: Exception | None) -> None:
    """Send what was wrong, or the weights, to the first process."""
    group.wait_for(OTHER)
    found = group.from_process(OTHER, wrong)
    if group.first and found is not None:
        raise found
    if found is None:
        group.copy_from(OTHER, list(recipe.network.state_dict().values()))
        recipe.network.eval()
