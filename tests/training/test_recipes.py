"""The laws of training, over every recipe."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from broken_parts_support import Built, Gap
from nearnext.data.sessions import Sessions
from nearnext.model.losses import NCAS, Loss, Triplet
from nearnext.model.network import ItemTower, SessionItemNetwork
from nearnext.model.tensors import own_randomness, seed_draws
from nearnext.recommenders.gru4rec import GRU4Rec
from nearnext.recommenders.metric.features import Candidates
from nearnext.recommenders.metric.reranker import reranker_recipe
from nearnext.recommenders.named import make_recommender
from nearnext.registry import ENCODERS
from nearnext.testing import recipes
from nearnext.training.examples import sampled_recipe
from nearnext.training.next_item import NextItemTraining, next_item_recipe
from nearnext.training.recipe import Recipe
from nearnext.training.validation import Validation
from training_support import seed

LOG = Sessions.of([[f"i{(s + j * j) % 9}" for j in range(2 + s % 4)] for s in range(48)])
LATER = Sessions.of([["i1", "i2", "i4"], ["i3", "i4"]]).with_vocabulary(LOG.vocabulary)


def sampled(name: str, **options: Any) -> Recipe[Any]:
    sizes = {"dim": 6, "epochs": 3, "batch_size": 8, "learning_rate": 0.01, "device": "cpu", "validation_fraction": 0}
    model: Any = make_recommender(name, {**sizes, "preset": "quick", "seed": seed(7), **options})
    network, objective, examples = model.prepare(LOG)
    return sampled_recipe(network, objective, examples, model.training)


def every_prefix(encoder: str | Built, loss: Loss | None = None) -> Recipe[Any]:
    config = NextItemTraining(epochs=3, batch_size=8, learning_rate=0.05, encoder_rate=0.01, negatives=4)
    with own_randomness():
        seed_draws(seed(1))
        if isinstance(encoder, str):
            sizes = {} if encoder in ("maxpool", "weightedpool") else {"dropout": 0.2}
            sizes |= {"hidden": 5} if encoder == "gru" else {}
            encoder = ENCODERS.make(encoder, dim=6, **sizes)  # pyright: ignore[reportAssignmentType]
        network = SessionItemNetwork(LOG.n_items, ItemTower(encoder.dim), encoder, max_length=4)  # pyright: ignore[reportAttributeAccessIssue, reportArgumentType]
    return next_item_recipe(network, LOG, config, loss=loss, seed=seed(3), validation=Validation.of(LATER))


def gru4rec(**options: Any) -> Recipe[Any]:
    given: dict[str, Any] = {"layers": (5,), "batch_size": 6, "n_sample": 8, "epochs": 3, "seed": seed(), **options}
    method = GRU4Rec(**given)
    return method.recipe(LOG, method.drawn(LOG))


def reranker() -> Recipe[Any]:
    draw = np.random.default_rng(4)
    features = draw.standard_normal((1200, 4)).astype(np.float32)
    found = Candidates(np.arange(0, 1201, 4), np.tile(np.arange(4, dtype=np.int32), 300), features)
    return reranker_recipe(found, draw.integers(-1, 4, 300), hidden=3, steps=6, seed=seed(2), epochs=3)


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
