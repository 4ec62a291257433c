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

from typing import TYPE_CHECKING, Any

from nearnext.artifact import Artifact, load_artifact, save_artifact
from nearnext.data.events import EventLog, read_events, scan_events
from nearnext.data.filters import Filter, apply_filter
from nearnext.data.prepare import PrepareReport, prepare
from nearnext.data.sessionise import read_sessions, sessionise
from nearnext.data.sessions import Sessions
from nearnext.data.shop import SyntheticShop
from nearnext.data.splits import Split, split_days, split_last, split_parts, split_windows
from nearnext.data.statistics import describe, table1
from nearnext.data.synthetic import best_hit_rate, generate, write_log
from nearnext.data.vocabulary import Vocabulary
from nearnext.errors import ArtifactError, ConfigError, DataError, NearnextError
from nearnext.evaluation.protocol import Evaluation, evaluate
from nearnext.experiments.compare import Comparison, compare
from nearnext.experiments.tuning.budget import Tuning
from nearnext.experiments.tuning.tune import tune
from nearnext.recommenders.base import Recommendation, Recommender
from nearnext.recommenders.neighbours import SKNN, VSKNN, VSTAN
from nearnext.recommenders.popularity import Pop, SessionPop
from nearnext.recommenders.registry import BASELINES, make_recommender
from nearnext.recommenders.rules import AssociationRules, Markov, SequentialRules

if TYPE_CHECKING:
    from nearnext.model.encoders import GRU, MaxPool
    from nearnext.model.losses import NCAS, Triplet
    from nearnext.recommenders.gru4rec import GRU4Rec
    from nearnext.recommenders.metric.recommender import MetricRecommender

__all__ = [
    "BASELINES",
    "GRU",
    "NCAS",
    "SKNN",
    "VSKNN",
    "VSTAN",
    "Artifact",
    "ArtifactError",
    "AssociationRules",
    "Comparison",
    "ConfigError",
    "DataError",
    "Evaluation",
    "EventLog",
    "Filter",
    "GRU4Rec",
    "Markov",
    "MaxPool",
    "MetricRecommender",
    "NearnextError",
    "Pop",
    "PrepareReport",
    "Recommendation",
    "Recommender",
    "SequentialRules",
    "SessionPop",
    "Sessions",
    "Split",
    "SyntheticShop",
    "Triplet",
    "Tuning",
    "Vocabulary",
    "apply_filter",
    "best_hit_rate",
    "compare",
    "describe",
    "evaluate",
    "generate",
    "load_artifact",
    "make_recommender",
    "prepare",
    "read_events",
    "read_sessions",
    "save_artifact",
    "scan_events",
    "sessionise",
    "split_days",
    "split_last",
    "split_parts",
    "split_windows",
    "table1",
    "tune",
    "write_log",
]

_NEED_TORCH = {
    "GRU": "nearnext.model.encoders",
    "GRU4Rec": "nearnext.recommenders.gru4rec",
    "MaxPool": "nearnext.model.encoders",
    "MetricRecommender": "nearnext.recommenders.metric.recommender",
    "NCAS": "nearnext.model.losses",
    "Triplet": "nearnext.model.losses",
}
"""Names that are imported when they are first used, so that the classical methods start without torch."""


def __getattr__(name: str) -> Any:
    """The public names that need torch."""
    if name in _NEED_TORCH:
        from importlib import import_module

        return getattr(import_module(_NEED_TORCH[name]), name)
    raise AttributeError(f"module 'nearnext' has no attribute '{name}'")
