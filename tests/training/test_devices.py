"""Training on a device: what can be known of it without one."""

from collections.abc import Callable
from functools import partial
from types import SimpleNamespace
from typing import Any
from unittest.mock import Mock

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from nearnext.errors import ConfigError
from nearnext.model.encoders import rnn
from nearnext.model.tensors import seed_draws
from nearnext.recommenders.named import make_recommender
from nearnext.training.learner import Learner
from nearnext.training.loop import _on_device  # pyright: ignore[reportPrivateUsage]
from nearnext.training.optimisers import WholeAdam
from nearnext.training.recipe import Devices, Recipe
from nearnext.training.row_optimisers import RowAdagrad, RowAdam, TensorRowAdagrad, TensorRowAdam
from recipe_support import LOG, every_prefix, gru4rec, sampled

RECIPES: dict[str, Callable[[], Recipe[Any]]] = {
    **{f"every prefix, {name}": lambda name=name: every_prefix(name) for name in ("attention", "gru", "selfattention")},
    **{
        name: lambda name=name: sampled(name)
        for name in ("sml-gru-ncas", "sml-maxpool-triplet", "sml-weightedpool-bpr")
    },
    "gru4rec": gru4rec,
    "gru4rec, BPR-max": lambda: gru4rec(loss="bpr-max", bpreg=0.5, elu=0.5, constrained_embedding=False),
}


@pytest.mark.parametrize("name", RECIPES)
def test_a_step_makes_tensors_on_the_device_of_its_batch_only(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rnn, "has_gru_states", Mock(return_value=False))  # only the CPU has that path

    # Tensors made without a device are meta tensors inside the context, and do not mix with those of the batch.
    def trained(default: str) -> list[Tensor]:
        recipe = RECIPES[name]()
        learner, batches = Learner(recipe), list(recipe.batches.epoch(0, 0))[:3]
        seed_draws(1)
        with torch.device(default):
            losses = [learner.step(batch).loss for batch in batches]
        return [*losses, *learner.weights().values()]

    for here, plain in zip(trained("meta"), trained("cpu"), strict=True):
        torch.testing.assert_close(here, plain)


@pytest.mark.parametrize("name", RECIPES)
def test_a_batch_is_moved_with_all_its_tensors(name: str) -> None:
    batch = next(iter(RECIPES[name]().batches.epoch(0, 0)))
    moved = Devices(torch.device("meta")).moved(batch)
    rows = getattr(moved, "rows", None)
    values = [*vars(moved).values(), *(rows.values() if isinstance(rows, dict) else ())]
    tensors = [value for value in values if isinstance(value, Tensor)]
    assert len(tensors) > 3
    assert {tensor.device.type for tensor in tensors} == {"meta"}
    assert Devices(torch.device("cpu")).moved(batch) is batch


@pytest.mark.parametrize(
    ("compiled", "of_tensors"),
    [
        (partial(RowAdam, betas=(0.9, 0.98), exact=False), partial(TensorRowAdam, betas=(0.9, 0.98))),
        (partial(RowAdagrad, momentum=0.4), partial(TensorRowAdagrad, momentum=0.4)),
    ],
    ids=["adam", "adagrad"],
)
def test_rows_move_alike_in_compiled_code_and_in_tensor_operations(
    compiled: Callable[[Tensor], Any], of_tensors: Callable[[Tensor], Any]
) -> None:
    draw = torch.Generator().manual_seed(3)
    start = torch.randn(12, 5, generator=draw)
    tables = [start.clone(), start.clone()]
    rules = [make(table) for make, table in zip((compiled, of_tensors), tables, strict=True)]
    for step in range(8):
        rows = torch.randperm(12, generator=draw)[:4]
        gradient = torch.randn(4, 5, generator=draw)
        for rule, table in zip(rules, tables, strict=True):
            torch.testing.assert_close(rule.read(rows, 0.1), table[rows])
            rule.write(rows, gradient.clone(), 0.1)
        if step == 4:  # either takes over from the other
            states = [{name: part.clone() for name, part in rule.state().items()} for rule in rules]
            for rule, state in zip(rules, reversed(states), strict=True):
                rule.restore(state)
        torch.testing.assert_close(tables[0], tables[1])
    assert not torch.allclose(tables[0], start)


def test_exact_adam_refuses_the_moments_of_the_other_device() -> None:
    table = torch.zeros(3, 2)
    on_cpu, on_gpu = RowAdam(table.clone()), WholeAdam(table.clone())
    on_gpu.write(torch.arange(1), torch.ones(1, 2), 0.1)
    with pytest.raises(ConfigError, match="expected a checkpoint of the CPU, found one of a GPU"):
        on_cpu.restore(on_gpu.state())
    with pytest.raises(ConfigError, match="expected a checkpoint of a GPU, found one of the CPU"):
        on_gpu.restore(on_cpu.state())


class Copied(nn.Module):
    """A network that moves to a device that is not there: its weights become copies."""

    def __init__(self, weights: np.ndarray[Any, Any]) -> None:
        super().__init__()
        self.weights = nn.Parameter(torch.from_numpy(weights))  # pyright: ignore[reportUnknownMemberType]

    def to(self, *_: Any, **__: Any) -> "Copied":  # pyright: ignore[reportIncompatibleMethodOverride]
        self.weights.data = self.weights.data.clone()
        return self


def test_weights_trained_on_a_device_return_to_the_memory_they_came_from() -> None:
    array = np.zeros(3, dtype=np.float32)
    network = Copied(array)
    recipe: Any = SimpleNamespace(
        network=network, learned={}, devices=SimpleNamespace(device=SimpleNamespace(type="other"))
    )
    with _on_device(recipe):
        network.weights.data.fill_(2.0)
        assert (array == 0).all()
    assert (array == 2).all()
    network.weights.data.fill_(4.0)
    assert (array == 4).all()


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
@pytest.mark.parametrize("name", ["metric", "gru4rec", "sml-gru-ncas"])
def test_a_gpu_that_is_not_there(name: str) -> None:
    with pytest.raises(ConfigError, match="expected a CUDA device, found none"):
        make_recommender(name, {"device": "cuda"}).fit(LOG)
    assert make_recommender(name, {"device": "auto", "epochs": 1}).fit(LOG).recommend([["i1"]], k=1)[0].items


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("name", ["metric", "gru4rec", "sml-gru-ncas"])
def test_a_fit_on_a_gpu_reaches_the_loss_of_the_cpu(name: str) -> None:
    found = [make_recommender(name, {"device": device, "epochs": 2}).fit(LOG) for device in ("cpu", "cuda")]
    figures = [model.history[-1]["loss"] for model in found]  # pyright: ignore[reportAttributeAccessIssue]
    assert figures[1] == pytest.approx(figures[0], rel=0.2)
    assert len(found[1].recommend([["i1", "i2"]], k=5)[0].items) == 5
