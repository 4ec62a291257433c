"""`Metric` with other options: in a fraction of its time, and SASRec and NARM, ranked by distance alone."""

from dataclasses import dataclass
from typing import ClassVar

from nearnext.model.encoders.base import Dim, Dropout
from nearnext.options import Natural, Positive
from nearnext.options.fields import formerly
from nearnext.recommenders.metric.options import RENAMED, Alpha, LearningRate, Smoothing, Temperature
from nearnext.recommenders.metric.recommender import Metric


@formerly(**RENAMED)
@dataclass(eq=False)
class MetricFast(Metric):
    """`Metric` in a fraction of the time: a smaller space, fewer epochs, two voting methods.

    >>> MetricFast().params()["dim"]
    96
    """

    name: ClassVar[str] = "metric-fast"

    dim: int | None = 96
    epochs: int | None = 2
    negatives: int | None = 1024
    batch_size: int | None = 400
    voters: tuple[str, ...] = ("vsknn", "sr")
    features: tuple[str, ...] = ("session", "own", "last", "item")
    candidates: int = 50
    hidden: int = 32
    reranker_steps: int = 400
    reranker_prefixes: int = 8_000


@dataclass(eq=False)
class _Peer(Metric):
    """Shared part: items start at random, and no votes re-rank the lists.

    Options of training are those that suited attention on validation periods, see decision 14.
    """

    dim: Dim = 128  # pyright: ignore[reportIncompatibleVariableOverride] - it does not follow from the log
    steps: Natural = 0
    learning_rate: LearningRate = 0.006
    encoder_rate: Positive = 0.002
    alpha: Alpha = 0.25
    temperature: Temperature = 0.07
    smoothing: Smoothing = 0.1
    voters: tuple[str, ...] = ()


@dataclass(eq=False)
class SASRec(_Peer):
    """SASRec: causal self-attention over the clicks, see `SelfAttention`, trained on every prefix.

    Options are those of `MetricOptions`.

    Deviation: the loss is a softmax over sampled items with logQ correction, which is stronger than the paper's one
    negative for each click; the score is a cosine over a temperature; the best epoch on held-out sessions is kept.
    Reference: Kang & McAuley, ICDM 2018.

    >>> SASRec().params()["encoder"]
    'selfattention'
    """

    name: ClassVar[str] = "sasrec"

    encoder: str = "selfattention"
    dropout: Dropout = 0.2


@dataclass(eq=False)
class NARM(_Peer):
    """NARM: a GRU and attention over its states, see `Narm`, trained on every prefix.

    Options are those of `MetricOptions`.

    Deviation: the loss is a softmax over sampled items with logQ correction instead of one over all items; the score is
    a cosine over a temperature; the best epoch on held-out sessions is kept. Reference: Li et al., CIKM 2017.

    >>> NARM().params()["encoder"]
    'narm'
    """

    name: ClassVar[str] = "narm"

    encoder: str = "narm"
    dropout: Dropout = 0.4
