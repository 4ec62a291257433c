"""A program that does its work in forked processes: prints what they gave, and what this process gives, as JSON."""

import json
import multiprocessing
import sys
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from importlib.util import find_spec
from typing import Any

import torch

import nearnext
from nearnext.data.prefixes import Prefixes
from nearnext.errors import NearnextError
from nearnext.explanation import explain
from nearnext.indexing import reindex

LIMIT = 300
"""Seconds after which a process counts as hanging; one that answers is not waited for."""

SMALL: dict[str, dict[str, Any]] = {
    "pop": {},
    "sr": {},
    "vsknn": {},
    "gru4rec": {"layers": (8,), "n_sample": 8, "epochs": 1},
    "metric-fast": {"dim": 8, "epochs": 1, "reranker_steps": 20},
    "sml-gru-ncas": {"dim": 8, "hidden": 8, "epochs": 1},
    "sml-caser-ncas": {"dim": 8, "epochs": 1},
}
REFUSED = ("read", "scan", "prepare", "generate", "write", "save", "load", "compare", "imprint")
CLICKS = [[f"i{(session * 7 + step * 3) % 40}" for step in range(3)] for session in range(90)]
SESSIONS = nearnext.Sessions.of(CLICKS)
SPLIT = nearnext.split_last(SESSIONS, 0.2)
MODELS = {name: nearnext.make_recommender(name, options) for name, options in SMALL.items()}


def lists(name: str) -> dict[str, Any]:
    """What a model answers, in each way that there is to ask it."""
    model = MODELS[name]
    many = Prefixes.every(nearnext.Sessions.of([["i1", "i4", "i7"]] * 800).with_vocabulary(model.vocabulary))
    with ThreadPoolExecutor(1) as elsewhere:
        threaded = elsewhere.submit(model.recommend, [["i1", "i4"]], 3).result()
    ranking = model.rank(many, 3, threads=2)
    return {
        "recommended": [vars(answer) for answer in model.recommend([["i1", "i4"], ["i7"]], k=3)],
        "in a thread": [vars(answer) for answer in threaded],
        "ranked": [
            {"items": items, "scores": scores, "own": own}
            for items, scores, own in zip(*(part[:2].tolist() for part in vars(ranking).values()), strict=True)
        ],
        "evaluated": nearnext.evaluate(model, SPLIT.test, k=5).filled.n_cases,
        "explained": explain(model, ["i1", "i4"], "i7").score,
    }


def fitted(name: str) -> int:
    """A fit, and the length of a list afterwards."""
    return len(nearnext.make_recommender(name, SMALL[name]).fit(SPLIT.train).recommend([["i1"]], k=3)[0].items)


def refused(name: str) -> str:
    """The error of what needs polars."""
    doings: dict[str, Callable[[], object]] = {
        "read": lambda: nearnext.read_sessions("log.csv"),
        "scan": lambda: nearnext.scan_events("log.csv"),
        "prepare": lambda: nearnext.prepare("log.csv", "out.parquet"),
        "generate": lambda: nearnext.generate(nearnext.SyntheticShop()),
        "write": lambda: nearnext.write_log(nearnext.SyntheticShop(sessions=20), "shop.csv"),
        "save": lambda: nearnext.save_artifact(MODELS["sr"], "other", {}),
        "load": lambda: nearnext.load_artifact("model"),
        "compare": lambda: nearnext.compare(SESSIONS, comparison=nearnext.Comparison(methods=["pop"])),
        "imprint": lambda: SPLIT.test.imprint,
    }
    try:
        doings[name]()
    except NearnextError as error:
        return str(error)
    return "no error"


def forked(work: Callable[[str], Any], name: str) -> Any:
    """What work gives in a process of its own."""
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("fork")) as pool:
        answer = pool.submit(work, name)
        try:
            return answer.result(LIMIT)
        except TimeoutError:
            for process in pool._processes.values():
                process.kill()
            raise


def main() -> None:
    """Fit here, ask there."""
    nearnext.write_log(nearnext.SyntheticShop(sessions=20, items=200, categories=4), "log.csv")
    nearnext.read_sessions("log.csv")
    (torch.rand(500, 500) @ torch.rand(500, 500)).relu().sum()  # the threads of torch are started
    for model in MODELS.values():
        model.fit(SPLIT.train)
    if find_spec("faiss"):
        reindex(MODELS["sml-caser-ncas"], kind="approximate", recall_floor=0.0)
    nearnext.save_artifact(MODELS["sr"], "model", {})
    answers = {
        "here": {name: lists(name) for name in SMALL},
        "there": {name: forked(lists, name) for name in SMALL},
        "fitted": {name: forked(fitted, name) for name in SMALL},
        "refused": {name: forked(refused, name) for name in REFUSED},
    }
    json.dump(answers, sys.stdout)


if __name__ == "__main__":
    main()
