"""One method on one log: fitting it for use, and evaluating it later on another log."""

import time
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import asdict
from pathlib import Path
from typing import Any

from nearnext.artifact import Artifact
from nearnext.data.filters import Filter, apply_filter, keep_last_clicks
from nearnext.data.items import ItemTable
from nearnext.data.leaks import find_leaks
from nearnext.data.sessions import Sessions
from nearnext.data.splits import predicted_sessions
from nearnext.data.statistics import describe, length_distribution, recurring_distribution
from nearnext.errors import DataError
from nearnext.evaluation.protocol import FALLBACK_RULE, TIE_RULE, evaluate
from nearnext.evaluation.runs import RunFolder, write_judgements
from nearnext.experiments.result import (
    ComparisonResult,
    Result,
    Run,
    describe_part,
    machine,
    made_by,
    method_result,
    warning_lines,
)
from nearnext.experiments.sizing import estimate
from nearnext.options import Natural, checked
from nearnext.recommenders.base import Recommender
from nearnext.recommenders.session_index import REMEMBERED
from nearnext.recommenders.space import space_of
from nearnext.recommenders.trained import TrainedRecommender


def fit_model(
    recommender: Recommender,
    sessions: Sessions,
    chosen: Filter,
    *,
    items: ItemTable | None = None,
    remember: int = REMEMBERED,
    keep_ids: bool = False,
    start: Mapping[str, Any] | None = None,
    reading: Mapping[str, Any] | None = None,
    command: str = "",
) -> Result:
    """Fit on a whole log after its filters; what is given back is the provenance that an artifact keeps.

    ``start`` is the manifest of the model whose weights the recommender starts from.
    """
    remember = checked("remember", remember, Natural)
    kept = _filtered(sessions, chosen)
    begin = time.perf_counter()
    recommender.fit(kept, items=items)
    seconds = time.perf_counter() - begin
    if isinstance(recommender, TrainedRecommender):
        recommender.require_learned()
    if remember:
        recommender.remember(kept, remember, keep_ids=keep_ids)
    return {
        "data": {**describe_part(kept), "fingerprint": kept.fingerprint(), "last_time": int(kept.times.max())},
        "reading": dict(reading or {}),
        **({} if items is None else {"item_table": items.summary()}),
        "fit_seconds": seconds,
        **_indexed(recommender, kept),
        "machine": machine(),
        "command": command,
        **({} if start is None else {"started_from": _started_from(start)}),
    }


def _started_from(manifest: Mapping[str, Any]) -> Result:
    before = manifest.get("started_from", {}).get("retrainings", 0)
    return {"fingerprint": manifest.get("data", {}).get("fingerprint"), "retrainings": 1 + before}


def _indexed(recommender: Recommender, sessions: Sessions) -> Result:
    """Which index the recommender searches its items by, once it was chosen; nothing for methods without a space."""
    if space_of(recommender) is None:
        return {}
    from nearnext.indexing import reindex  # methods without a space do without torch

    return {"index": asdict(reindex(recommender, sessions=sessions))}


def size_model(recommender: Recommender, sessions: Sessions, chosen: Filter) -> Result:
    """What `fit_model` would take, without doing it: sizes, options, parameters, memory and time."""
    kept = _filtered(sessions, chosen)
    sized = estimate(recommender, kept)
    return {
        "method": recommender.name,
        "params": recommender.params() | dict(sized.settled),
        "data": describe_part(kept),
        **asdict(sized),
        "peak_bytes": sized.peak_bytes,
        "fits": sized.fits,
    }


def _filtered(sessions: Sessions, chosen: Filter) -> Sessions:
    kept, _ = apply_filter(sessions, chosen)
    if kept.n_sessions == 0:
        raise DataError(
            f"no sessions of {chosen.min_length} or more clicks left of {sessions.n_sessions}; lower the filters"
        )
    return kept.reindexed()


def evaluate_model(
    artifact: Artifact,
    sessions: Sessions,
    *,
    ks: Sequence[int],
    unknown: str = "miss",
    max_length: int | None = None,
    threads: int | None = None,
    reading: Mapping[str, Any] | None = None,
    command: str = "",
    lists: str | Path | None = None,
    metrics: Sequence[str] = (),
) -> ComparisonResult:
    """A saved model on all sessions of a log, in the shape of a comparison of one method; ``lists`` as in `compare`."""
    begin = time.perf_counter()
    leaks = find_leaks(artifact.recommender.imprint, sessions)
    test = keep_last_clicks(sessions, max_length) if max_length else sessions
    test, unknown_clicks = predicted_sessions(test, artifact.recommender.vocabulary, unknown)
    if test.n_sessions == 0:
        raise DataError("no session of 2 or more clicks to predict; evaluate on a later log of the same shop")
    folder = RunFolder(lists) if lists is not None else None
    recommender = artifact.recommender
    if folder is not None:
        folder.require_writable(["qrels.txt", f"{recommender.name}.run"])
        write_judgements(folder.path("qrels.txt"), test)
    with folder.lists(recommender.name, test, recommender.vocabulary) if folder else nullcontext() as written:
        evaluation = evaluate(
            recommender,
            test,
            ks,
            max_prefix=max_length,
            threads=threads,
            leaks=leaks,
            record=written.add if written else None,
            metrics=metrics,
        )
    run = Run(evaluation, float(artifact.manifest.get("fit_seconds", 0.0)), evaluation.peak_rss_mb)
    replicates = evaluation.filled.bootstrapped(seed=7)
    return ComparisonResult(
        {
            "warnings": warning_lines([reading or {}], leaks),
            "leaks": leaks.facts(),
            "protocol": {
                "split": "a saved model on a log of its own",
                "unknown": unknown,
                "cases": evaluation.filled.n_cases,
                "k": list(evaluation.filled.ks),
                "metrics": list(evaluation.filled.further),
                "max_length": max_length,
                "ties": TIE_RULE,
                "fallback": FALLBACK_RULE,
                "tuning": "none",
                **made_by(command, begin),
            },
            "data": {
                "train": dict(artifact.manifest.get("data", {})),
                "test": describe_part(test),
                "fingerprint": sessions.fingerprint(),
                "reading": [dict(reading or {})],
                "unknown_test_clicks": unknown_clicks,
            },
            "methods": [method_result([run], replicates)],
        }
    )


def statistics_result(
    log: Sessions, chosen: Filter, *, reading: Mapping[str, Any] | None = None, command: str = ""
) -> Result:
    """Sizes before and after a filter, the distribution of session lengths, and the share of recurring items.

    Paper: Table 1 and Figure 1. ``figure1`` is of the filtered log: ``lengths[n]`` is the share of sessions of n
    clicks; ``recurring`` the share of sessions with no returning click, and with up to 10%, 20%, ... 100% of them.
    """
    begin = time.perf_counter()
    kept, taken = apply_filter(log, chosen)
    return {
        "warnings": warning_lines([reading or {}]),
        "protocol": {"filter": asdict(chosen), **made_by(command, begin)},
        "data": {"fingerprint": log.fingerprint(), "reading": [dict(reading or {})]},
        "table1": {"before": asdict(describe(log)), "after": asdict(describe(kept)), "filter": asdict(taken)},
        "figure1": {"lengths": length_distribution(kept).tolist(), "recurring": recurring_distribution(kept).tolist()},
    }
