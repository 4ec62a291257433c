"""The command that compiles, once, what the other commands need compiled."""

import time

from nearnext.cli.app import app
from nearnext.cli.output import console
from nearnext.recommenders.registry import BASELINES, DEFAULTS

__all__ = ["warm"]

QUICK = {"dim": 8, "epochs": 1, "negatives": 16, "hidden": 4, "reranker_steps": 5, "reranker_prefixes": 100}
"""Options of `metric` for a model that nobody asks anything: the compiled code is the same."""


@app.command()
def warm() -> None:
    """Compile what compare, serve and explain need, once: for the image of a service, or after an installation."""
    from nearnext.data.sessionise import read_sessions
    from nearnext.data.shop import SyntheticShop
    from nearnext.data.splits import split_last
    from nearnext.data.synthetic import generate
    from nearnext.evaluation.protocol import evaluate
    from nearnext.explanation import explain
    from nearnext.progress import track
    from nearnext.recommenders.registry import make_recommender

    begin = time.perf_counter()
    split = split_last(read_sessions(generate(SyntheticShop(sessions=400, items=60, categories=3))), fraction=0.1)
    items = split.train.vocabulary.ids.head(2).to_list()
    methods = (*BASELINES, *DEFAULTS)
    with track("compiling", len(methods), "methods") as advance:
        for name in methods:
            recommender = make_recommender(name, QUICK if name in DEFAULTS else None).fit(split.train)
            recommender.remember(split.train)
            evaluate(recommender, split.test, k=(5, 20))
            recommender.recommend([items, []], k=2, exclude_seen=True)
            explain(recommender, items[:1], items[1])
            advance(1)
    console.print(f"compiled code of {len(methods)} methods is ready, after {time.perf_counter() - begin:.0f} s")
