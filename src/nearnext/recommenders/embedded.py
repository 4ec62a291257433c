"""The base class of recommenders with a metric space: network, index of the items, figures of the fit."""

from abc import abstractmethod
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import numpy as np
import polars as pl
from torch import Tensor

from nearnext.data.items import ItemTable
from nearnext.data.prefixes import Prefixes
from nearnext.data.raw import raw_sessions
from nearnext.data.sessions import Sessions
from nearnext.data.vocabulary import Vocabulary
from nearnext.errors import DataError
from nearnext.model.encoding import SessionEncoding, item_vectors, row_vectors
from nearnext.model.network import SessionItemNetwork
from nearnext.model.propagation import extended_embeddings
from nearnext.model.tensors import as_tensor
from nearnext.recommenders.method import State
from nearnext.recommenders.placement import FEWEST, Placement
from nearnext.recommenders.ranking import RankChunk, Request
from nearnext.recommenders.space import EmbeddingSpace, learned_space
from nearnext.recommenders.trained import TrainedRecommender
from nearnext.retrieval import ExactIndex, Index
from nearnext.stored_arrays import require_array, require_finite
from nearnext.training.examples import TABLES
from nearnext.training.learner import part_of
from nearnext.types import BoolArray, IndexArray, RawId, ScoreArray

FIGURES = ("epoch", "loss", "HitRate@20", "MRR@20", "learning_rate", "best_epoch")
"""Figures of an epoch that an artifact keeps; older ones keep the first five."""

LARGE = 2**23
"""Numbers in the item embeddings above which what is searched is stored too: processes share it, and start sooner."""

PREFIXES = 4_096
"""Number of training sessions whose embeddings give the direction of least session energy."""


@dataclass(eq=False)
class EmbeddedRecommender(TrainedRecommender):
    """A recommender whose sessions and items share one metric space; a subclass says how it is trained.

    Where nothing could be learned there is no network, and all lists are by popularity.
    """

    network: SessionItemNetwork | None = field(init=False, repr=False, default=None)
    trained: BoolArray = field(init=False, repr=False)  # which item indices have an embedding: [I + 1]
    index: Index | None = field(init=False, repr=False, default=None)
    placement: Placement | None = field(init=False, repr=False, default=None)
    # Factor of the scores of items without clicks in re-ranked lists; None: not measured, or no re-ranker.
    cold_factor: float | None = field(init=False, repr=False, default=None)

    @abstractmethod
    def _network(self, n_items: int) -> SessionItemNetwork:
        """A new network over ``n_items`` items."""

    @property
    def unclicked_factor(self) -> float:
        """Factor of the scores of items without clicks; 0: they only fill lists that are too short."""
        if self.cold_factor is not None:
            return self.cold_factor
        return 0.0 if self.placement is not None and self.placement.uninformed else 1.0

    @property
    def informed_items(self) -> BoolArray:
        """Which item indices lists by distance, and session embeddings, are made of: [I + 1].

        Those with an embedding, except by attributes that do not predict embeddings.
        """
        if self.placement is not None and self.placement.uninformed:
            return self.trained & (self.popularity > 0)
        return self.trained

    @property
    def table_note(self) -> str:
        """What the item table predicts of items without clicks; "" if not measured, or if every item has clicks."""
        return self.unclicked_note if (self.popularity[1:] == 0).any() else ""

    @property
    def unclicked_note(self) -> str:
        """The same even if every item has clicks, for items that a catalogue adds; "" if not measured."""
        explained = None if self.placement is None else self.placement.explained
        if self.placement is None or explained is None:
            return ""
        found = "embeddings of held-out items" if self.cold_factor is None else "next items of held-out sessions"
        factor = self.unclicked_factor
        if not factor and self.placement.too_few:
            return (
                f"the item table has attributes of only {self.placement.described} of the items with clicks, and "
                f"{FEWEST} are needed to measure what they predict: items without clicks only fill lists that are too "
                "short"
            )
        if not factor:
            return f"the item table does not predict {found}: items without clicks only fill lists that are too short"
        if self.cold_factor is None:
            return f"the item table predicts {explained:.0%} of the variance in {found}: it embeds items without clicks"
        return f"the item table predicts {found}: scores of items without clicks are multiplied by {factor:g}"

    def require_learned(self) -> None:
        """A check that there is an embedding of items and sessions."""
        if self.network is None:
            raise DataError(f"{self.name}: {self.note or 'nothing was learned, all lists are by popularity'}")

    def search_by(self, index: Index) -> None:
        """Replace the index by another one of the same embeddings."""
        self.index = index

    def space(self) -> EmbeddingSpace | None:
        """The metric space of sessions and items; None when nothing was learned."""
        network, index, placement = self.network, self.index, self.placement
        if network is None or index is None:
            return None
        dim = network.item_embedding.embedding_dim
        return EmbeddingSpace(
            distance=network.distance,
            index=index,
            located=self.trained,
            informed=self.informed_items,
            items=lambda indices: item_vectors(network, indices),
            place=placement and (lambda items: row_vectors(network, placement.rows(items)[:, :dim])),
            sessions=SessionEncoding(network, self.informed_items),
        )

    def item_vectors(self) -> pl.DataFrame:
        """The items of lists by distance: ``item_id``, ``vector`` (D 32-bit floats) and ``clicks`` in training.

        The next items of a session are those with the nearest vectors, by the distance of the space. The re-ranker of
        methods such as ``metric`` is not part of the vectors.

        Raises:
            ConfigError: not fitted yet, or nothing could be learned.
        """
        self._check(1)
        space = learned_space(self)
        indices = np.flatnonzero(space.informed).astype(np.int32)
        vectors = space.items(indices).astype(np.float32, copy=False)
        return pl.DataFrame(
            {
                "item_id": self.vocabulary.ids.gather(indices - 1),
                "vector": pl.Series(vectors, dtype=pl.Array(pl.Float32, vectors.shape[1])),
                "clicks": self.popularity[indices],
            }
        )

    def session_vectors(self, sessions: Iterable[Iterable[RawId]]) -> ScoreArray:
        """Embeddings of sessions of raw ids, zeros where no click is known: [B, D].

        Raises:
            ConfigError: not fitted yet, or nothing could be learned.
            DataError: one flat list or a text instead of sessions, or a value that is no id.
        """
        self._check(1)
        space = learned_space(self)
        encoded = [self.vocabulary.encode(session) for session in raw_sessions(sessions)]
        return space.sessions(Prefixes.of(encoded))[0]

    def _take_in(self, items: ItemTable, sessions: Sessions) -> None:
        """Embed items without a trained embedding, including those not in the log, by their attributes."""
        self.placement = None
        network, space = self.network, self.space()
        if network is None or space is None:
            return
        weights = network.state_dict()
        tables = {name: weights[name].numpy() for name in TABLES if name in weights}
        known = np.flatnonzero(self.trained)
        every = Prefixes.every(sessions)
        some = np.linspace(0, len(every) - 1, min(len(every), PREFIXES)).astype(np.int64)
        prefixes = every.take(some)
        self.placement = Placement.of(
            items.of(self.vocabulary.ids.gather(known - 1)),
            self.popularity[known],
            np.concatenate([table[known] for table in tables.values()], axis=1),
            space.sessions(prefixes)[0] if network.item.hidden == 0 else None,
            cosine=network.distance == "cosine" and network.item.hidden == 0,
        )
        self._add_unclicked(items.beyond(self.vocabulary))
        self.trained = np.append(self.trained, np.zeros(len(self.vocabulary) + 1 - len(self.trained), np.bool_))
        placed = np.flatnonzero(~self.trained)[1:]
        rows = self.placement.rows(items.of(self.vocabulary.ids.gather(placed - 1)))
        for (name, table), part in zip(tables.items(), np.split(rows, len(tables), axis=1), strict=True):
            grown = np.zeros((len(self.vocabulary) + 1, table.shape[1]), np.float32)
            grown[: len(table)] = table
            grown[placed] = part
            weights[name] = as_tensor(grown)
        self.trained[placed] = True
        self._serve(self._whole(weights))

    def _whole(self, weights: Mapping[str, Tensor]) -> SessionItemNetwork:
        """The network over the whole catalogue with these weights, whose memory it shares."""
        network = self._network(1)  # tables of all items would be drawn, and then replaced
        network.take_over(weights, len(self.vocabulary))
        return network

    def _grown(self, network: SessionItemNetwork, vocabulary: Vocabulary, sessions: Sessions) -> SessionItemNetwork:
        """A trained network over the items of other sessions; those not in its vocabulary start among neighbours."""
        whole, weights = self._network(sessions.n_items), network.state_dict()
        for name in TABLES:
            if name in weights:
                weights[name] = as_tensor(extended_embeddings(weights[name].numpy(), vocabulary, sessions))
        whole.load_state_dict(weights)
        return whole

    def _serve(self, network: SessionItemNetwork, stored: State | None = None) -> None:
        self.network = network.eval()
        if stored:
            self.index = ExactIndex.restored(stored, len(self.vocabulary), network.item.dim, network.distance)
        else:
            self.index = ExactIndex(item_vectors(network), network.distance)

    def _state(self) -> State:
        weights = {} if self.network is None else self.network.state_dict()
        placed = {} if self.placement is None else self.placement.arrays()
        exact = getattr(self.index, "exact", self.index)
        searched = exact.arrays() if isinstance(exact, ExactIndex) and exact.n_items * exact.dim > LARGE else {}
        figures = [[epoch.get(name, np.nan) for name in FIGURES] for epoch in self.history]
        return {
            "trained": self.trained,
            "history": np.array(figures, dtype=np.float64).reshape(-1, len(FIGURES)),
            **{f"network.{name}": tensor.numpy() for name, tensor in weights.items()},
            **{f"placement.{name}": array for name, array in placed.items()},
            **({} if self.cold_factor is None else {"cold_factor": np.array([self.cold_factor])}),
            **{f"index.{name}": array for name, array in searched.items()},
        }

    def _restore(self, state: State) -> None:
        self.trained = require_array("trained", state["trained"], np.bool_, (len(self.vocabulary) + 1,), 0, 1)
        self.history = [
            {name: float(value) for name, value in zip(FIGURES, row, strict=False) if not np.isnan(value)}
            for row in state["history"]
        ]
        weights = {name: as_tensor(require_finite(name, array)) for name, array in part_of(state, "network.").items()}
        self.network = None
        layers = self.params().get("layers", 1)
        if weights and isinstance(layers, int) and layers > len(weights):
            raise DataError(f"expected at most {len(weights)} layers, found {layers}")
        if weights:
            self._serve(self._whole(weights), part_of(state, "index."))
        placed = part_of(state, "placement.")
        self.placement = None
        if placed and weights and self.items is not None:
            width = sum(table.shape[1] for name, table in weights.items() if name in TABLES)
            self.placement = Placement.from_arrays(placed, self.items, width)
        self.cold_factor = None
        if "cold_factor" in state:
            self.cold_factor = float(require_array("cold_factor", state["cold_factor"], np.float64, (1,), 0, 1)[0])

    def _ranker(self) -> RankChunk:
        return self._nearest()

    def _nearest(self) -> RankChunk:
        """Lists of the items nearest to the session."""
        network, index = self.network, self.index
        if network is None or index is None:
            return lambda prefixes, request, items, scores: np.zeros(len(prefixes), dtype=np.int32)  # noqa: ARG005
        informed = self.informed_items
        encode = SessionEncoding(network, informed)

        def rank_chunk(prefixes: Prefixes, request: Request, items: IndexArray, scores: ScoreArray) -> IndexArray:
            vectors, known = encode(prefixes)
            found = index.search(
                vectors,
                items.shape[1],
                admissible=request.admissible & informed,
                seen=prefixes if request.exclude_seen else None,
            )
            # A session without known clicks has no embedding: its list is by popularity.
            somewhere = known > 0
            items[somewhere], scores[somewhere] = found.items[somewhere], found.scores[somewhere]
            return np.where(somewhere, found.found, 0).astype(np.int32)

        return rank_chunk
