"""The laws of training, over every recipe."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from broken_parts_support import Built, Gap
from nearnext.model.losses import NCAS, Triplet
from nearnext.testing import recipes
from nearnext.training.recipe import Recipe
from recipe_support import every_prefix, gru4rec, reranker, sampled

RECIPES: dict[str, Callable[[], Recipe[Any]]] = {
    "sml-gru-ncas": partial(sampled, "sml-gru-ncas", dropout=0.2),
    "sml-maxpool-triplet, two tables": partial(sampled, "sml-maxpool-triplet", common_embedding=False, item_hidden=4),
    "sml-gru-pml:proxy-nca": partial(sampled, "sml-gru-pml:proxy-nca", clip=0.5),
    "sml-attention-bpr, sliding window": partial(sampled, "sml-attention-bpr", sampler="sliding-window", pairing="all"),
    "sml-lstm-ncas, in the batch": partial(
        sampled, "sml-lstm-ncas", sampler="every-prefix", negative_source="in-batch", extra=3
    ),
    "sml-maxpool-ncas, authors": partial(sampled, "sml-maxpool-ncas", preset="authors", improvement=0),
    "sml-gru-triplet, paper": partial(sampled, "sml-gru-triplet", preset="paper", hidden=5, fill="mask", improvement=0),
    "metric": partial(every_prefix, "attention"),
    "metric, own encoder and own loss": partial(every_prefix, Built(), Gap()),
    "sasrec": partial(every_prefix, "selfattention"),
    "narm": partial(every_prefix, "narm"),
    "metric, gru": partial(every_prefix, "gru"),
    "metric, weightedpool": partial(every_prefix, "weightedpool"),
    "metric, gru, triplet": partial(every_prefix, "gru", Triplet(pairing="all", margin=0.9)),
    "metric, maxpool, ncas": partial(every_prefix, "maxpool", NCAS(temperature=0.1)),
    "gru4rec": partial(gru4rec, dropout_hidden=0.2),
    "gru4rec, bpr-max, two layers": partial(gru4rec, loss="bpr-max", bpreg=0.5, layers=(5, 6), momentum=0.2),
    "gru4rec, adam, own inputs": partial(
        gru4rec, optimiser="adam", learning_rate=0.01, constrained_embedding=False, embedding=4
    ),
    "gru4rec, batch negatives only": partial(gru4rec, n_sample=0, logq=0.0),
    "re-ranker": reranker,
}
every_recipe = pytest.mark.parametrize("make", RECIPES.values(), ids=RECIPES.keys())


@every_recipe
def test_the_same_seed_gives_the_same_weights(make: Callable[[], Recipe[Any]]):
    recipes.assert_same_seed_same_weights(make)


@every_recipe
def test_every_parameter_moves(make: Callable[[], Recipe[Any]]):
    recipes.assert_every_parameter_moves(make)


@every_recipe
def test_the_best_epoch_on_validation_remains(make: Callable[[], Recipe[Any]]):
    recipes.assert_best_epoch_remains(make)


@pytest.mark.slow
@every_recipe
def test_an_interrupted_run_resumes_to_the_weights_of_one_that_was_not(make: Callable[[], Recipe[Any]], tmp_path: Path):
    recipes.assert_resumes_exactly(make, tmp_path)
