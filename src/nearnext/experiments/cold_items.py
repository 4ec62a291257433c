"""How well methods recommend items without clicks: those of some items are taken from the training log."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any, NamedTuple

import numpy as np
import polars as pl

from nearnext.data.filters import apply_filter, keep_last_clicks
from nearnext.data.ids import ids_as
from nearnext.data.items import ItemTable
from nearnext.data.sessions import Sessions
from nearnext.errors import ConfigError, DataError
from nearnext.evaluation.cases import Cases
from nearnext.evaluation.metrics import metric_names
from nearnext.evaluation.significance import interval, paired
from nearnext.evaluation.sums import MetricAccumulator
from nearnext.experiments.comparison import Comparison
from nearnext.experiments.plan import SplitPlan
from nearnext.experiments.result import Result, describe_part, made_by
from nearnext.options import Fraction, checked
from nearnext.progress import track
from nearnext.recommenders.base import Recommender
from nearnext.recommenders.space import space_of
from nearnext.types import BoolArray, FloatArray

BASELINES = ("category-pop", "content-knn")
"""Methods on attributes alone, which every comparison of items without clicks has."""

METRICS = ("HitRate", "MRR")
GROUPS = ("cold", "warm")
"""Cases whose next item has no click in training but attributes, and the rest."""


class Parts(NamedTuple):
    """A training part without the clicks on items that were taken, the test part, and attributes."""

    train: Sessions
    test: Sessions
    table: ItemTable  # of the items that compete: those of the training part, before items were taken
    taken: int


class Figures(NamedTuple):
    """One method's hit rates and reciprocal ranks in one group of cases, by name with ``@k``."""

    values: dict[str, float]
    replicates: dict[str, FloatArray]  # [R] each


def compare_cold(
    log: Sessions,
    table: ItemTable,
    test: Sessions | None = None,
    comparison: Comparison | None = None,
    *,
    share: float = 0.1,
    reading: Sequence[Mapping[str, Any]] = (),
    command: str = "",
) -> Result:
    """Methods on cases whose next item has no click in training, and on the rest; all items compete in every list.

    Methods with a metric space are also ranked without attributes. The baselines `BASELINES` are always compared.

    Args:
        log: the sessions to split, or to train on where ``test`` is given.
        table: attributes of the items.
        test: sessions of a test log of its own.
        comparison: methods and protocol.
        share: of the items that were clicked in the training part, drawn by the seed: their clicks are dropped there.
            0: only items that the training part lacks anyway are cold.
        reading: reports of how the logs were read.
        command: how to repeat this.

    Raises:
        ConfigError: a share outside [0, 1), or a split into several windows.
        DataError: the table has no attributes, nothing is left to learn from, or no case has a cold item as target.
    """
    chosen = comparison or Comparison(methods=("metric",))
    begin, share = time.perf_counter(), checked("cold_items", share, Fraction)
    if table.frame.columns == ["item_id"]:
        raise DataError(
            "expected attributes of items, found ids alone; give a table with titles, categories, prices or vectors, "
            "or compare without cold items"
        )
    parts = _parts(log, test, table, chosen, share)
    cold = _cold_cases(parts, chosen.plan)
    if not cold.any():
        raise DataError(
            "expected test clicks on items with attributes and without training clicks, found none; raise the share of "
            "cold items, or give a table that has the log's items"
        )
    found: dict[str, dict[str, Figures]] = {}
    rows = list[Result]()
    names = list(dict.fromkeys([*BASELINES, *chosen.names]))
    with track("comparing", len(names), "methods") as advance:
        for name in names:
            fitted = chosen.make(name).fit(parts.train)
            plain = _figures(fitted, parts, cold, chosen) if space_of(fitted) is not None else None
            found[name] = _figures(fitted.take_in(parts.table, parts.train), parts, cold, chosen)
            if plain is not None:
                found[f"{name} without attributes"] = plain
            advance(1)
    for name, groups in found.items():
        rows.append({"name": name, **{group: _row(groups[group]) for group in GROUPS}})
    return {
        "protocol": {
            **chosen.protocol(test is not None, len(cold)),
            "cold_items": share,
            "cold_cases": int(cold.sum()),
            **made_by(command, begin),
        },
        "data": {
            "train": describe_part(parts.train),
            "test": describe_part(parts.test),
            "items": parts.table.summary(),
            "taken_items": parts.taken,
            "reading": [dict(report) for report in reading],
        },
        "methods": rows,
        "findings": _findings(found, chosen.ks[-1]),
    }


def _parts(log: Sessions, test: Sessions | None, table: ItemTable, chosen: Comparison, share: float) -> Parts:
    plan = chosen.plan
    if plan.kind not in ("last", "days"):
        raise ConfigError(
            f"cold items need one split in time, found {plan.kind}; give split (--split) as last:FRACTION or days:N"
        )
    one = plan.splits(log, test)[0]
    train = one.training_log()
    if test is None:
        test = log.select(np.argsort(log.starts, kind="stable")[one.split.raw_train_sessions :])
    clicked = train.vocabulary.ids.filter(pl.Series(train.item_counts()[1:] > 0))
    if share:  # an item that nobody clicked before either is no test of new items
        known = ids_as(clicked, table.frame["item_id"].dtype).to_frame("item_id")
        table = ItemTable(table.frame.join(known, on="item_id", how="semi"), table.report)
    candidates = train.vocabulary.encode(table.frame["item_id"])
    candidates = np.sort(candidates[candidates > 0])
    taken = np.random.default_rng([chosen.seed, 1]).permutation(candidates)[: round(share * len(candidates))]
    train, _ = apply_filter(train.keep_events(~np.isin(train.items, taken)), plan.chosen)
    if not train.n_sessions:
        raise DataError(
            "no training sessions are left without the clicks on cold items; lower the share or the filters"
        )
    if plan.chosen.max_length:
        test = keep_last_clicks(test, plan.chosen.max_length)
    return Parts(train.reindexed(), test.select(test.lengths > 1), table, len(taken))


def _cold_cases(parts: Parts, plan: SplitPlan) -> BoolArray:
    """Which cases have a cold item as target: [C]."""
    cases = Cases.of(parts.test, plan.chosen.max_length)
    ids = parts.test.vocabulary.ids
    cold = (parts.table.vocabulary.encode(ids) > 0) & (parts.train.vocabulary.encode(ids) == 0)
    return np.append(False, cold)[cases.targets]


def _figures(recommender: Recommender, parts: Parts, cold: BoolArray, chosen: Comparison) -> dict[str, Figures]:
    """Each group's figures of one method."""
    cases = Cases.of(parts.test.with_vocabulary(recommender.vocabulary), chosen.plan.chosen.max_length)
    ranking = recommender.rank(cases.prefixes, chosen.ks[-1], threads=chosen.threads)
    names, found = metric_names(chosen.ks, METRICS), dict[str, Figures]()
    for group, members in zip(GROUPS, (cold, ~cold), strict=True):
        rows = np.flatnonzero(members)
        accumulator = MetricAccumulator(cases.take(rows), recommender.popularity, chosen.ks)
        accumulator.add(ranking.take(rows))
        sums = accumulator.sums()
        drawn = sums.bootstrapped(seed=chosen.seed, replicates=chosen.replicates)
        values, replicates = sums.values(), dict(zip(sums.names, drawn.T, strict=True))
        found[group] = Figures({name: values[name] for name in names}, {name: replicates[name] for name in names})
    return found


def _row(figures: Figures) -> Result:
    ends = {name: interval(drawn) for name, drawn in figures.replicates.items()}
    return {
        name: {"value": value, "low": float(ends[name][0]), "high": float(ends[name][1])}
        for name, value in figures.values.items()
    }


def _findings(found: Mapping[str, Mapping[str, Figures]], k: int) -> list[Result]:
    """The effect of attributes per metric method: cold cases against the best baseline, warm cases against itself."""
    results = list[Result]()
    for name in found:
        plain = f"{name} without attributes"
        if plain not in found:
            continue
        for metric in metric_names([k], METRICS):
            best = max(BASELINES, key=lambda method, metric=metric: found[method]["cold"].values[metric])
            for group, other in (("cold", best), ("warm", plain)):
                one, against = found[name][group], found[other][group]
                value, base = one.values[metric], against.values[metric]
                difference = paired(one.replicates[metric], against.replicates[metric], value, base)
                facts = {"method": name, "group": group, "metric": metric, "value": value, "against": other}
                results.append({**facts, "other": base, **asdict(difference)})
    return results
