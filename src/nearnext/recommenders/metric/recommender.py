"""The default recommender: candidates from a metric space and from session-kNN, put in order by a re-ranker.

A fit has five steps; held-out sessions are later than those that were trained on:

1. Hold out the last tenth of the sessions.
2. Start the items from random vectors averaged over neighbouring items (`nearnext.model.propagation`).
3. Train a recurrent encoder and the items on every prefix (`nearnext.training.next_item`).
4. Fit the candidate generators, session-kNN and sequential rules, on the same sessions, and a re-ranker of the
   candidates on the held-out sessions (`nearnext.recommenders.metric.selection`).
5. Train the network once more on all sessions, for as many epochs, and fit the rest of step 4 on them.
"""

from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from typing import Any, ClassVar

import numpy as np
import torch

from nearnext.data.items import ItemTable
from nearnext.data.sessions import Sessions
from nearnext.data.splits import split_last
from nearnext.errors import ConfigError, DataError
from nearnext.model.encoding import item_vectors
from nearnext.model.network import ItemTower, SessionItemNetwork
from nearnext.model.propagation import propagated_embeddings
from nearnext.model.tensors import as_tensor, own_randomness, seed_draws
from nearnext.options.fields import formerly
from nearnext.processes import usable_cores
from nearnext.recommenders.base import Recommender
from nearnext.recommenders.method import State
from nearnext.recommenders.metric.candidates import CandidateGenerators, Scored, make_voters, reranked
from nearnext.recommenders.metric.cold_factor import HeldOutLists, cold_factor
from nearnext.recommenders.metric.features import Evidence, feature_names, features_used
from nearnext.recommenders.metric.options import RENAMED, MetricOptions, Size, known_options
from nearnext.recommenders.metric.reranker import Reranker, reranker_recipe
from nearnext.recommenders.metric.retraining import halfway, relearned
from nearnext.recommenders.metric.selection import HELD_OUT, select_reranker
from nearnext.recommenders.metric.statistics import ITEM_FEATURES, item_statistics
from nearnext.recommenders.metric.unclicked import ClickedItems, Likeness, UnclickedItems
from nearnext.recommenders.ranking import RankChunk
from nearnext.retrieval import ExactIndex, Index
from nearnext.stored_arrays import require_array
from nearnext.training.aside import has_other, trained_aside
from nearnext.training.learner import part_of
from nearnext.training.loop import train
from nearnext.training.next_item import NextItemTraining, PrefixBatch, next_item_recipe
from nearnext.training.recipe import Devices, Recipe, retraining
from nearnext.training.validation import Validation
from nearnext.types import ScoreArray

NO_STATISTICS = np.zeros((0, len(ITEM_FEATURES)), dtype=np.float32)

MEASURED = 6_000
"""About how many prefixes of held-out sessions epochs are compared on."""

LONG = 100_000
"""Clicks from which on a second process saves more than it takes to start."""


@formerly(**RENAMED)
@dataclass(eq=False)
class Metric(MetricOptions):
    """A metric model whose lists are re-ranked with session-kNN votes when that helps on held-out sessions.

    Its options are those of `MetricOptions`. Scores are probabilities among the candidates of a session if there is a
    re-ranker, else 1 + cosine.

    Raises:
        ConfigError: an option out of range.

    Paper: §4, with what the decisions of this project found since.

    >>> log = Sessions.of([["a", "b", "c"]] * 40 + [["x", "y", "z"]] * 40)
    >>> model = Metric(dim=8, epochs=2, reranker_steps=50).fit(log, seed=7)
    >>> model.recommend([["x", "y"]], k=1, exclude_seen=True)[0].items
    ['z']
    """

    name: ClassVar[str] = "metric"

    reranker: Reranker | None = field(init=False, repr=False, default=None)
    generators: CandidateGenerators | None = field(init=False, repr=False, default=None)
    # What the choice of the re-ranker measured, by `HELD_OUT`; {} where none was fitted on held-out sessions.
    held_out: dict[str, float] = field(init=False, repr=False, default_factory=dict[str, float])
    likeness: Likeness | None = field(init=False, repr=False, default=None)
    lists: HeldOutLists | None = field(init=False, repr=False, default=None)  # what `cold_factor` is measured on
    scored: Scored | None = field(init=False, repr=False, default=None)  # for rankers that are made from now on

    def parts(self) -> list[object]:
        """The method, its encoder and its loss."""
        return [self, self._encoder(), *filter(None, [self._loss()])]

    def recipe(
        self, network: SessionItemNetwork, sessions: Sessions, size: Size, held_out: Sessions | None = None
    ) -> Recipe[PrefixBatch]:
        """The recipe that trains a network on sessions, measured on the sessions held out, if any.

        Epochs are compared where lists are by distance alone. For a re-ranker the last epoch is best (decision 23).
        """
        validation = None if held_out is None else Validation.of(held_out, MEASURED)
        config, loss = self._training(size), self._loss()
        recipe = next_item_recipe(network, sessions, config, loss=loss, seed=self.seed, validation=validation)
        schedule = replace(recipe.schedule, compared=()) if self.voters else recipe.schedule
        return replace(recipe, schedule=schedule, devices=Devices.find(self.device, "fp32"))

    def _training(self, size: Size) -> NextItemTraining:
        return NextItemTraining(**known_options(self.params() | asdict(size), NextItemTraining.__dataclass_fields__))

    def _network(self, n_items: int) -> SessionItemNetwork:
        encoder = self._encoder()
        return SessionItemNetwork(n_items, ItemTower(dim=encoder.dim), encoder, max_length=self.max_length)

    def _learn(self, sessions: Sessions) -> None:
        self.network = self.reranker = self.generators = self.likeness = self.cold_factor = self.lists = None
        self.held_out, self.trained = {}, np.zeros(sessions.n_items + 1, dtype=np.bool_)
        if self.start is not None:
            self._continue(self.start, sessions)
            return
        self.fitted_size = self.size(sessions)
        learned, held_out = self._held_out(sessions)
        network = self._initialised(learned)
        try:
            recipe = self.recipe(network, learned, self.fitted_size, held_out)
        except DataError as error:
            self.note = f"nothing was learned, all lists are by popularity: {error}"
            return
        with self._refitting(sessions, held_out) as refitted:
            self.history = train(recipe, run=self._run(sessions), resume=self.resume, watch=self.watch)
            if held_out is not None and self.voters:
                self._fit_reranker(network, learned, held_out)
            if held_out is not None:
                network = refitted() if self.refit else self._grown(network, learned.vocabulary, sessions)
        self._complete(network, sessions)

    def _continue(self, start: "Metric", sessions: Sessions) -> None:
        """Learn from sessions, starting halfway to the weights of another model; its re-ranker is kept."""
        self.fitted_size, self.reranker, self.cold_factor = start.fitted_size, start.reranker, start.cold_factor
        assert start.network is not None and self.fitted_size is not None  # noqa: S101, PT018 - see `successor`
        if self.reranker and len(self.reranker.mean) != len(feature_names(self.voters, self.features)):
            raise ConfigError("the model is of an older nearnext, with other features; fit from scratch")
        network = self._grown(start.network, start.vocabulary, sessions)
        halfway(network, self._initialised(sessions))
        learned, epochs = relearned(sessions, start.imprint)
        recipe = retraining(self.recipe(network, learned, self.fitted_size), epochs)
        self.history = train(recipe, run=self._run(sessions), resume=self.resume, watch=self.watch)
        self._complete(network, sessions)

    def _complete(self, network: SessionItemNetwork, sessions: Sessions) -> None:
        self.trained[1:] = True
        self._serve(network)
        if self.reranker is not None:
            self.generators = self._fitted(network, self.index, sessions)

    def _take_in(self, items: ItemTable, sessions: Sessions) -> None:
        new = items.beyond(self.vocabulary)
        super()._take_in(items, sessions)
        if self.generators is None or self.network is None or self.placement is None:
            return
        voters, statistics = self.generators.voters, self.generators.evidence.items
        for voter in voters.values():
            voter._add_unclicked(new)
        # Row 0 has the mean, which items without clicks have too; without groups of features there are no rows.
        statistics = np.concatenate([statistics, np.repeat(statistics[:1], len(new), axis=0)])
        self.generators = self._generators(self.network, self.index, voters, statistics)
        if self.lists is not None:
            self.cold_factor, self.lists = cold_factor(self.lists, self.placement, items, self.vocabulary), None
        elif self.start and self.start.placement and self.start.placement.uninformed != self.placement.uninformed:
            self.cold_factor = None  # measured with a table that said something where this says nothing, or vice versa
        self.likeness = Likeness.of(self.placement, items, self.vocabulary, self.popularity, self.unclicked_factor)

    def _held_out(self, sessions: Sessions) -> tuple[Sessions, Sessions | None]:
        """What is learned from first, in a vocabulary of its own, and the later part in the same vocabulary."""
        if self.validation_fraction > 0:
            try:
                split = split_last(sessions, self.validation_fraction)
                return split.train, split.test
            except DataError as error:
                self.note = f"no validation part, neither the best epoch nor votes were chosen: {error}"
        return sessions, None

    def _initialised(self, sessions: Sessions) -> SessionItemNetwork:
        start = propagated_embeddings(sessions, self._encoder().dim, steps=self.steps, seed=self.seed)
        with own_randomness():
            seed_draws(self.seed)
            network = self._network(sessions.n_items)
        with torch.no_grad():
            network.item_embedding.weight.copy_(as_tensor(start))
        return network

    def _fit_reranker(self, network: SessionItemNetwork, learned: Sessions, held_out: Sessions) -> None:
        """Set the re-ranker; None if lists by distance are not significantly worse on the held-out sessions."""
        used = features_used(self.voters, self.features)
        self.reranker, measured, lists = select_reranker(
            self._fitted(network, ExactIndex(item_vectors(network.eval())), learned),
            held_out,
            partial(reranker_recipe, used=used, hidden=self.hidden, seed=self.seed),
            steps=self.reranker_steps, most_prefixes=self.reranker_prefixes, coverage_cost=self.coverage_cost,
        )  # fmt: skip
        self.held_out = dict(zip(HELD_OUT, measured.tolist(), strict=True))
        self.lists = lists and lists.numbered(np.append(0, self.vocabulary.encode(learned.vocabulary.ids)))
        if self.reranker is None:
            self.note = "votes of other methods make lists no better on the sessions held out: ranked by distance alone"

    @contextmanager
    def _refitting(self, sessions: Sessions, held_out: Sessions | None) -> Generator[Callable[[], SessionItemNetwork]]:
        """Inside, what is given returns a network trained on all sessions, as long as was best on those held out.

        Where epochs are not compared, a second process trains it beside the first training.
        """
        assert self.fitted_size is not None  # noqa: S101 - set before training
        if held_out is None or not self._refit_can_begin() or not has_other():
            yield partial(self._refitted, sessions)
            return
        network = self._initialised(sessions)
        with trained_aside(self.recipe(network, sessions, self.fitted_size)) as wait:

            def refitted() -> SessionItemNetwork:
                wait()
                return network

            yield refitted

    def _refit_can_begin(self) -> bool:
        """Whether the training on all sessions needs nothing from the first one: epochs are not compared."""
        return self.refit and bool(self.voters) and self.device == "cpu"

    def useful_workers(self, sessions: Sessions) -> int:
        """Two where both trainings can be made at the same time and that pays."""
        twice = self._refit_can_begin() and self.start is None and self.validation_fraction > 0 and not self.sharded
        known = all(type(part).__module__.startswith("nearnext.") for part in self.parts())  # a new process has them
        return 2 if twice and known and sessions.n_events >= LONG and usable_cores() > 1 else 1

    def _refitted(self, sessions: Sessions) -> SessionItemNetwork:
        assert self.fitted_size is not None  # noqa: S101 - set before training
        network, best = self._initialised(sessions), int(self.history[-1]["best_epoch"])
        train(self.recipe(network, sessions, replace(self.fitted_size, epochs=best)))
        return network

    def _voters(self) -> dict[str, Recommender]:
        return make_voters(self.voters, self.neighbours, self.sample_size)

    def _fitted(self, network: SessionItemNetwork, index: Index | None, sessions: Sessions) -> CandidateGenerators:
        voters = {name: voter.fit(sessions) for name, voter in self._voters().items()}
        return self._generators(network, index, voters, item_statistics(sessions) if self.features else NO_STATISTICS)

    def _generators(
        self, network: SessionItemNetwork, index: Index | None, voters: dict[str, Recommender], statistics: ScoreArray
    ) -> CandidateGenerators:
        """Generators over the exact index of all items, which another one replaces after the fit."""
        assert isinstance(index, ExactIndex)  # noqa: S101
        evidence = Evidence.of(index.vectors, next(iter(voters.values())).popularity, statistics, self.temperature)
        informed = None if self.placement is None else self.informed_items
        return CandidateGenerators(network, index, voters, evidence, self.candidates, informed)

    def _end_of_training(self) -> int:
        voters = () if self.generators is None else self.generators.voters.values()
        return max((voter.asked_at(None) for voter in voters), default=0)

    def search_by(self, index: Any) -> None:
        """Replace the index by another one of the same embeddings."""
        super().search_by(index)
        if self.generators is not None:
            self.generators = replace(self.generators, index=index)

    def clicked_items(self) -> ClickedItems | None:
        """What items without clicks are compared with; None without attributes or a re-ranker."""
        if self.generators is None or self.placement is None or self.items is None:
            return None
        return ClickedItems.of(self.placement, self.items, self.vocabulary, self.popularity, self.unclicked_factor)

    def _state(self) -> State:
        state = super()._state()
        if self.held_out:
            state["held_out"] = np.array([*self.held_out.values()], np.float64)
        if self.reranker is not None and self.generators is not None:
            state |= {f"reranker.{name}": array for name, array in self.reranker.state().items()}
            for name, voter in self.generators.voters.items():
                state |= {f"voter.{name}.{part}": one for part, one in voter.state().items() if part != "popularity"}
            if len(self.generators.evidence.items):
                state["item_statistics"] = self.generators.evidence.items
            if self.likeness is not None:
                state |= self.likeness.state()
        return state

    def _restore(self, state: State) -> None:
        self.fitted_size = Size(*(getattr(self, name) for name in ("dim", "epochs", "batch_size", "negatives")))
        super()._restore(state)
        if (measured := state.get("held_out")) is not None:
            require_array("held_out", measured, np.float64, (len(HELD_OUT),), 0)
            self.held_out = dict(zip(HELD_OUT, measured.tolist(), strict=True))
        statistics = state.get("item_statistics")
        weights = part_of(state, "reranker.") or part_of(state, "calibration.")  # its former name
        if statistics is not None:
            require_array("item_statistics", statistics, np.float32, (len(self.vocabulary) + 1, len(ITEM_FEATURES)))
        if not weights and (statistics is not None or part_of(state, "voter.")):
            raise DataError("expected the arrays of the re-ranker that its votes are for, found none")
        if weights and statistics is None and self.features:  # older than the groups, or it lacks an array
            if len(weights.get("mean", ())) == len(feature_names(self.voters, self.features)):
                raise DataError("expected the array item_statistics, which its re-ranker reads, found none")
            self.note = "its re-ranker is older than the groups of features and reads none; a new fit will"
        n_features = len(feature_names(self.voters, () if statistics is None else self.features))
        self.generators, self.reranker = None, Reranker.restored(weights, n_features) if weights else None
        if self.reranker is not None and self.network is not None:
            voters, popularity = self._voters(), {"popularity": self.popularity}
            for name, voter in voters.items():
                voter.restore(self.vocabulary, popularity | part_of(state, f"voter.{name}."))
            statistics = NO_STATISTICS if statistics is None else statistics
            self.generators = self._generators(self.network, self.index, voters, statistics)
            self.likeness = Likeness.restored(state, self.placement, self.items, self.vocabulary, self.popularity)

    def _ranker(self) -> RankChunk:
        if self.network is None or self.reranker is None or self.generators is None:
            return self._nearest()
        unclicked = UnclickedItems.of(self.network, self.popularity, self.likeness)
        return reranked(self.generators, self.reranker.probabilities, unclicked, self.temperature, self.scored)
