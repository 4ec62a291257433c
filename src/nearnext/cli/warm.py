"""The command that compiles, once, what the other commands need compiled."""

import time

from nearnext.cli.app import app
from nearnext.cli.output import console
from nearnext.recommenders.named import BASELINES, DEFAULTS

METRIC: dict[str, object] = {
    "dim": 8,
    "epochs": 1,
    "negatives": 16,
    "hidden": 4,
    "reranker_steps": 5,
    "reranker_prefixes": 100,
}

QUICK: dict[str, dict[str, object]] = {
    **{name: {} for name in BASELINES},
    **dict.fromkeys(DEFAULTS, METRIC),
    "gru4rec": {"epochs": 1, "layers": "8", "batch_size": 16},
    "sml-gru-ncas": {"epochs": 1, "dim": 8, "hidden": 8},
}
"""Methods, and options that make them small: the compiled code is the same."""


def _list_candidates() -> None:
    """What `metric` ranks with where votes help, which they may not on a small shop."""
    import numpy as np

    from nearnext.recommenders.metric.candidates import best_candidates, followed_by
    from nearnext.recommenders.metric.features import Lists

    near = Lists(np.ones((1, 1), np.int32), np.ones((1, 1), np.float32))
    items, scores = np.zeros((1, 2), np.int32), np.zeros((1, 2), np.float32)
    own = best_candidates(np.array([0, 1]), near.items[0], near.scores[0], items, scores)
    followed_by(near, own, items, scores, 1.0)


@app.command()
def warm() -> None:
    """Compile what compare, fit, serve and explain need, once: for a container image, or after an installation."""
    from nearnext.data.sessionise import read_sessions
    from nearnext.data.shop import SyntheticShop
    from nearnext.data.splits import split_last
    from nearnext.data.synthetic import generate
    from nearnext.evaluation.protocol import evaluate
    from nearnext.explanation import explain
    from nearnext.progress import track
    from nearnext.recommenders.named import make_recommender

    begin = time.perf_counter()
    split = split_last(read_sessions(generate(SyntheticShop(sessions=400, items=60, categories=3))), fraction=0.1)
    items = split.train.vocabulary.ids.head(2).to_list()
    with track("compiling", len(QUICK), "methods") as advance:
        for name, options in QUICK.items():
            recommender = make_recommender(name, options).fit(split.train)
            recommender.remember(split.train)
            evaluate(recommender, split.test, k=(5, 20))
            recommender.recommend([items, []], k=2, exclude_seen=True)
            explain(recommender, items[:1], items[1])
            advance(1)
        _list_candidates()
    console.print(f"compiled code of {len(QUICK)} methods is ready, after {time.perf_counter() - begin:.0f} s")
