"""Every method of a comparison fitted and measured on every split, once per seed, or taken from finished runs."""

from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from nearnext.data.leaks import Leaks
from nearnext.evaluation.audit import Audit, Verdict
from nearnext.evaluation.cases import ExampleCases
from nearnext.evaluation.protocol import evaluate, measured
from nearnext.evaluation.runs import RunFolder, write_judgements
from nearnext.experiments.plan import PlannedSplit
from nearnext.experiments.result import Run
from nearnext.experiments.store import RunKey, RunStore
from nearnext.processes import ONE_PROCESS, Executor, trim_memory
from nearnext.progress import track
from nearnext.recommenders.base import Recommender
from nearnext.recommenders.trained import TrainedRecommender

if TYPE_CHECKING:
    from nearnext.experiments.comparison import Comparison

SeedRuns = dict[int | None, list[Run]]
"""The runs of one method in each window, by seed; None: its own seed, or a deterministic method."""


@dataclass(frozen=True, eq=False)
class Fit:
    """One fit of a comparison, which depends on no other."""

    window: int  # which of the splits
    name: str  # of the method, or its label
    seed: int | None
    method: Recommender  # not fitted
    audited: bool
    lists: str  # name of its run file, without the ending
    key: RunKey
    directory: Path | None  # for checkpoints; None: it keeps none


def run_all(
    planned: Sequence[PlannedSplit],
    leaks: Leaks,
    chosen: "Comparison",
    store: RunStore | None = None,
    folder: RunFolder | None = None,
    executor: Executor = ONE_PROCESS,
    examples: ExampleCases | None = None,
) -> tuple[dict[str, SeedRuns], Verdict]:
    """Run every method on every split, and audit the first split, which in windows is followed by real later data.

    The executor fits methods side by side. Kept runs are taken from the store, new ones are kept as they end.
    """
    audit = Audit(planned[0].split, planned[0].again, seed=chosen.seed, leaks=leaks)
    fits = list(fits_of(planned, chosen, store))
    if folder is not None:
        judgements = [f"qrels{_within(window, planned)}.txt" for window in range(len(planned))]
        folder.require_writable([*judgements, *(f"{fit.lists}.run" for fit in fits)])
        for name, one in zip(judgements, planned, strict=True):
            write_judgements(folder.path(name), one.split.test)
    kept = [store.load(fit.key) if store is not None else None for fit in fits]
    kept = [None if fit.audited and run and run.audit is None else run for fit, run in zip(fits, kept, strict=True)]
    function = partial(run_fit, planned=planned, chosen=chosen, audit=audit, folder=folder, examples=examples)
    new = executor.map(function, [fit for fit, run in zip(fits, kept, strict=True) if run is None])
    runs: dict[str, SeedRuns] = {name: {} for name in chosen.names}
    with track("comparing", len(fits), "methods") as advance:
        for fit, known in zip(fits, kept, strict=True):
            run = known or next(new)
            if store is not None and known is None:
                store.save(fit.key, run)
            runs[fit.name].setdefault(fit.seed, []).append(run)
            advance(1)
    firsts = {name: next(iter(by_seed.values()))[0] for name, by_seed in runs.items()}
    seen = [replace(first.audit, name=name) for name, first in firsts.items() if first.audit is not None]
    return runs, audit.verdict(seen)


def _within(window: int, planned: Sequence[PlannedSplit]) -> str:
    return f"-window{window + 1}" if len(planned) > 1 else ""


def fits_of(planned: Sequence[PlannedSplit], chosen: "Comparison", store: RunStore | None) -> Iterator[Fit]:
    """Every fit of a comparison, in order."""
    for window, one in enumerate(planned):
        data = one.fingerprint() if store is not None else ""
        for name in chosen.names:
            seeds = chosen.seeds_of(name)
            for seed in seeds:
                method = chosen.make(name, seed)
                key = RunKey(data, method.name, method.params(), chosen.ks, chosen.seed, tuple(chosen.metrics))
                yield Fit(
                    window=window,
                    name=name,
                    seed=seed,
                    method=method,
                    audited=window == 0 and seed == seeds[0],
                    lists=f"{name}{'' if seed is None else f'-seed{seed}'}{_within(window, planned)}",
                    key=key,
                    directory=store.unfinished(key) if store is not None else None,
                )


def run_fit(
    fit: Fit,
    *,
    planned: Sequence[PlannedSplit],
    chosen: "Comparison",
    audit: Audit,
    folder: RunFolder | None,
    examples: ExampleCases | None,
) -> Run:
    """Fit and measure one method on one split, and write its lists; the example cases are those of the first split."""
    split, first = planned[fit.window].split, fit.window == 0
    recommender = fit.method.unfitted()
    if fit.directory is not None and isinstance(recommender, TrainedRecommender):
        recommender = recommender.with_checkpoints(fit.directory)
    _ = split.train.imprint  # computed before timing: every method uses it
    with measured() as cost:
        recommender.fit(split.train)
    seconds = cost.seconds
    if isinstance(recommender, TrainedRecommender):
        recommender.require_learned()
        seconds = max(seconds, recommender.training_seconds)  # a resumed fit counts its earlier parts
    opened = folder.lists(fit.lists, split.test, split.train.vocabulary) if folder is not None else nullcontext()
    with opened as lists:
        evaluation = evaluate(
            recommender,
            split.test,
            chosen.ks,
            max_prefix=chosen.plan.chosen.max_length,
            threads=chosen.threads,
            leaks=split.leaks,
            record=lists.add if lists is not None else None,
            metrics=chosen.metrics,
            train=split.train,
        )
    trim_memory()  # the audit fits and ranks once more
    return Run(
        evaluation,
        seconds,
        max(cost.peak_rss_mb, evaluation.peak_rss_mb),
        audit.of(recommender, seconds, lambda train: fit.method.unfitted().fit(train)) if fit.audited else None,
        examples=examples.lists(recommender) if examples is not None and first else (),
    )
