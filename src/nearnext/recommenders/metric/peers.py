"""SASRec and NARM: published encoders as recipes on the engine, ranked by distance alone."""

from dataclasses import dataclass
from typing import ClassVar

from nearnext.model.encoders.base import Dim, Dropout
from nearnext.options import Natural
from nearnext.recommenders.metric.recommender import Metric


@dataclass(eq=False)
class _Peer(Metric):
    """Shared part: items start at random, and no votes re-rank the lists."""

    dim: Dim = 128  # pyright: ignore[reportIncompatibleVariableOverride] - it does not follow from the log
    steps: Natural = 0
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
