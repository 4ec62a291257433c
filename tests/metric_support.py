"""A small log, and the default recommender so small that it is fitted in a moment."""

from typing import Any

from nearnext.data.sessions import Sessions
from nearnext.recommenders.metric.recommender import Metric
from nearnext.recommenders.named import make_recommender
from training_support import seed

N_ITEMS = 61
CLICKS = [[f"i{(s * 7 + j * j) % N_ITEMS}" for j in range(2 + s % 5)] for s in range(90)]
LOG = Sessions.of(CLICKS, starts=[1.5e9 + 3600 * s for s in range(90)])
TINY: dict[str, Any] = {
    "dim": 8,
    "epochs": 1,
    "batch_size": 80,
    "negatives": 16,
    "candidates": 20,
    "hidden": 4,
    "reranker_steps": 5,
    "reranker_prefixes": 100,
}


def tiny(name: str = "metric", **options: Any) -> Metric:
    made = make_recommender(name, {**TINY, "seed": seed(), **options})
    assert isinstance(made, Metric)
    return made
