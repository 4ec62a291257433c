"""The laws of training, as checks of one recipe that raise `AssertionError`: what the engine promises for each."""

import math
import signal
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from nearnext.model.tensors import own_randomness
from nearnext.training.learner import Learner
from nearnext.training.loop import train
from nearnext.training.recipe import Recipe
from nearnext.training.run import RunDirectory

MakeRecipe = Callable[[], Recipe[Any]]
"""Gives a recipe that has learned nothing, the same each time; of three epochs, each of three steps at least."""

ROUNDING = 1e-5


class _Killed(Exception):  # noqa: N818 - it stands for no error
    """The end of a process in the middle of a step."""


def assert_same_seed_same_weights(make: MakeRecipe) -> None:
    """Pass where two trainings give the same weights, and leave torch's generator as it was."""
    before = torch.get_rng_state()
    one, other = _trained(make()), _trained(make())
    _require(torch.equal(torch.get_rng_state(), before), "training drew from torch's own generator")
    _assert_same(one, other)


def assert_every_parameter_moves(make: MakeRecipe) -> None:
    """Pass where an epoch changes every parameter, of tables every row that a step reads but padding."""
    recipe = make()
    recipe.network.train()
    with own_randomness():
        learner = Learner(recipe)
        before = {name: tensor.clone() for name, tensor in learner.weights().items()}
        read: dict[str, set[int]] = {name: set() for name in recipe.tables}
        for batch in recipe.batches.epoch(0, 0):
            learner.step(batch)
            for name, rows in read.items():
                rows.update(batch.rows_of(name).tolist())
        learner.settle(1.0)
    after, buffers = learner.weights(), dict(recipe.network.named_buffers())
    for name, rows in read.items():
        changed = (before[name] != after[name]).any(dim=1)
        moved = {row for row in range(len(changed)) if changed[row]}
        _require(moved >= rows - {0}, f"rows of {name} did not move: {sorted(rows - {0} - moved)}")
        _require(0 not in moved, f"row 0 of {name}, padding, moved")
    for name in after.keys() - read.keys() - buffers.keys():
        _require(not torch.equal(before[name], after[name]), f"{name} did not move")


def assert_best_epoch_remains(make: MakeRecipe) -> None:
    """Pass where the network ends with the weights of the epoch that validation likes best, not with the last."""
    recipe, seen = make(), list[Mapping[str, Tensor]]()

    def validate() -> dict[str, float]:
        seen.append(_weights(recipe))
        return dict.fromkeys(recipe.schedule.compared, (0.2, 0.4, 0.3)[len(seen) - 1])

    found = _trained(replace(recipe, validate=validate))
    _require(len(seen) == 3, f"expected a recipe of three epochs, it had {len(seen)}")  # noqa: PLR2004
    _assert_same(found, seen[1])
    _require(any(not torch.equal(seen[1][name], seen[2][name]) for name in found), "the last epoch changed nothing")


def assert_resumes_exactly(make: MakeRecipe, directory: Path) -> None:
    """Pass where a training that stopped, by Ctrl-C or because it was killed, resumes to the same weights and figures.

    Checkpoints go to an empty directory.
    """
    through = make()
    history = train(through)
    n_steps = through.batches.n_batches
    ways: Iterator[tuple[str, Callable[[], None], int]] = iter([
        ("Ctrl-C in the first step", _press, 1),
        ("Ctrl-C within an epoch", _press, n_steps + 2),
        ("Ctrl-C in the last step of an epoch", _press, n_steps),
        ("the end of the process", _die, n_steps + 2),
    ])  # fmt: skip
    for number, (way, stop, step) in enumerate(ways):
        run = RunDirectory(directory / str(number), {})
        with suppress(KeyboardInterrupt, _Killed):
            train(_stopping(make(), step, stop), run=run)
            raise AssertionError(f"{way}: training went on")
        resumed = make()
        again = train(resumed, run=run, resume=True)
        _assert_same(_weights(resumed), _weights(through), way)
        for one, other in zip(again, history, strict=True):
            same = all(math.isclose(one[name], other[name], rel_tol=ROUNDING) for name in other if name != "seconds")
            _require(same, f"{way}: {one} instead of {other}")


def _press() -> None:
    signal.raise_signal(signal.SIGINT)


def _die() -> None:
    raise _Killed


def _stopping(recipe: Recipe[Any], step: int, stop: Callable[[], None]) -> Recipe[Any]:
    """The recipe, in whose given step, counted from 1, something happens."""
    taken = 0

    def loss(batch: Any, rows: Mapping[str, Tensor]) -> Tensor:
        nonlocal taken
        taken += 1
        if taken == step:
            stop()
        return recipe.loss(batch, rows)

    return replace(recipe, loss=loss)


def _trained(recipe: Recipe[Any]) -> Mapping[str, Tensor]:
    train(recipe)
    return _weights(recipe)


def _weights(recipe: Recipe[Any]) -> Mapping[str, Tensor]:
    return {name: tensor.clone() for name, tensor in recipe.network.state_dict().items()}


def _assert_same(found: Mapping[str, Tensor], expected: Mapping[str, Tensor], what: str = "weights") -> None:
    _require(found.keys() == expected.keys(), f"{what}: {sorted(found)} instead of {sorted(expected)}")
    for name, tensor in expected.items():
        torch.testing.assert_close(
            found[name], tensor, rtol=ROUNDING, atol=ROUNDING, msg=lambda text, name=name: f"{what}: {name}: {text}"
        )


def _require(holds: bool, message: str) -> None:
    if not holds:
        raise AssertionError(message)
