"""What a vector database loses: `metric` against the nearest items of its own vectors, those of `export --vectors`.

    OMP_NUM_THREADS=1 python benchmarks/vectors.py LOG [--test LOG] [--method metric] [--unknown drop]

Without a test log the last tenth of the sessions is predicted. Both rows are of one model: the vectors alone rank by
the distance of the session's embedding, without candidates of session-kNN and without the re-ranker.
"""

import argparse
from typing import Any

from nearnext.data.sessionise import read_sessions
from nearnext.data.splits import split_last, split_parts
from nearnext.evaluation.protocol import evaluate
from nearnext.progress import show_progress
from nearnext.recommenders.named import make_recommender

SHOWN = ("HitRate", "MRR", "Coverage")


def main() -> None:
    """Fit once, measure twice, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("log")
    parser.add_argument("--test")
    parser.add_argument("--method", default="metric")
    parser.add_argument("--unknown", default="miss")
    parser.add_argument("--k", type=int, default=20)
    given = parser.parse_args()
    show_progress(False)
    log = read_sessions(given.log)
    split = (
        split_last(log, 0.1, unknown=given.unknown)
        if given.test is None
        else split_parts(log, read_sessions(given.test), unknown=given.unknown)
    )
    model: Any = make_recommender(given.method).fit(split.train)
    print("| row |" + "".join(f" {name}@{given.k} |" for name in SHOWN))
    print("|---|" + "---|" * len(SHOWN))
    for row in (given.method, "its vectors alone"):
        values = evaluate(model, split.test, given.k, threads=1, leaks=split.leaks).values()
        print(f"| {row} |" + "".join(f" {values[f'{name}@{given.k}']:.4f} |" for name in SHOWN), flush=True)
        model.reranker = None


if __name__ == "__main__":
    main()
