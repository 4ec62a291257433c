"""The default recommender: candidates from a metric space and from session-kNN, put in order by a re-ranker.

A fit has five steps; held-out sessions are later than those that were trained on:

1. Hold out the last tenth of the sessions.
2. Start the items from random vectors averaged over neighbouring items (`nearnext.model.propagation`).
3. Train an attention encoder and the items on every prefix (`nearnext.training.next_item`); keep the best epoch on the
   held-out sessions.
4. Fit the candidate generators, session-kNN and sequential rules, on the same sessions, and a re-ranker of their
   candidates on the held-out sessions (`nearnext.recommenders.metric.selection`).
5. Train the network once more on all sessions, for the best number of epochs, and fit the generators on all sessions.
"""

from collections.abc import Collection
from dataclasses import asdict, dataclass, field, replace
from typing import Annotated, Any, ClassVar

import numpy as np
import torch

from nearnext.data.prefixes import Prefixes
from nearnext.data.sessions import Sessions
from nearnext.data.splits import split_last
from nearnext.errors import ConfigError, DataError
from nearnext.model.encoders import EncoderConfig
from nearnext.model.encoding import item_vectors
from nearnext.model.items import ItemTower
from nearnext.model.losses import Loss
from nearnext.model.network import SessionItemNetwork
from nearnext.model.propagation import extended_embeddings, propagated_embeddings
from nearnext.model.tensors import as_tensor, own_randomness, seed_draws
from nearnext.options import Count, Fraction, Natural, NonNegative, Positive, Search, at_least, require_known
from nearnext.recommenders.base import Recommender, State
from nearnext.recommenders.embedded import EmbeddedRecommender
from nearnext.recommenders.metric.candidates import CandidateGenerators, make_voters, require_voters
from nearnext.recommenders.metric.lists import best_candidates, followed_by
from nearnext.recommenders.metric.reranker import Reranker
from nearnext.recommenders.metric.selection import select_reranker
from nearnext.recommenders.metric.sizing import Size, size_for
from nearnext.recommenders.ranking import RankChunk, Request
from nearnext.registry import ENCODERS, LOSSES
from nearnext.retrieval import ExactIndex, Index
from nearnext.training.learner import part_of
from nearnext.training.loop import train
from nearnext.training.next_item import NextItemTraining, PrefixBatch, next_item_recipe
from nearnext.training.recipe import Recipe
from nearnext.training.validation import Validation
from nearnext.types import IndexArray, Int64Array, ScoreArray

__all__ = ["Metric"]

SAMPLED_SOFTMAX = "sampled-softmax"

MEASURED = 6_000
"""About how many prefixes of held-out sessions epochs are compared on."""


@dataclass(eq=False)
class Metric(EmbeddedRecommender):
    """A metric model whose lists are re-ranked with session-kNN votes when that helps on held-out sessions.

    Scores are probabilities among the candidates of a session if there is a re-ranker, else 1 + cosine. An option that
    is None follows from the size of the log, see `Size`.

    Attributes:
        dim: dimension D of the metric space, at least 1.
        epochs: passes over the training sessions, at least 1.
        batch_size: sessions in a step, at least 1.
        negatives: items drawn for a step, at least 1.
        learning_rate: peak rate for item embeddings, above 0.
        encoder_rate: peak rate for the session encoder, above 0.
        alpha: exponent of popularity when items are drawn, at least 0.
        temperature: of the cosine distance, above 0.
        smoothing: ε of the labels in [0, 1).
        dropout: share of a click's dimensions dropped in training, in [0, 1).
        encoder: name of the session encoder; its hidden units and filters are ``dim``, all else as it is by default.
        loss: ``sampled-softmax``, or the name of a loss on distances: ``ncas``, ``triplet``, ``contrastive``, ``bpr``,
            ``top1`` or ``warp``, of the next item against all other items of a step.
        correction: whether a session may leave the span of its clicks, see `Attention`; None: whichever is better on
            the sessions held out; only for ``attention``.
        steps: of averaging before training, at least 0.
        max_length: the last clicks of a session that are seen, at least 1.
        validation_fraction: share of the sessions, the last ones, that is held out, in [0, 1); at 0 nothing is, and
            neither votes nor the best epoch can be chosen.
        voters: methods whose votes are heard; none: lists are by distance alone.
        candidates: items that the index and each voter propose, at least 20.
        neighbours: sessions that vote, for voters of neighbouring sessions, at least 1.
        sample_size: sessions sharing an item that these compare at all, 0 for every one.
        hidden: hidden units of the calibration, at least 1.
        calibration_steps: of the calibration, at least 1.
        breadth: share of hits and reciprocal ranks on the sessions held out that may be given for lists which show as
            much of the catalogue as session-kNN does, in [0, 1).
        calibrated_on: prefixes that the calibration learns from, the last ones, at most; at least 100.
        refit: train once more on all sessions, as many epochs as were best; otherwise items that only the sessions held
            out have are placed among their neighbours.

    Raises:
        ConfigError: an option out of range.

    Paper: §4, with what the decisions of this project found since.

    >>> log = Sessions.of([["a", "b", "c"]] * 40 + [["x", "y", "z"]] * 40)
    >>> model = Metric(dim=8, epochs=2).fit(log, seed=7)
    >>> model.recommend([["x", "y"]], k=1, exclude_seen=True)[0].items
    ['z']
    """

    name: ClassVar[str] = "metric"

    dim: Annotated[Count | None, Search(choices=(64, 96, 128, 160, 224), why="by default it follows from the log")] = (
        None
    )
    epochs: Count | None = None
    batch_size: Count | None = None
    negatives: Count | None = None
    learning_rate: Annotated[
        Positive, Search(0.001, 0.02, log=True, why="how much of the items' start survives training")
    ] = 0.006
    encoder_rate: Positive = 0.002
    alpha: Annotated[NonNegative, Search(0.0, 0.75, why="negatives from uniform to popular")] = 0.25
    temperature: Annotated[Positive, Search(0.03, 0.15, log=True, why="lower: the nearest items count alone")] = 0.07
    smoothing: Annotated[Fraction, Search(0.0, 0.3, why="probability left to negatives")] = 0.1
    dropout: Annotated[Fraction, Search(0.2, 0.7, why="against overfitting, which sparse logs need")] = 0.5
    encoder: str = "attention"
    loss: str = SAMPLED_SOFTMAX
    correction: bool | None = None
    steps: Annotated[Natural, Search(1, 8, why="how far items are averaged with their neighbours before training")] = 5
    max_length: Count = 20
    validation_fraction: Fraction = 0.1
    voters: tuple[str, ...] = ("vsknn", "vstan", "sr")
    candidates: Annotated[int, at_least(20)] = 60
    neighbours: Count = 100
    sample_size: Natural = 1000
    hidden: Count = 32
    calibration_steps: Count = 800
    calibrated_on: Annotated[int, at_least(100)] = 20_000
    breadth: Fraction = 0.01
    refit: bool = True

    corrected: bool = field(init=False, repr=False, default=True)
    fitted_size: Size | None = field(init=False, repr=False, default=None)
    reranker: Reranker | None = field(init=False, repr=False, default=None)
    generators: CandidateGenerators | None = field(init=False, repr=False, default=None)

    def __post_init__(self) -> None:
        super().__post_init__()
        ENCODERS.require(self.encoder)
        if isinstance(self.loss, str) and self.loss.startswith("pml:"):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise ConfigError(
                f"{self.loss} reads embeddings, and learning from every prefix gives a loss distances; give a loss on "
                f"distances ({', '.join(LOSSES)}), or use it in sml-{self.encoder}-{self.loss}"
            )
        if self.loss != SAMPLED_SOFTMAX and self.loss not in LOSSES:
            require_known("loss", self.loss, (SAMPLED_SOFTMAX, *LOSSES))
        if self.correction is not None and self.encoder != "attention":
            raise ConfigError(f"correction belongs to encoder attention, found encoder {self.encoder}; leave it out")
        self.voters = require_voters(self.voters)

    def params(self) -> dict[str, Any]:
        """All options by name, those that followed from the log with the values they had."""
        given = super().params() | {"voters": list(self.voters)}
        if self.fitted_size is None:
            return given
        chosen = {"correction": self.corrected} if self.encoder == "attention" else {}
        return given | asdict(self.fitted_size) | chosen

    def parts(self) -> list[object]:
        """The method, its encoder and its loss."""
        return [self, self._encoder(), *filter(None, [self._loss()])]

    def size(self, sessions: Sessions) -> Size:
        """Dimension, epochs, batch and negatives for a log: what was given, and the rules for the rest."""
        rules = size_for(sessions)
        given = {name: getattr(self, name) for name in asdict(rules)}
        return replace(rules, **{name: value for name, value in given.items() if value is not None})

    def recipe(
        self, network: SessionItemNetwork, sessions: Sessions, size: Size, held_out: Sessions | None = None
    ) -> Recipe[PrefixBatch]:
        """The recipe that trains a network on sessions; epochs are compared on the sessions held out, if any."""
        validation = None if held_out is None else Validation.of(held_out, MEASURED)
        config, loss = self._training(size), self._loss()
        return next_item_recipe(network, sessions, config, loss=loss, seed=self.seed, validation=validation)

    def _training(self, size: Size) -> NextItemTraining:
        return NextItemTraining(**_known(self.params() | asdict(size), NextItemTraining.__dataclass_fields__))

    def _loss(self) -> Loss | None:
        """A loss on distances; None: the sampled softmax."""
        if self.loss == SAMPLED_SOFTMAX:
            return None
        given: dict[str, Any] = {"temperature": self.temperature, "smoothing": self.smoothing, "pairing": "all"}
        return LOSSES.make(self.loss, **_known(given, LOSSES.option_names(self.loss)))

    def _encoder(self) -> EncoderConfig:
        size = self.fitted_size or Size(self.dim or 64, 1, 1, 1)
        given: dict[str, Any] = {
            "dim": size.dim,
            "hidden": size.dim,
            "filters": size.dim,
            "positions": self.max_length,
            "dropout": self.dropout,
            "correction": self.corrected,
        }
        return ENCODERS.make(self.encoder, **_known(given, ENCODERS.option_names(self.encoder)))

    def _network(self, n_items: int) -> SessionItemNetwork:
        encoder = self._encoder()
        return SessionItemNetwork(n_items, ItemTower(dim=encoder.dim), encoder, max_length=self.max_length)

    def _learn(self, sessions: Sessions) -> None:
        self.network, self.reranker, self.generators = None, None, None
        self.trained = np.zeros(sessions.n_items + 1, dtype=np.bool_)
        self.fitted_size = self.size(sessions)
        learned, held_out = self._held_out(sessions)
        self.corrected = self.correction is not False
        if self.correction is None and held_out is not None and self.encoder == "attention":
            self.corrected = self._better_corrected(learned, held_out)
        network = self._initialised(learned)
        try:
            recipe = self.recipe(network, learned, self.fitted_size, held_out)
            self.history = train(recipe, run=self._run(sessions), resume=self.resume, watch=self.watch)
        except DataError as error:
            self.note = f"nothing was learned, all lists are by popularity: {error}"
            return
        if held_out is not None and self.voters:
            self._fit_reranker(network, learned, held_out)
        if held_out is not None and self.refit:
            network = self._refitted(sessions)
        elif held_out is not None:
            network = self._grown(network, sessions, learned)
        self.trained[1:] = True
        self._serve(network)
        if self.reranker is not None:
            voters = self._voters_of(sessions)
            self.generators = self._generators_of(network, self.index, voters, self.popularity)

    def _held_out(self, sessions: Sessions) -> tuple[Sessions, Sessions | None]:
        """What is learned from first, in a vocabulary of its own, and the later part in the same vocabulary."""
        if self.validation_fraction > 0:
            try:
                split = split_last(sessions, self.validation_fraction)
                return split.train, split.test
            except DataError as error:
                self.note = f"no validation part, neither the best epoch nor votes were chosen: {error}"
        return sessions, None

    def _initialised(self, learned: Sessions) -> SessionItemNetwork:
        with own_randomness():
            seed_draws(self.seed)
            network = self._network(learned.n_items)
        dim = network.item_embedding.embedding_dim
        with torch.no_grad():
            start = propagated_embeddings(learned, dim, steps=self.steps, seed=self.seed)
            network.item_embedding.weight.copy_(as_tensor(start))
        return network

    def _better_corrected(self, learned: Sessions, held_out: Sessions) -> bool:
        """Whether a correction helps on the sessions held out, after an epoch over the most recent half before."""
        assert self.fitted_size is not None  # noqa: S101 - set before training
        recent = learned.select(np.arange(learned.n_sessions // 2, learned.n_sessions))
        once, figures = replace(self.fitted_size, epochs=1), list[float]()
        for self.corrected in (False, True):
            try:
                measured = train(self.recipe(self._initialised(learned), recent, once, held_out))
            except DataError:
                return False
            figures.append(measured[0]["HitRate@20"] + measured[0]["MRR@20"])
        return figures[1] > figures[0]

    def _fit_reranker(self, network: SessionItemNetwork, learned: Sessions, held_out: Sessions) -> None:
        """Set the re-ranker; None if lists by distance are not significantly worse on the held-out sessions."""
        index = ExactIndex(item_vectors(network.eval()))
        self.reranker = select_reranker(
            self._generators_of(network, index, self._voters_of(learned), learned.item_counts()),
            held_out,
            most_prefixes=self.calibrated_on,
            coverage_cost=self.breadth,
            hidden=self.hidden,
            steps=self.calibration_steps,
            seed=self.seed,
        )
        if self.reranker is None:
            self.note = "votes of other methods make lists no better on the sessions held out: ranked by distance alone"

    def _grown(self, network: SessionItemNetwork, sessions: Sessions, learned: Sessions) -> SessionItemNetwork:
        """The network over the whole catalogue; items that only later sessions have start among their neighbours."""
        whole, weights = self._network(sessions.n_items), network.state_dict()
        table = extended_embeddings(weights["item_embedding.weight"].numpy(), learned, sessions)
        whole.load_state_dict(weights | {"item_embedding.weight": as_tensor(table)})
        return whole

    def _refitted(self, sessions: Sessions) -> SessionItemNetwork:
        """A network trained on all sessions, as long as was best on those held out."""
        assert self.fitted_size is not None  # noqa: S101 - set before training
        best = max(self.history, key=lambda figures: figures["HitRate@20"] + figures["MRR@20"])
        network = self._initialised(sessions)
        train(self.recipe(network, sessions, replace(self.fitted_size, epochs=int(best["epoch"]))))
        return network

    def _voters(self) -> dict[str, Recommender]:
        return make_voters(self.voters, self.neighbours, self.sample_size)

    def _voters_of(self, sessions: Sessions) -> dict[str, Recommender]:
        return {name: voter.fit(sessions) for name, voter in self._voters().items()}

    def _generators_of(
        self, network: SessionItemNetwork, index: Index | None, voters: dict[str, Recommender], clicks: Int64Array
    ) -> CandidateGenerators:
        assert isinstance(index, ExactIndex)  # noqa: S101 - `search_by` replaces it after the fit
        return CandidateGenerators.over(
            network, index, voters, clicks, temperature=self.temperature, most=self.candidates
        )

    def _end_of_training(self) -> int:
        voters = {} if self.generators is None else self.generators.voters
        return max((voter.asked_at(None) for voter in voters.values()), default=0)

    def search_by(self, index: Any) -> None:
        """Search the items by another index of the same embeddings from now on."""
        super().search_by(index)
        if self.generators is not None:
            self.generators = replace(self.generators, index=index)

    def _state(self) -> State:
        state = super()._state()
        if self.reranker is not None and self.generators is not None:
            state |= {f"reranker.{name}": array for name, array in self.reranker.state().items()}
            for name, voter in self.generators.voters.items():
                state |= {
                    f"voter.{name}.{part}": array for part, array in voter.state().items() if part != "popularity"
                }
        return state

    def _restore(self, state: State) -> None:
        self.fitted_size = Size(*(getattr(self, name) for name in ("dim", "epochs", "batch_size", "negatives")))
        self.corrected = self.correction is not False
        super()._restore(state)
        weights = part_of(state, "reranker.") or part_of(state, "calibration.")  # its name in artifacts of release 0.1
        self.reranker = Reranker(**weights) if weights else None
        self.generators = None
        if self.reranker is not None and self.network is not None:
            popularity = {"popularity": self.popularity}
            voters = {
                name: voter.restore(self.vocabulary, popularity | part_of(state, f"voter.{name}."))
                for name, voter in self._voters().items()
            }
            self.generators = self._generators_of(self.network, self.index, voters, self.popularity)

    def _ranker(self) -> RankChunk:
        if self.network is None:
            return lambda prefixes, request, items, scores: np.zeros(len(prefixes), dtype=np.int32)  # noqa: ARG005
        if self.reranker is None or self.generators is None:
            return self._nearest()
        reranker, generate = self.reranker, self.generators.generator()

        def rank_chunk(prefixes: Prefixes, request: Request, items: IndexArray, scores: ScoreArray) -> IndexArray:
            found, near = generate(prefixes, request)
            own = best_candidates(found.offsets, found.items, reranker.probabilities(found), items, scores)
            if request.k > self.candidates:
                own = followed_by(near, own, items, scores, self.temperature)
            own[near.items[:, 0] == 0] = 0
            return own

        return rank_chunk


def _known(options: dict[str, Any], known: Collection[str]) -> dict[str, Any]:
    return {name: value for name, value in options.items() if name in known}
