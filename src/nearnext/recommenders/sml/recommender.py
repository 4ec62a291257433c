"""The metric model behind the protocol of every recommender: the next item is the one nearest to the session."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

from nearnext.data.sessions import Sessions
from nearnext.data.splits import split_last
from nearnext.errors import ConfigError, DataError
from nearnext.model.distances import DistanceName
from nearnext.model.encoders import EncoderConfig, MaxPool
from nearnext.model.losses import NCAS, Loss, MetricLearning
from nearnext.model.network import ItemTower, SessionItemNetwork
from nearnext.model.tensors import as_tensor, own_randomness, seed_draws
from nearnext.options import Count, Natural, Positive, require_type
from nearnext.recommenders.embedded import EmbeddedRecommender
from nearnext.recommenders.neighbours import prepare_neighbour_positives
from nearnext.recommenders.sml.options import name_of_parts, options_of_parts
from nearnext.sampling import PositiveNegative, Sampler
from nearnext.training.config import TrainingConfig
from nearnext.training.examples import TABLES, Examples, Objective, objective_of, sampled_recipe
from nearnext.training.loop import train
from nearnext.training.recipe import retraining
from nearnext.training.validation import Validation
from nearnext.types import IndexArray


@dataclass(eq=False)
class SML(EmbeddedRecommender):
    """Session-based metric learning: sessions and items in one metric space, the nearest items are recommended.

    Scores are 2 − d for the cosine distance d, −d for the Euclidean ones, as 32-bit floats. The last part of the given
    sessions is held out to choose the best epoch; items that occur only there have no embedding, and are listed after
    all others, by popularity. From sessions that give no example (one click each, or a log of one item) nothing can be
    learned: then all lists are those of popularity, and ``note`` says so.

    Attributes:
        encoder: session encoder φ.
        loss: what is minimised.
        sampler: what becomes a training example.
        training: optimiser, schedule, validation, device.
        item_hidden: units of the hidden layer of the item encoder ω, 0: none.
        item_tanh: whether a tanh follows the last layer of the item encoder.
        item_frozen: whether its layers keep the weights that they begin with.
        initial_std: of the embeddings before training, see `SessionItemNetwork`.
        max_norm: longest embedding that both encoders read, see `ItemTower`; None: any.
        common_embedding: φ and ω read one embedding table.
        distance: ``cosine``, ``euclidean`` or ``squared_euclidean``.
        max_length: the last clicks of a session that are seen.
        logq: whether the loss corrects for how often a negative is drawn (only NCAS does).

    Raises:
        ConfigError: parts that do not fit one another.

    Paper: §4.

    >>> from nearnext.model.encoders import GRU
    >>> log = Sessions.of([["a", "b", "c"]] * 40 + [["c", "a", "b"]] * 40)
    >>> training = TrainingConfig(epochs=5, batch_size=8, learning_rate=0.02, device="cpu")
    >>> model = SML(encoder=GRU(dim=8, hidden=8), loss=NCAS(smoothing=0.3), training=training)
    >>> model.fit(log, seed=7).recommend([["c", "a"]], k=1, exclude_seen=True)[0].items
    ['b']
    """

    encoder: EncoderConfig = field(default_factory=MaxPool)
    loss: Loss | MetricLearning = field(default_factory=NCAS)
    sampler: Sampler = field(default_factory=PositiveNegative)
    training: TrainingConfig = field(default_factory=TrainingConfig)
    item_hidden: Natural = 0
    item_tanh: bool = False
    item_frozen: bool = False
    initial_std: Positive | None = None
    max_norm: Positive | None = None
    common_embedding: bool = True
    distance: DistanceName = "cosine"
    max_length: Count = 15
    logq: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        named = "or name the parts: make_recommender('sml-gru-ncas')"
        require_type("encoder", self.encoder, EncoderConfig, f"give for example GRU(dim=100), {named}")
        # What a callable lacks of a loss is said by the laws of losses when it is fitted.
        if isinstance(self.loss, type) or not (isinstance(self.loss, MetricLearning) or callable(self.loss)):  # pyright: ignore[reportUnnecessaryIsInstance]
            require_type("loss", self.loss, Loss, f"give for example NCAS(), {named}")
        require_type("sampler", self.sampler, Sampler, "give for example PositiveNegative()")
        require_type("training", self.training, TrainingConfig, "give for example TrainingConfig(epochs=5)")
        if (self.workers > 1 or self.sharded) and isinstance(self.loss, MetricLearning):
            raise ConfigError(
                f"{self.name} compares all examples of a batch, which workers share, found workers={self.workers}, "
                f"sharded={self.sharded}; use one worker, or a loss of nearnext"
            )
        given = getattr(self.sampler, "max_length", self.max_length)
        if given < self.max_length:
            raise ConfigError(
                f"the sampler gives the last {given} clicks, the network would see {self.max_length}; make them equal"
            )
        self._tower()

    @property
    def name(self) -> str:  # pyright: ignore[reportIncompatibleVariableOverride] - it follows from the parts
        """``sml-<encoder>-<loss>``."""
        return name_of_parts(self.encoder, self.loss)

    def params(self) -> dict[str, Any]:
        """All options by name, as a config file has them."""
        return options_of_parts(**super().params())

    def parts(self) -> list[object]:
        """Encoder, loss, sampler and negatives."""
        return [self.encoder, self.loss, self.sampler, self.sampler.negatives]

    def _tower(self) -> ItemTower:
        return ItemTower(
            dim=self.encoder.dim,
            hidden=self.item_hidden,
            initial_std=self.initial_std,
            last_tanh=self.item_tanh,
            frozen=self.item_frozen,
            max_norm=self.max_norm,
        )

    def _network(self, n_items: int) -> SessionItemNetwork:
        return SessionItemNetwork(
            n_items,
            self._tower(),
            self.encoder,
            common_embedding=self.common_embedding,
            distance=self.distance,
            max_length=self.max_length,
        )

    def _learn(self, sessions: Sessions) -> None:
        self.network = None
        self.trained = np.zeros(sessions.n_items + 1, dtype=np.bool_)
        network, objective, examples = self.prepare(sessions)
        recipe = sampled_recipe(network, objective, examples, self.training)
        recipe = recipe if self.start is None else retraining(recipe)
        try:
            self.history = train(recipe, run=self._run(sessions), resume=self.resume, watch=self.watch)
        except DataError as error:
            self.note = f"nothing was learned, all lists are by popularity: {error}"
            return
        if not self.note and sessions.lengths.min() > self.max_length:
            self.note = (
                f"every session is longer than max_length, {self.max_length} clicks: only the last ones are seen"
            )
        self._adopt(network, sessions.vocabulary.encode(examples.sessions.vocabulary.ids))

    def prepare(self, sessions: Sessions) -> tuple[SessionItemNetwork, Objective, Examples]:
        """What a fit on these sessions begins with: the network before training, its objective, its examples.

        >>> network, _, examples = SML().prepare(Sessions.of([["a", "b"]] * 40))
        >>> network.n_items, examples.sessions.n_sessions
        (2, 38)
        """
        learned, validation = self._held_out(sessions)
        neighbours = prepare_neighbour_positives(learned) if self.sampler.needs_neighbours else None
        examples = Examples(learned, self.sampler, neighbours, validation, self.seed)
        with own_randomness():
            seed_draws(self.seed)
            network = self._network(learned.n_items)
            if self.start is not None and self.start.network is not None:
                network = self._grown(self.start.network, self.start.vocabulary, learned)
            objective = objective_of(
                self.loss, self.distance, logq=self.logq, dim=self.encoder.dim, n_items=learned.n_items
            )
        return network, objective, examples

    def _held_out(self, sessions: Sessions) -> tuple[Sessions, Validation | None]:
        """What is learned from, in a vocabulary of its own, and the validation part after it."""
        if self.training.validation_fraction > 0 and self.start is None:
            try:
                split = split_last(sessions, self.training.validation_fraction)
                return split.train, Validation.of(split.test)
            except DataError as error:
                self.note = f"no validation part, the last epoch counts as the best: {error}"
        return sessions.reindexed(), None

    def _adopt(self, network: SessionItemNetwork, indices: IndexArray) -> None:
        """The trained network with its items under the catalogue's indices: [I_learned]."""
        weights = network.state_dict()
        for name in TABLES:
            if name in weights:
                rows = torch.zeros(len(self.vocabulary) + 1, self.encoder.dim)
                rows[as_tensor(indices.astype(np.int64))] = weights[name][1:]
                weights[name] = rows
        self.trained[indices] = True
        self._serve(self._whole(weights))
