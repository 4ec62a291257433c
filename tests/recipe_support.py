"""Small recipes of every kind, the same each time they are made."""

from dataclasses import replace
from typing import Any

import numpy as np

from broken_parts_support import Built
from nearnext.data.sessions import Sessions
from nearnext.model.losses import Loss
from nearnext.model.network import ItemTower, SessionItemNetwork
from nearnext.model.tensors import own_randomness, seed_draws
from nearnext.recommenders.gru4rec import GRU4Rec
from nearnext.recommenders.metric.features import Candidates
from nearnext.recommenders.metric.reranker import reranker_recipe
from nearnext.recommenders.named import make_recommender
from nearnext.registry import ENCODERS
from nearnext.training.examples import sampled_recipe
from nearnext.training.next_item import NextItemTraining, next_item_recipe
from nearnext.training.recipe import Recipe
from nearnext.training.validation import Validation
from training_support import seed

LOG = Sessions.of([[f"i{(s + j * j) % 9}" for j in range(2 + s % 4)] for s in range(48)])
WEIGHTED = replace(LOG, weights=np.arange(LOG.n_events) % 3 + 0.5)
LATER = Sessions.of([["i1", "i2", "i4"], ["i3", "i4"]]).with_vocabulary(LOG.vocabulary)


def sampled(name: str, **options: Any) -> Recipe[Any]:
    """An `sml-*` method by name, with options."""
    sizes = {"dim": 6, "epochs": 3, "batch_size": 8, "learning_rate": 0.01, "device": "cpu", "validation_fraction": 0}
    model: Any = make_recommender(name, {**sizes, "preset": "quick", "seed": seed(7), **options})
    network, objective, examples = model.prepare(LOG)
    return sampled_recipe(network, objective, examples, model.training)


def every_prefix(
    encoder: str | Built, loss: Loss | None = None, *, batch_size: int = 8, log: Sessions = LOG
) -> Recipe[Any]:
    """Training on every prefix, with an encoder by name or the user's own."""
    config = NextItemTraining(epochs=3, batch_size=batch_size, learning_rate=0.05, encoder_rate=0.01, negatives=4)
    with own_randomness():
        seed_draws(seed(1))
        if isinstance(encoder, str):
            sizes = {} if encoder in ("maxpool", "weightedpool") else {"dropout": 0.2}
            sizes |= {"hidden": 5} if encoder == "gru" else {}
            encoder = ENCODERS.make(encoder, dim=6, **sizes)  # pyright: ignore[reportAssignmentType]
        network = SessionItemNetwork(LOG.n_items, ItemTower(encoder.dim), encoder, max_length=4)  # pyright: ignore[reportAttributeAccessIssue, reportArgumentType]
    return next_item_recipe(network, log, config, loss=loss, seed=seed(3), validation=Validation.of(LATER))


def gru4rec(log: Sessions = LOG, **options: Any) -> Recipe[Any]:
    """GRU4Rec with options."""
    given: dict[str, Any] = {"layers": (5,), "batch_size": 6, "n_sample": 8, "epochs": 3, "seed": seed(), **options}
    method = GRU4Rec(**given)
    return method.recipe(log, method.drawn(log))


def reranker() -> Recipe[Any]:
    """The re-ranker of `metric`."""
    draw = np.random.default_rng(4)
    features = draw.standard_normal((1200, 4)).astype(np.float32)
    found = Candidates(np.arange(0, 1201, 4), np.tile(np.arange(4, dtype=np.int32), 300), features)
    return reranker_recipe(found, draw.integers(-1, 4, 300), hidden=3, steps=6, seed=seed(2), epochs=3)
