"""Every method of a comparison fitted and measured on every split, once per seed, or taken from finished runs."""

from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from nearnext.data.leaks import Leaks
from nearnext.evaluation.audit import Audit, Verdict
from nearnext.evaluation.protocol import evaluate, measured
from nearnext.evaluation.runs import RunFolder, RunLists, write_judgements
from nearnext.experiments.plan import PlannedSplit
from nearnext.experiments.result import Run
from nearnext.experiments.store import RunKey, RunStore
from nearnext.progress import track
from nearnext.recommenders.base import Recommender
from nearnext.recommenders.trained import TrainedRecommender

if TYPE_CHECKING:
    from nearnext.experiments.compare import Comparison

SeedRuns = dict[int | None, list[Run]]
"""The runs of one method in each window, by seed; None: its own seed, or a deterministic method."""


def run_all(
    planned: Sequence[PlannedSplit],
    leaks: Leaks,
    chosen: "Comparison",
    store: RunStore | None = None,
    folder: RunFolder | None = None,
) -> tuple[dict[str, SeedRuns], Verdict]:
    """Run every method on every split, and audit the first split, which in windows is followed by real later data."""
    fits = [(name, seed) for name in chosen.names for seed in chosen.seeds_of(name)]
    runs: dict[str, SeedRuns] = {name: {} for name in chosen.names}
    audit = Audit(planned[0].split, planned[0].again, seed=chosen.seed, leaks=leaks)
    with track("comparing", len(planned) * len(fits), "methods") as advance:
        for window, one in enumerate(planned):
            within = f"-window{window + 1}" if len(planned) > 1 else ""
            if folder is not None:
                write_judgements(folder.path(f"qrels{within}.txt"), one.split.test)
            data = one.fingerprint() if store is not None else ""
            for name, seed in fits:
                method = chosen.make(name, seed)
                key = RunKey(data, method.name, method.params(), chosen.ks, chosen.seed, tuple(chosen.metrics))
                run = store.load(key) if store is not None else None
                audited = window == 0 and not runs[name]
                if run is None or (audited and run.audit is None):
                    directory = store.unfinished(key) if store is not None else None
                    called = f"{name}{within}" if seed is None else f"{name}-seed{seed}{within}"
                    with (
                        folder.lists(called, one.split.test, one.split.train.vocabulary)
                        if folder is not None
                        else nullcontext() as lists
                    ):
                        make = partial(chosen.make, name, seed)
                        run = _run(one, chosen, make, audit if audited else None, directory, lists)
                    if store is not None:
                        store.save(key, run)
                runs[name].setdefault(seed, []).append(run)
                advance(1)
    firsts = {name: next(iter(by_seed.values()))[0] for name, by_seed in runs.items()}
    seen = [replace(first.audit, name=name) for name, first in firsts.items() if first.audit is not None]
    return runs, audit.verdict(seen)


def _run(
    one: PlannedSplit,
    chosen: "Comparison",
    make: Callable[[], Recommender],
    audit: Audit | None,
    directory: Path | None,
    lists: RunLists | None,
) -> Run:
    recommender = make()
    if directory is not None and isinstance(recommender, TrainedRecommender):
        recommender = recommender.with_checkpoints(directory)
    _ = one.split.train.imprint  # computed before timing: every method uses it
    with measured() as cost:
        recommender.fit(one.split.train)
    seconds = cost.seconds
    if isinstance(recommender, TrainedRecommender):
        recommender.require_learned()
        seconds = max(seconds, recommender.training_seconds)  # a resumed fit counts its earlier parts
    longest = chosen.plan.chosen.max_length
    evaluation = evaluate(
        recommender,
        one.split.test,
        chosen.ks,
        max_prefix=longest,
        threads=chosen.threads,
        leaks=one.split.leaks,
        record=lists.add if lists is not None else None,
        metrics=chosen.metrics,
        train=one.split.train,
    )
    return Run(
        evaluation,
        seconds,
        max(cost.peak_rss_mb, evaluation.peak_rss_mb),
        audit.of(recommender, seconds, lambda train: make().fit(train)) if audit else None,
    )
