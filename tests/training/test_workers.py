"""Several processes that train together take the steps of one."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from functools import partial
from typing import Any

import pytest
import torch

from nearnext.errors import ConfigError
from nearnext.training.group import ALONE, Group, in_group, present_group
from nearnext.training.loop import train
from nearnext.training.recipe import Recipe
from nearnext.training.workers import workers
from recipe_support import WEIGHTED, every_prefix, gru4rec, reranker, sampled

pytestmark = pytest.mark.slow

RECIPES: dict[str, Callable[[], Recipe[Any]]] = {
    "sml-gru-ncas, one session in the last batch": partial(sampled, "sml-gru-ncas", batch_size=47),
    "sml-maxpool-triplet, two tables": partial(
        sampled, "sml-maxpool-triplet", common_embedding=False, item_hidden=4, clip=0.5
    ),
    "sml-lstm-ncas, in the batch": partial(
        sampled, "sml-lstm-ncas", sampler="every-prefix", negative_source="in-batch", extra=3
    ),
    "sml-gru-pml:proxy-nca": partial(sampled, "sml-gru-pml:proxy-nca"),
    "metric": partial(every_prefix, "weightedpool"),
    "metric, one session in each batch": partial(every_prefix, "maxpool", batch_size=1),
    "metric, weighted events": partial(every_prefix, "maxpool", log=WEIGHTED),
    "gru4rec": partial(gru4rec, dropout_embedding=0.0),
    "gru4rec, weighted events": partial(gru4rec, WEIGHTED, dropout_embedding=0.0),
    "gru4rec, bpr-max, two layers": partial(
        gru4rec, loss="bpr-max", bpreg=0.5, layers=(5, 6), momentum=0.2, dropout_embedding=0.0
    ),
    "gru4rec, adam, own inputs": partial(
        gru4rec, optimiser="adam", learning_rate=0.01, constrained_embedding=False, embedding=4, dropout_embedding=0.0
    ),
    "re-ranker": reranker,
}


@pytest.fixture(scope="module")
def pair() -> Iterator[Group]:
    with workers(2):
        group = present_group()
        with in_group(ALONE):  # the other tests of this process
            yield group


def trained(recipe: Recipe[Any]) -> tuple[list[float], Mapping[str, torch.Tensor]]:
    history = train(recipe)
    return [epoch["loss"] for epoch in history], recipe.network.state_dict()


@pytest.mark.parametrize("make", RECIPES.values(), ids=RECIPES.keys())
def test_two_processes_train_as_one(make: Callable[[], Recipe[Any]], pair: Group):
    losses, weights = trained(make())
    # In memory that they share, and as on several machines: with whole tables, and with a part of them in each.
    for group in (pair, replace(pair, memory=None), replace(pair, memory=None, sharded=True)):
        with in_group(group):
            together, found = trained(make())
        assert together == pytest.approx(losses, rel=1e-4)
        torch.testing.assert_close(found, weights, rtol=1e-4, atol=1e-4)


def test_what_cannot_be_sent_is_refused(pair: Group):
    recipe = every_prefix("maxpool")

    def loss(batch: Any, rows: Mapping[str, torch.Tensor]) -> torch.Tensor:
        return recipe.loss(batch, rows)

    with in_group(pair), pytest.raises(ConfigError, match="at the top of a module"):
        train(replace(recipe, loss=loss))
