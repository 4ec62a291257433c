"""The base class of every recommender: fit on sessions, recommend for raw ids, rank prefixes in batches."""

import warnings
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
import polars as pl
from narwhals.typing import IntoDataFrame

from nearnext.data.event_weights import item_weights
from nearnext.data.items import ItemTable
from nearnext.data.prefixes import Prefixes
from nearnext.data.raw import Moment, raw_sessions
from nearnext.data.sessionise import as_sessions
from nearnext.data.sessions import Sessions, require_sessions
from nearnext.errors import ConfigError, DataError, LogWarning
from nearnext.forks import polars_is_lost
from nearnext.options import Count, checked, require_type
from nearnext.recommenders.item_rules import ItemRules
from nearnext.recommenders.left_categories import left_categories
from nearnext.recommenders.method import Method
from nearnext.recommenders.ranking import (
    RankChunk,
    Ranking,
    Recommendation,
    Request,
    admissible_items,
    filled,
    rank_in_chunks,
    recommendations,
    require_known_items,
    unknown_ids,
)
from nearnext.recommenders.ruled import AppliedRules, ranked_by_rules, rules_over
from nearnext.recommenders.session_index import REMEMBERED, SessionMemory
from nearnext.registry import is_built_in
from nearnext.types import BoolArray, RawId, ScoreArray


@dataclass(eq=False)
class Recommender(Method):
    """A method that recommends the next item of a session; subclasses say how lists are scored.

    A subclass is a dataclass whose fields are its hyper-parameters. Scores are compared as 32-bit floats; equal ones
    are ranked by ``item_index``, the more popular item first. Lists that a method leaves short are filled with the
    most popular admissible items.
    """

    def __setattr__(self, name: str, value: Any) -> None:
        """Set an attribute; rankers that were made before are of another model."""
        super().__setattr__(name, value)
        vars(self).pop("_rankers", None)

    def __getstate__(self) -> dict[str, Any]:
        """The attributes of a copy, which makes rankers of its own."""
        return {name: value for name, value in vars(self).items() if name != "_rankers"}

    def fit(self, sessions: "Sessions | IntoDataFrame", *, items: ItemTable | None = None) -> Self:
        """Learn from sessions; their vocabulary becomes the catalogue.

        A pandas, polars or Arrow frame of clicks is read and cut into sessions as `read_events` and `sessionise` do.

        Args:
            sessions: to learn from.
            items: item table: titles, and attributes by which metric-space methods and content baselines also
                recommend items without clicks.

        Raises:
            DataError: there is nothing to learn from, or no item of the log is in the item table.
            ContractError: a part of the user's own breaks a law of its kind.
        """
        sessions = as_sessions("training sessions", sessions)
        if sessions.n_sessions == 0 or sessions.n_items == 0:
            raise DataError("expected training sessions, found none; lower the filters or give a longer log")
        if sessions.weights is not None and not sessions.weights.any():
            raise DataError("every click has weight 0, so there is nothing to learn; give some a weight above 0")
        if items is not None:
            require_type("items", items, ItemTable, "read it with nearnext.read_items(table)")
            items.described(sessions.vocabulary)
        imprint = None if polars_is_lost() else sessions.imprint
        popularity = sessions.item_counts()
        if popularity[0] or np.any(np.diff(item_weights(sessions, popularity)[1:]) > 0):
            sessions = sessions.keep_events(sessions.items > 0).reindexed()
            popularity = sessions.item_counts()
        own = not all(is_built_in(part) for part in self.parts())
        if own:
            from nearnext.recommenders.laws import check_parts

            check_parts(self)
        self.vocabulary, self.popularity, self.memory, self.imprint = sessions.vocabulary, popularity, None, imprint
        self.items, self.left_categories = None, {}
        self._learn(sessions)
        if items is not None:
            self.take_in(items, sessions)
        if own:
            from nearnext.recommenders.laws import check_lists

            check_lists(self, sessions)
        return self

    def retrain(self, sessions: "Sessions | IntoDataFrame", *, items: ItemTable | None = None) -> Self:  # noqa: ARG002
        """A new model that starts from the weights of this one; `ConfigError` for methods that have none."""
        raise ConfigError(f"{self.name} has no weights to start from; fit a new one: model.unfitted().fit(sessions)")

    def take_in(self, items: ItemTable, sessions: "Sessions | IntoDataFrame") -> Self:
        """Take in an item table after the fit on these sessions, once; `fit` does it where it is given one.

        Raises:
            ConfigError: not fitted yet, or a table was taken in before.
            DataError: no item of the model is in the table.

        Warns:
            LogWarning: the log's item ids are integers, and some of the table's are not; these items are left out.
        """
        self._check(1)
        require_type("items", items, ItemTable, "read it with nearnext.read_items(table)")
        if self.items is not None:
            raise ConfigError(f"{self.name} has an item table already; fit it again to take in another")
        items.described(self.vocabulary)
        if len(foreign := items.foreign(self.vocabulary)):
            warnings.warn(
                f"the log's item ids are integers: {len(foreign):,} items of the item table with other ids, such as "
                f"{foreign[0]!r}, are left out",
                LogWarning,
                stacklevel=2,
            )
        known = as_sessions("training sessions", sessions).with_vocabulary(self.vocabulary)
        self.items, self.left_categories = items, left_categories(known, items)
        self._take_in(items, known.keep_events(known.items > 0))
        if self.memory is not None:
            self.memory = SessionMemory(self.memory.sessions.with_vocabulary(self.vocabulary))
        return self

    def remember(self, sessions: Sessions, limit: int = REMEMBERED, *, keep_ids: bool = False) -> Self:
        """Keep the last ``limit`` training sessions, to explain recommendations by them; numbered unless ids are kept.

        Raises:
            ConfigError: a limit below 1, or not fitted yet.
        """
        self._check(1)
        require_sessions("sessions", sessions)
        self.memory = SessionMemory.of(sessions.with_vocabulary(self.vocabulary), limit, keep_ids=keep_ids)
        return self

    def rank(
        self,
        prefixes: Prefixes,
        k: int,
        *,
        admissible: BoolArray | None = None,
        exclude_seen: bool = False,
        rules: AppliedRules | None = None,
        threads: int | None = None,
        advance: Callable[[int], None] | None = None,
    ) -> Ranking:
        """A list of k item indices for each of B prefixes in this vocabulary; no list depends on other prefixes.

        ``admissible`` says which item indices may be recommended, by default all known ones: [I + 1]; ``exclude_seen``
        leaves out what a prefix contains; ``rules`` are over item indices. ``threads`` is by default one per core;
        ``advance`` is called with the number of cases just ranked, from any thread.

        Raises:
            ConfigError: k below 1, or not fitted yet.
            DataError: clicks or a mask of another vocabulary.
        """
        k = self._check(k)
        threads = checked("threads", threads, Count | None)
        require_known_items(prefixes, admissible, len(self.vocabulary))
        if admissible is None:
            admissible = np.arange(len(self.vocabulary) + 1) > 0
        kept: list[RankChunk] = vars(self).setdefault("_rankers", [])  # another list after each change of the model

        def rank(prefixes: Prefixes, k: int, mask: BoolArray) -> Ranking:
            request = Request(k, mask, exclude_seen)
            return rank_in_chunks(self.ranker, prefixes, request, threads=threads, advance=advance, kept=kept)

        if rules is None:
            return rank(prefixes, k, admissible)
        return ranked_by_rules(rules, rank, prefixes, k, admissible)

    def ranker(self, *, fill: bool = True) -> RankChunk:
        """What ranks chunks of prefixes for one thread, see `RankChunk`; its scratch memory lasts from call to call.

        ``fill`` completes short lists from popularity; otherwise they end with zeros.
        """
        self._check(1)
        return filled(self._ranker()) if fill else self._ranker()

    def save(self, path: str | Path) -> Path:
        """Save the fitted recommender to a folder, with a README.md; load it with `nearnext.load`.

        Raises:
            ArtifactError: the folder holds something else, or cannot be written.
            ConfigError: not fitted yet.
        """
        import nearnext

        return nearnext.save_artifact(self, path)

    def recommend(
        self,
        sessions: Iterable[Iterable[RawId]],
        k: int = 20,
        *,
        exclude: Iterable[RawId] = (),
        allow: Iterable[RawId] | None = None,
        exclude_seen: bool = False,
        where: str | None = None,
        boost: Mapping[str, float] | None = None,
        at_most: Mapping[str, int] | None = None,
        after: str | None = None,
        time: Moment | None = None,
    ) -> list[Recommendation]:
        """Next items for sessions of raw ids, oldest click first.

        Args:
            sessions: raw ids of each session, integers or texts, in lists, tuples, generators, numpy arrays, or columns
                of pandas and polars; ids that training never saw are ignored and reported.
            k: how many items, at least 1.
            exclude: raw ids never to recommend, e.g. out of stock; those that training never saw are reported.
            allow: when given, only these raw ids may be recommended; reported likewise.
            exclude_seen: never recommend what the session already contains.
            where: condition on attributes of the item table, e.g. ``"category = 'tent' and price < 50"``.
            boost: factors by condition, e.g. ``{"price < 50": 2}``, which moves a matching item from rank r to r / 2.
            at_most: most items of each value of a column, e.g. ``{"category": 3}``.
            after: type of the session's last event, e.g. ``"purchase"``: lists leave out the last item's category if
                the log says that sessions leave it after such an event, see `LeftCategories`.
            time: when the recommendation is asked for, seconds since 1970 UTC, a datetime or its ISO text; by default
                the end of training, and for ``available`` in a rule now.

        Raises:
            ConfigError: k is no whole number of at least 1, a time that is none, a rule that cannot be read or names an
                unknown column, an event type that was not measured, a model without an item table, or not fitted yet.
            DataError: one flat list or a text instead of sessions, or a value that is no id.

        >>> from nearnext.recommenders.rules import Markov
        >>> markov = Markov().fit(Sessions.of([["a", "b"], ["a", "c"], ["a", "c"]]))
        >>> markov.recommend([("a",)], k=1, exclude=["c", "z"])
        [Recommendation(items=['b'], scores=[1.0], own=1, unknown=[], shortage=None, unmatched=['z'])]
        """
        k = self._check(k)
        exclude_seen = checked("exclude_seen", exclude_seen, bool)
        given = raw_sessions(sessions)
        mask, unmatched = admissible_items(self.vocabulary, exclude, allow)
        encoded = [self.vocabulary.encode(session) for session in given]
        prefixes = Prefixes.of(encoded, self.asked_at(time))
        rules = rules_over(self, ItemRules.of(where, boost, at_most, after), time)
        longest = min(k, len(self.vocabulary))
        ranking = self.rank(prefixes, longest, admissible=mask, exclude_seen=exclude_seen, rules=rules, threads=1)
        unknown = map(unknown_ids, given, encoded)
        return recommendations(ranking, k, self.vocabulary, self.popularity, unknown, unmatched)

    def similar(self, items: Iterable[RawId], k: int = 10) -> list[Recommendation]:
        """The items most similar to each given one, by distance in the metric space, else by co-occurrence in sessions.

        Methods without a metric space use training sessions: session-kNN its own, others those kept by `remember`.
        The list of an item that training never saw is empty, with a reason.

        Raises:
            ConfigError: k below 1, not fitted yet, or nothing to compare items by.
            DataError: a string instead of a list of items, or a value that is not an id.

        >>> from nearnext.recommenders.neighbours import SKNN
        >>> sknn = SKNN().fit(Sessions.of([["a", "b"], ["a", "b", "c"]]))
        >>> [(one.items, one.scores) for one in sknn.similar(["a"], k=1)]
        [(['b'], [1.0])]
        """
        from nearnext.recommenders.space import similar_lists

        return similar_lists(self, items, k)

    def item_vectors(self) -> pl.DataFrame:
        """Embeddings of items, for a vector database; `ConfigError` for methods without a metric space."""
        raise no_vectors(self.name)

    def session_vectors(self, sessions: Iterable[Iterable[RawId]]) -> ScoreArray:  # noqa: ARG002
        """Embeddings of sessions of raw ids: [B, D]; `ConfigError` for methods without a metric space."""
        raise no_vectors(self.name)


def no_vectors(name: str) -> ConfigError:
    """The error of a method without a metric space, which names those that have one."""
    return ConfigError(f"{name} has no vectors; the methods metric, metric-fast and sml-ENCODER-LOSS have: fit one")
