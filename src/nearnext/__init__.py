"""nearnext: from a click log to a next-item recommender, measured honestly.

>>> import nearnext
>>> log = nearnext.Sessions.of([["sku-1", "sku-9"], ["sku-9", "sku-4"], ["sku-1", "sku-9", "sku-4"]] * 10)
>>> train, test = nearnext.split_last(log, fraction=0.1)
>>> recommender = nearnext.VSKNN().fit(train)
>>> recommender.recommend([["sku-1", "sku-9"]], k=1, exclude_seen=True)[0].items
['sku-4']
>>> round(nearnext.evaluate(recommender, test, k=2).values()["HitRate@2"], 2)
1.0
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from nearnext.extras import training_extra

if TYPE_CHECKING:
    from nearnext.artifact import Artifact, load, load_artifact, save_artifact
    from nearnext.data.events import EventLog, read_events, scan_events
    from nearnext.data.filters import Filter, apply_filter
    from nearnext.data.items import ItemTable, read_items
    from nearnext.data.leaks import Leaks
    from nearnext.data.prepare import PrepareReport, prepare
    from nearnext.data.sessionise import read_sessions, sessionise
    from nearnext.data.sessions import Sessions
    from nearnext.data.shop_items import synthetic_items
    from nearnext.data.splits import Split, split_authors, split_days, split_last, split_parts, split_windows
    from nearnext.data.statistics import describe, table1
    from nearnext.data.synthetic import SyntheticShop, best_hit_rate, generate, write_log
    from nearnext.data.vocabulary import Vocabulary
    from nearnext.errors import ArtifactError, ConfigError, DataError, LeakWarning, LogWarning, NearnextError
    from nearnext.evaluation.case_metric import CaseMetric
    from nearnext.evaluation.protocol import Evaluation, evaluate
    from nearnext.experiments.compare import Comparison, compare
    from nearnext.experiments.tuning.budget import Tuning
    from nearnext.experiments.tuning.tune import tune
    from nearnext.model.encoders import (
        GRU,
        LSTM,
        RNN,
        Attention,
        AvgPool,
        Caser,
        EncoderConfig,
        LastItem,
        MaxPool,
        SessionEncoder,
        TagSpace,
        TextCNN,
        WeightedPool,
    )
    from nearnext.model.losses import BPR, NCAS, TOP1, WARP, Contrastive, Loss, LossInput, MetricLearning, Triplet
    from nearnext.recommenders.base import Recommender
    from nearnext.recommenders.gru4rec import GRU4Rec
    from nearnext.recommenders.metric.fast import MetricFast
    from nearnext.recommenders.metric.recommender import Metric
    from nearnext.recommenders.named import BASELINES, make_recommender
    from nearnext.recommenders.neighbours import SKNN, VSKNN, VSTAN
    from nearnext.recommenders.popularity import Pop, SessionPop
    from nearnext.recommenders.ranking import Recommendation
    from nearnext.recommenders.rules import AssociationRules, Markov, SequentialRules
    from nearnext.recommenders.scored import ScoredRecommender
    from nearnext.recommenders.sml.recommender import SML
    from nearnext.registration import register
    from nearnext.report.html import comparison_page, write_report
    from nearnext.sampling import (
        EveryPrefix,
        InBatch,
        InversePopularity,
        Negatives,
        Popularity,
        PositiveNegative,
        ReversedPopularity,
        Sampler,
        SlidingWindow,
        Uniform,
    )

    __version__: str

__all__ = [
    "BASELINES",
    "BPR",
    "GRU",
    "LSTM",
    "NCAS",
    "RNN",
    "SKNN",
    "SML",
    "TOP1",
    "VSKNN",
    "VSTAN",
    "WARP",
    "Artifact",
    "ArtifactError",
    "AssociationRules",
    "Attention",
    "AvgPool",
    "CaseMetric",
    "Caser",
    "Comparison",
    "ConfigError",
    "Contrastive",
    "DataError",
    "EncoderConfig",
    "Evaluation",
    "EventLog",
    "EveryPrefix",
    "Filter",
    "GRU4Rec",
    "InBatch",
    "InversePopularity",
    "ItemTable",
    "LastItem",
    "LeakWarning",
    "Leaks",
    "LogWarning",
    "Loss",
    "LossInput",
    "Markov",
    "MaxPool",
    "Metric",
    "MetricFast",
    "MetricLearning",
    "NearnextError",
    "Negatives",
    "Pop",
    "Popularity",
    "PositiveNegative",
    "PrepareReport",
    "Recommendation",
    "Recommender",
    "ReversedPopularity",
    "Sampler",
    "ScoredRecommender",
    "SequentialRules",
    "SessionEncoder",
    "SessionPop",
    "Sessions",
    "SlidingWindow",
    "Split",
    "SyntheticShop",
    "TagSpace",
    "TextCNN",
    "Triplet",
    "Tuning",
    "Uniform",
    "Vocabulary",
    "WeightedPool",
    "apply_filter",
    "best_hit_rate",
    "compare",
    "comparison_page",
    "describe",
    "evaluate",
    "generate",
    "load",
    "load_artifact",
    "make_recommender",
    "prepare",
    "read_events",
    "read_items",
    "read_sessions",
    "register",
    "save_artifact",
    "scan_events",
    "sessionise",
    "split_authors",
    "split_days",
    "split_last",
    "split_parts",
    "split_windows",
    "synthetic_items",
    "table1",
    "tune",
    "write_log",
    "write_report",
]

_MODULES = {
    "artifact": "Artifact load load_artifact save_artifact",
    "data.events": "EventLog read_events scan_events",
    "data.filters": "Filter apply_filter",
    "data.items": "ItemTable read_items",
    "data.leaks": "Leaks",
    "data.prepare": "PrepareReport prepare",
    "data.sessionise": "read_sessions sessionise",
    "data.sessions": "Sessions",
    "data.shop_items": "synthetic_items",
    "data.splits": "Split split_authors split_days split_last split_parts split_windows",
    "data.statistics": "describe table1",
    "data.synthetic": "SyntheticShop best_hit_rate generate write_log",
    "data.vocabulary": "Vocabulary",
    "errors": "ArtifactError ConfigError DataError LeakWarning LogWarning NearnextError",
    "evaluation.case_metric": "CaseMetric",
    "evaluation.protocol": "Evaluation evaluate",
    "experiments.compare": "Comparison compare",
    "experiments.tuning.budget": "Tuning",
    "experiments.tuning.tune": "tune",
    "model.encoders": "GRU LSTM RNN Attention AvgPool Caser EncoderConfig LastItem MaxPool SessionEncoder TagSpace "
    "TextCNN WeightedPool",
    "model.losses": "BPR NCAS TOP1 WARP Contrastive Loss LossInput MetricLearning Triplet",
    "recommenders.base": "Recommender",
    "recommenders.gru4rec": "GRU4Rec",
    "recommenders.metric.fast": "MetricFast",
    "recommenders.metric.recommender": "Metric",
    "recommenders.neighbours": "SKNN VSKNN VSTAN",
    "recommenders.popularity": "Pop SessionPop",
    "recommenders.ranking": "Recommendation",
    "recommenders.named": "BASELINES make_recommender",
    "recommenders.rules": "AssociationRules Markov SequentialRules",
    "recommenders.scored": "ScoredRecommender",
    "recommenders.sml.recommender": "SML",
    "registration": "register",
    "report.html": "comparison_page write_report",
    "sampling": "EveryPrefix InBatch InversePopularity Negatives Popularity PositiveNegative ReversedPopularity "
    "Sampler SlidingWindow Uniform",
}
"""The public names of each module; a module is imported when one of its names is first used."""

_RENAMED = {"MetricRecommender": "SML"}
"""Names of earlier versions, and what they are called now."""

_MODULE_OF = {name: f"nearnext.{module}" for module, names in _MODULES.items() for name in names.split()}


def __getattr__(name: str) -> Any:
    """A public name from its module, or the version of the installed package."""
    if name == "__version__":
        from importlib.metadata import PackageNotFoundError, version

        try:
            value = version("nearnext")
        except PackageNotFoundError:  # a copy of the source that was never installed
            value = "unknown"
    elif name in _RENAMED:
        import warnings

        warnings.warn(f"nearnext.{name} is now nearnext.{_RENAMED[name]}", FutureWarning, stacklevel=2)
        value = getattr(import_module(_MODULE_OF[_RENAMED[name]]), _RENAMED[name])
    elif name in _MODULE_OF:
        with training_extra(f"nearnext.{name}"):
            value = getattr(import_module(_MODULE_OF[name]), name)
    else:
        raise AttributeError(f"module 'nearnext' has no attribute '{name}'")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__, "__version__"})
