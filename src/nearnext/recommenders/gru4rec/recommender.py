"""GRU4Rec with its options, behind the protocol of every recommender."""

from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

import numpy as np

from nearnext.data.sessions import Sessions
from nearnext.errors import ConfigError, DataError
from nearnext.extras import training_extra
from nearnext.options import SOME, Count, Fraction, Natural, NonNegative, Positive, Search
from nearnext.recommenders.gru4rec.scoring import Weights, ranker
from nearnext.recommenders.method import State
from nearnext.recommenders.ranking import RankChunk
from nearnext.recommenders.trained import TrainedRecommender
from nearnext.stored_arrays import require_finite
from nearnext.training.config import DeviceName
from nearnext.types import FloatArray

if TYPE_CHECKING:
    from nearnext.recommenders.gru4rec.network import ClickBatch
    from nearnext.training.recipe import Recipe


@dataclass(eq=False)
class GRU4Rec(TrainedRecommender):
    """GRU4Rec+: a GRU reads the session click by click; the product of its state with an item's row is the score.

    Attributes:
        loss: ``cross-entropy`` (softmax over sampled items) or ``bpr-max``.
        layers: width of each GRU layer, the first one first.
        epochs: passes over the training sessions, in order of their start.
        batch_size: sessions read side by side.
        optimiser: ``adagrad`` or ``adam``.
        learning_rate: of the optimiser; usual are 0.05 to 0.2 for adagrad, 0.001 for adam.
        momentum: of Adagrad, in [0, 1).
        dropout_embedding: share of the input embedding set to 0 in training, in [0, 1).
        dropout_hidden: share of the hidden state set to 0 in training, and carried so to the next click, in [0, 1).
        n_sample: extra negatives of each step, besides the other sessions' targets.
        sample_alpha: they are drawn with probability proportional to clicks^sample_alpha; 0: uniform, 1: popularity.
        logq: power of the logQ correction of cross-entropy for that draw; 1: full, 0: none.
        bpreg: weight of the score regularisation of BPR-max.
        elu: α of the activation elu(score) before BPR-max; 0: linear.
        constrained_embedding: whether an item's output row is its input embedding too.
        embedding: width of the separate input embedding otherwise; 0: that of the first layer.
        device: ``cpu``, ``cuda``, or ``auto``, a GPU where there is one: what trains the network.
        losses: mean loss of each epoch of the fit: [epochs].

    The defaults are the options that the authors list as the best for RSC15 with a constrained embedding. Gradients end
    at the state before the click, as in the authors' implementation. Reference: Hidasi et al., Session-based
    recommendations with recurrent neural networks, 2016; Hidasi & Karatzoglou, Recurrent neural networks with top-k
    gains, 2018.

    >>> log = Sessions.of([["a", "b", "c"]] * 20 + [["c", "a"]] * 20)
    >>> gru4rec = GRU4Rec(layers=(8,), n_sample=8).fit(log)
    >>> gru4rec.recommend([["a"], ["a", "b"]], k=1, exclude_seen=True)[1].items
    ['c']
    """

    name: ClassVar[str] = "gru4rec"

    seed: int = 0
    loss: Annotated[Literal["cross-entropy", "bpr-max"], Search(why="which one wins depends on the log")] = (
        "cross-entropy"
    )
    layers: Annotated[
        tuple[Count, ...],
        SOME,
        Search(choices=([64], [96], [128], [192], [256], [384], [512]), why="the authors' range is 64-512"),
    ] = (100,)
    epochs: Annotated[Count, Search(3, 12, why="it has no early stopping, so that too many overfit")] = 10
    batch_size: Annotated[Count, Search(32, 256, log=True, why="smaller: more updates, slower; the authors' range")] = (
        32
    )
    optimiser: Literal["adagrad", "adam"] = "adagrad"
    learning_rate: Annotated[Positive, Search(0.01, 0.25, log=True, why="the authors' range for Adagrad")] = 0.1
    momentum: Annotated[Fraction, Search(0.0, 0.9, why="the authors' range", where={"optimiser": ("adagrad",)})] = 0.0
    dropout_embedding: Annotated[Fraction, Search(0.0, 0.5, why="the authors' range")] = 0.1
    dropout_hidden: Annotated[Fraction, Search(0.0, 0.7, why="the authors' range")] = 0.0
    n_sample: Natural = 2048
    sample_alpha: Annotated[
        NonNegative, Search(0.0, 1.0, why="negatives from uniform to popular; the authors' range")
    ] = 0.75
    logq: Annotated[
        NonNegative,
        Search(choices=(0.0, 1.0), why="without or with the correction", where={"loss": ("cross-entropy",)}),
    ] = 1.0
    bpreg: Annotated[NonNegative, Search(0.0, 2.0, why="the authors' range", where={"loss": ("bpr-max",)})] = 0.0
    elu: Annotated[
        NonNegative, Search(choices=(0.0, 0.5, 1.0), why="the authors' values", where={"loss": ("bpr-max",)})
    ] = 0.0
    constrained_embedding: bool = True
    embedding: Natural = 0
    device: DeviceName = "cpu"

    losses: FloatArray = field(init=False, repr=False)
    weights: Weights = field(init=False, repr=False)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.optimiser == "adam" and self.momentum:
            raise ConfigError(f"gru4rec: adam has its own momentum, found momentum {self.momentum}; set momentum to 0")
        if self.constrained_embedding and self.embedding:
            raise ConfigError(
                f"gru4rec: a constrained embedding is as wide as the last layer, found embedding {self.embedding}; "
                "set embedding to 0 or constrained_embedding to false"
            )
        if self.batch_size == 1 and self.n_sample == 0:
            raise ConfigError("gru4rec: one session side by side and no extra negatives leave nothing to compare with")

    def _learn(self, sessions: Sessions) -> None:
        # Torch takes over a second to import, and is an extra: only a fit needs it.
        with training_extra("fitting gru4rec"):
            from nearnext.training.loop import train
            from nearnext.training.recipe import retraining

        weights = self.drawn(sessions)
        try:
            recipe = self.recipe(sessions, weights)
            recipe = recipe if self.start is None else retraining(recipe)
            self.history = train(recipe, run=self._run(sessions), resume=self.resume, watch=self.watch)
        except DataError as error:
            self.note = f"nothing was learned, all lists are by popularity: {error}"
        self.losses = np.array([epoch["loss"] for epoch in self.history])
        self.weights = weights if self.history else weights.silenced()

    def drawn(self, sessions: Sessions) -> Weights:
        """The weights before training."""
        if self.start is not None:
            return self.start.weights.for_items_of(sessions, self.start.vocabulary)
        return Weights.draw(np.random.default_rng(self.seed), sessions.n_items, self.layers, self._separate())

    def _separate(self) -> int | None:
        """Width of a separate input embedding; None: the output rows serve."""
        return None if self.constrained_embedding else self.embedding or self.layers[0]

    def recipe(self, sessions: Sessions, weights: Weights) -> "Recipe[ClickBatch]":
        """The recipe that trains these weights in place on sessions."""
        from nearnext.recommenders.gru4rec.network import GRU4RecNetwork, SessionParallel, bpr_max, cross_entropy
        from nearnext.training.config import Schedule
        from nearnext.training.optimisers import Adagrad, Adam
        from nearnext.training.recipe import Devices, Recipe

        corrected = self.loss == "cross-entropy"
        loss = cross_entropy if corrected else partial(bpr_max, regularisation=self.bpreg, elu=self.elu)
        network = GRU4RecNetwork(weights, self.batch_size, loss, (self.dropout_embedding, self.dropout_hidden))
        adagrad = self.optimiser == "adagrad"
        rule = Adagrad(self.learning_rate, self.momentum) if adagrad else Adam(self.learning_rate, exact=False)
        batches = SessionParallel(
            sessions,
            self.batch_size,
            self.n_sample,
            self.sample_alpha,
            logq=self.logq if corrected else 0.0,
            inputs=network.inputs is not None,
            seed=self.seed,
        )
        return Recipe(
            network=network,
            batches=batches,
            loss=network,
            schedule=Schedule(epochs=self.epochs),
            tables={name: rule for name in ("outputs", "inputs") if getattr(network, name) is not None},
            layers=rule,
            seed=self.seed,
            devices=Devices.find(self.device, "fp32"),
            carried=tuple(name for name, _ in network.named_buffers()),
            title="gru4rec: training",
            remedy=f"lower learning_rate ({self.learning_rate:g}) or momentum ({self.momentum:g})",
        )

    def _state(self) -> State:
        return {"losses": self.losses, **self.weights.to_state()}

    def _restore(self, state: State) -> None:
        self.losses = require_finite("losses", state["losses"])
        self.weights = Weights.from_state(state, len(self.vocabulary), self.layers, self._separate())

    def _ranker(self) -> RankChunk:
        return ranker(self.weights)
