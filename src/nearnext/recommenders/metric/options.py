"""Options of the default recommender, and the sizes that follow from the log: stated rules instead of search.

The rules were chosen on validation periods of public logs; docs/decisions/0014-metric.md has the figures.
"""

from collections.abc import Collection
from dataclasses import asdict, dataclass, field, replace
from typing import Annotated, Any

from nearnext.data.sessions import Sessions
from nearnext.errors import ConfigError
from nearnext.model.encoders import EncoderConfig
from nearnext.model.losses import Loss
from nearnext.options import (
    Count,
    Fraction,
    Natural,
    NonNegative,
    Positive,
    Search,
    at_least,
    require_known,
)
from nearnext.recommenders.embedded import EmbeddedRecommender
from nearnext.recommenders.metric.candidates import VOTERS
from nearnext.recommenders.metric.features import GROUPS
from nearnext.registry import ENCODERS, LOSSES
from nearnext.training.config import DeviceName

FEW_EXAMPLES, MANY_EXAMPLES = 20_000, 3_000_000
LARGE_CATALOGUE = 300_000


@dataclass(frozen=True)
class Size:
    """What follows from the log."""

    dim: int
    epochs: int
    batch_size: int
    negatives: int


def size_for(sessions: Sessions) -> Size:
    """The size of the default model for a log.

    - ``dim`` 192; 96 from 300,000 items on, where the table is what memory goes to.
    - ``epochs`` 4; 3 below 20,000 examples, whose steps are smaller, 1 from 3,000,000 on.
    - ``batch_size`` 300, 100 below 20,000 examples and 1,500 from 3,000,000 on.
    - ``negatives`` 2,048, or the number of items where that is smaller.

    >>> size_for(Sessions.of([["a", "b", "c"]] * 5))
    Size(dim=192, epochs=3, batch_size=100, negatives=3)
    """
    n_examples = sessions.n_events - sessions.n_sessions
    few, many = n_examples < FEW_EXAMPLES, n_examples >= MANY_EXAMPLES
    return Size(
        dim=96 if sessions.n_items >= LARGE_CATALOGUE else 192,
        epochs=3 if few else 1 if many else 4,
        batch_size=100 if few else 1500 if many else 300,
        negatives=max(1, min(2048, sessions.n_items)),
    )


SAMPLED_SOFTMAX = "sampled-softmax"

LearningRate = Annotated[Positive, Search(0.001, 0.02, log=True, why="how much of the items' start survives training")]
Alpha = Annotated[NonNegative, Search(0.0, 0.75, why="negatives from uniform to popular")]
Temperature = Annotated[Positive, Search(0.03, 0.15, log=True, why="lower: the nearest items count alone")]
Smoothing = Annotated[Fraction, Search(0.0, 0.4, why="probability left to negatives")]

RENAMED = {
    "breadth": "coverage_cost",
    "calibrated_on": "reranker_prefixes",
    "calibration_steps": "reranker_steps",
}
"""Present names of renamed options."""


@dataclass(eq=False)
class MetricOptions(EmbeddedRecommender):
    """The options of `Metric`; one that is None follows from the size of the log, see `Size`.

    Attributes:
        dim: dimension D of the metric space, at least 1; None: 192, from 300,000 items on 96.
        epochs: passes over the training sessions, at least 1; None: 4, below 20,000 next items 3, from 3,000,000 on 1.
        batch_size: next items in a step, about, at least 1; None: 300, below 20,000 next items 100, from 3,000,000 on
            1,500.
        negatives: items drawn for a step, at least 1; None: 2,048, or all items if they are fewer.
        learning_rate: peak rate for item embeddings, above 0.
        encoder_rate: peak rate for the session encoder, above 0.
        alpha: exponent of popularity when items are drawn, at least 0.
        temperature: of the cosine distance, above 0.
        smoothing: ε of the labels in [0, 1).
        dropout: share of a click's dimensions dropped in training, in [0, 1).
        encoder: name of the session encoder, with options of its own after a colon, as ``caser:length=10,vertical=2``;
            its hidden units and filters are ``dim`` unless given, other options its defaults.
        loss: ``sampled-softmax``, or the name of a loss on distances: ``ncas``, ``triplet``, ``contrastive``, ``bpr``,
            ``top1`` or ``warp``, of the next item against all other items of a step; with options of its own likewise,
            as ``triplet:swap=true,margin=0.5``.
        correction: whether a session may leave the span of its clicks, see `Attention`; None: it may; only for
            ``attention``.
        steps: averagings of the items over their neighbours before training, at least 0.
        max_length: number of last clicks that the encoder reads, at least 1.
        validation_fraction: share of the sessions, the last ones, that is held out, in [0, 1); 0: none, so there is no
            re-ranker, and lists are by distance.
        voters: methods that vote for candidates; none: there is no re-ranker, lists are by distance, and the epoch that
            is best on held-out sessions is kept.
        features: groups of features that the re-ranker reads besides distance, votes and popularity: ``session``,
            ``own``, ``last`` and ``item``; see `GROUPS`.
        candidates: of the index and of each voter, at least 20.
        neighbours: neighbouring sessions of a session-kNN voter, at least 1.
        sample_size: sessions that a session-kNN voter compares, 0 for all that share an item.
        hidden: hidden units of the re-ranker, at least 1.
        reranker_steps: optimiser steps of the re-ranker on ``reranker_prefixes``, at least 1; in proportion on fewer
            prefixes, down to 800.
        coverage_cost: share of hits and reciprocal ranks on held-out sessions that may be lost for lists that cover as
            much of the catalogue as those of session-kNN, in [0, 1).
        reranker_prefixes: largest number of prefixes that the re-ranker is fitted on, the last ones, at least 100.
        device: ``cpu``, ``cuda``, or ``auto``, a GPU where there is one: what trains the network.
        refit: train once more on all sessions for as many epochs; otherwise items that only the held-out
            sessions have start from the average of their neighbours.
    """

    dim: Annotated[Count | None, Search(choices=(64, 96, 128, 160, 192), why="by default it follows from the log")] = (
        None
    )
    epochs: Count | None = None
    batch_size: Count | None = None
    negatives: Count | None = None
    learning_rate: LearningRate = 0.004
    encoder_rate: Positive = 0.004
    alpha: Alpha = 0.5
    temperature: Temperature = 0.1
    smoothing: Smoothing = 0.3
    dropout: Annotated[Fraction, Search(0.0, 0.5, why="against overfitting, which sparse logs need")] = 0.0
    encoder: str = "gru"
    loss: str = SAMPLED_SOFTMAX
    correction: bool | None = None
    steps: Annotated[Natural, Search(1, 8, why="how far items are averaged with their neighbours before training")] = 5
    max_length: Count = 20
    validation_fraction: Fraction = 0.1
    voters: tuple[str, ...] = ("vsknn", "vstan", "sr")
    features: tuple[str, ...] = tuple(GROUPS)
    candidates: Annotated[int, at_least(20)] = 60
    neighbours: Count = 100
    sample_size: Natural = 1000
    hidden: Count = 64
    reranker_steps: Count = 1600
    reranker_prefixes: Annotated[int, at_least(100)] = 30_000
    coverage_cost: Fraction = 0.01
    refit: bool = True
    device: DeviceName = "cpu"

    fitted_size: Size | None = field(init=False, repr=False, default=None)

    def __post_init__(self) -> None:
        super().__post_init__()
        self._encoder_spelled()
        if self.loss.startswith("pml:"):
            raise ConfigError(
                f"{self.loss} reads embeddings, and learning from every prefix gives a loss distances; give a loss on "
                f"distances ({', '.join(LOSSES)}), or use it in sml-{self.encoder_name}-{self.loss}"
            )
        if self.loss != SAMPLED_SOFTMAX and self.loss.partition(":")[0] not in LOSSES:
            require_known("loss", self.loss, (SAMPLED_SOFTMAX, *LOSSES))
        self._loss_spelled()
        if self.correction is not None and self.encoder_name != "attention":
            raise ConfigError(f"correction belongs to encoder attention, found encoder {self.encoder}; leave it out")
        if "second" in self.features:
            raise ConfigError(
                "features: second is of a second network, which metric no longer has; fit again without it"
            )
        for kind, names, known in (("voter", self.voters, VOTERS), ("group of features", self.features, GROUPS)):
            for name in names:
                require_known(kind, name, known)
            if len(set(names)) < len(names):
                raise ConfigError(f"expected each {kind} once, found {', '.join(names)}; leave out the second")

    @property
    def encoder_name(self) -> str:
        """Name of the session encoder."""
        return self._encoder_spelled()[0]

    def _encoder_spelled(self) -> tuple[str, dict[str, Any]]:
        return ENCODERS.spelled(self.encoder, dict.fromkeys(("dim", "correction"), self.name))

    def _loss_spelled(self) -> tuple[str, dict[str, Any]] | None:
        """Name and options of a loss on distances; None: the sampled softmax."""
        if self.loss == SAMPLED_SOFTMAX:
            return None
        return LOSSES.spelled(self.loss, dict.fromkeys(("temperature", "smoothing"), self.name))

    def _loss(self) -> Loss | None:
        """A loss on distances; None: the sampled softmax."""
        spelled = self._loss_spelled()
        if spelled is None:
            return None
        name, own = spelled
        given: dict[str, Any] = {"temperature": self.temperature, "smoothing": self.smoothing, "pairing": "all"}
        return LOSSES.make(name, **known_options(given, LOSSES.option_names(name)) | own)

    def _encoder(self) -> EncoderConfig:
        size = self.fitted_size or Size(self.dim or 64, 1, 1, 1)
        given: dict[str, Any] = {
            "dim": size.dim,
            "hidden": size.dim,
            "filters": size.dim,
            "positions": self.max_length,
            "dropout": self.dropout,
            "correction": self.correction is not False,
        }
        name, own = self._encoder_spelled()
        return ENCODERS.make(name, **known_options(given, ENCODERS.option_names(name)) | own)

    def params(self) -> dict[str, Any]:
        """All options by name, those that followed from the log with the values they had."""
        given = super().params() | {"voters": list(self.voters), "features": list(self.features)}
        return given if self.fitted_size is None else given | asdict(self.fitted_size)

    def size(self, sessions: Sessions) -> Size:
        """Dimension, epochs, batch and negatives for a log: what was given, and the rules for the rest."""
        rules = size_for(sessions)
        given = {name: getattr(self, name) for name in asdict(rules)}
        return replace(rules, **{name: value for name, value in given.items() if value is not None})


def known_options(options: dict[str, Any], known: Collection[str]) -> dict[str, Any]:
    """The options that a part knows."""
    return {name: value for name, value in options.items() if name in known}
