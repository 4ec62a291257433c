"""The one protocol of every recommender: fit on sessions, recommend for raw ids, rank prefixes in batches."""

import os
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from nearnext.data.imprint import Imprint
from nearnext.data.prefixes import Prefixes
from nearnext.data.raw import Moment, microseconds_of, raw_ids, raw_sessions
from nearnext.data.sessions import Sessions, require_sessions
from nearnext.data.vocabulary import Vocabulary
from nearnext.errors import ConfigError, DataError
from nearnext.forks import polars_is_lost
from nearnext.options import Count, check, checked, require_type
from nearnext.recommenders.memory import REMEMBERED, SessionMemory
from nearnext.recommenders.ranking import Ranking
from nearnext.registry import is_built_in
from nearnext.topk import fill_from_popularity
from nearnext.types import BoolArray, IndexArray, Int64Array, RawId, ScoreArray

if TYPE_CHECKING:
    from nearnext.recommenders.space import EmbeddingSpace
    from nearnext.retrieval import Index

__all__ = ["RankChunk", "Recommendation", "Recommender", "Request", "State"]

State = dict[str, NDArray[Any]]
"""What a fitted recommender has learned, as named arrays: enough to restore it without its training data."""

CHUNK = 1024
"""Cases ranked by one call of a kernel: small enough for a live progress bar, large enough to hide the call."""


def _silent(_cases: int) -> None:
    """No progress."""


RankChunk = Callable[[Prefixes, "Request", IndexArray, ScoreArray], IndexArray]


@dataclass(frozen=True)
class Recommendation:
    """What is recommended to one session.

    Attributes:
        items: raw ids, best first, at most k, all different.
        scores: one per item, falling; 0 where the item was filled in from popularity.
        own: how many leading items the method itself scored; the rest was filled in from popularity.
        unknown: ids of the session that training never saw; they were ignored.
        shortage: why fewer than k items are given, or None.
        unmatched: ids of ``exclude`` and ``allow`` that training never saw, so that they name no item.
    """

    items: list[RawId]
    scores: list[float]
    own: int
    unknown: list[RawId]
    shortage: str | None = None
    unmatched: list[RawId] = field(default_factory=list[RawId])


@dataclass(frozen=True, eq=False)
class Request:
    """What a list must respect: its length, the admissible item indices [I + 1], and whether seen items may return."""

    k: int
    admissible: BoolArray
    exclude_seen: bool = False


@dataclass(eq=False)
class Recommender(ABC):
    """A method that recommends the next item of a session; subclasses say how lists are scored.

    A subclass is a dataclass whose fields are its hyper-parameters. Scores are compared as 32-bit floats; equal ones
    are ranked by ``item_index``, the more popular item first. Lists that a method leaves short are filled with the
    most popular admissible items. ``memory`` holds training sessions where `remember` was called: they explain lists,
    and change none. ``imprint`` recognises sessions that were learned from; None where that is not known. ``watch`` is
    called with the figures of each epoch by methods that train in epochs; what it raises ends the fit.
    """

    name: ClassVar[str]

    vocabulary: Vocabulary = field(init=False, repr=False)
    popularity: Int64Array = field(init=False, repr=False)
    memory: SessionMemory | None = field(init=False, repr=False, default=None)
    imprint: Imprint | None = field(init=False, repr=False, default=None)
    watch: Callable[[Mapping[str, float]], None] | None = field(init=False, repr=False, default=None)

    def __post_init__(self) -> None:
        check(self)

    def fit(self, sessions: Sessions) -> Self:
        """Learn from sessions; their vocabulary becomes the catalogue.

        Raises:
            DataError: there is nothing to learn from, or the vocabulary is not in order of popularity.
            ContractError: a part of the user's own breaks a law of its kind.
        """
        require_sessions("training sessions", sessions)
        if sessions.n_sessions == 0 or sessions.n_items == 0:
            raise DataError("expected training sessions, found none; lower the filters or give a longer log")
        imprint = None if polars_is_lost() else sessions.imprint
        popularity = sessions.item_counts()
        if popularity[0] or np.any(np.diff(popularity[1:]) > 0):
            sessions = sessions.keep_events(sessions.items > 0).reindexed()
            popularity = sessions.item_counts()
        own = not all(is_built_in(part) for part in self.parts())
        if own:
            from nearnext.recommenders.laws import check_parts

            check_parts(self)
        self.vocabulary = sessions.vocabulary
        self.popularity = popularity
        self.memory = None
        self.imprint = imprint
        self._learn(sessions)
        if own:
            from nearnext.recommenders.laws import check_lists

            check_lists(self, sessions)
        return self

    def remember(self, sessions: Sessions, limit: int = REMEMBERED) -> Self:
        """Keep the last ``limit`` training sessions, to explain recommendations by them.

        Raises:
            ConfigError: a limit below 1, or not fitted yet.
        """
        self._check(1)
        require_sessions("sessions", sessions)
        self.memory = SessionMemory.of(sessions.with_vocabulary(self.vocabulary), limit)
        return self

    def space(self) -> "EmbeddingSpace | None":
        """The metric space of sessions and items, for methods that have learned one."""
        return None

    def search_by(self, index: "Index") -> None:  # noqa: ARG002
        """Search the items by another index of the same embeddings from now on, for methods that have a `space`.

        Raises:
            ConfigError: the method has no space.
        """
        raise ConfigError(f"{self.name} has no embeddings to search by; fit a metric model, e.g. sml-gru-ncas")

    def require_learned(self) -> None:  # noqa: B027 - most methods always find something
        """A check that the fit found something to learn; as it stands, for methods that always do, nothing.

        Raises:
            DataError: it did not, so that all lists are by popularity.
        """

    def with_checkpoints(self, directory: Path) -> Self:  # noqa: ARG002
        """The same method, whose fit keeps checkpoints in ``directory`` and goes on from one that is there.

        As it stands, for methods that are fitted in one go, the method itself.
        """
        return self

    @property
    def training_seconds(self) -> float:
        """Seconds of training, those before an interruption included; 0 for methods that keep no checkpoints."""
        return 0.0

    @property
    def fitted(self) -> bool:
        """Whether ``fit`` or ``restore`` has been called."""
        return hasattr(self, "vocabulary")

    def params(self) -> dict[str, Any]:
        """Hyper-parameters by name."""
        return {entry.name: getattr(self, entry.name) for entry in fields(self) if entry.init}

    def parts(self) -> list[object]:
        """What the method is made of that has a name of its own: itself, its encoder, loss and sampler."""
        return [self]

    def state(self) -> State:
        """Learned arrays by name, for an artifact."""
        return {"popularity": self.popularity, **self._state()}

    def restore(self, vocabulary: Vocabulary, state: State) -> Self:
        """The recommender as it was when ``state`` was taken."""
        self.vocabulary = vocabulary
        self.popularity = state["popularity"]
        self._restore({name: array for name, array in state.items() if name != "popularity"})
        return self

    def rank(
        self,
        prefixes: Prefixes,
        k: int,
        *,
        admissible: BoolArray | None = None,
        exclude_seen: bool = False,
        threads: int | None = None,
        advance: Callable[[int], None] = _silent,
    ) -> Ranking:
        """The batch path: a list of k item indices for each of B prefixes in this recommender's vocabulary.

        The list of a prefix depends on nothing but that prefix.

        Args:
            prefixes: what is given, in this vocabulary: [B].
            k: length of the lists.
            admissible: which item indices may be recommended, by default all known ones: [I + 1].
            exclude_seen: leave out what a prefix contains.
            threads: worker threads, by default one per core; they change nothing but the time.
            advance: called with the number of cases just ranked, from any thread.

        Raises:
            ConfigError: k below 1, or not fitted yet.
            DataError: clicks or a mask of another vocabulary.
        """
        k = self._check(k)
        require_type("prefixes", prefixes, Prefixes, "make them with Prefixes.every(sessions)")
        threads = checked("threads", threads, Count | None)
        highest = int(prefixes.items.max(initial=0))
        size = highest + 1 if admissible is None else max(highest + 1, len(admissible))
        if size > len(self.vocabulary) + 1:
            raise DataError(
                f"expected item indices in 0..{len(self.vocabulary)}, found {size - 1}; bring the sessions into "
                "this recommender's vocabulary first: sessions.with_vocabulary(recommender.vocabulary)"
            )
        request = Request(k, self._mask() if admissible is None else admissible, exclude_seen)
        items = np.zeros((len(prefixes), k), dtype=np.int32)
        scores = np.zeros((len(prefixes), k), dtype=np.float32)
        own = np.zeros(len(prefixes), dtype=np.int32)

        def work(begins: Sequence[int]) -> None:
            rank_chunk = self.ranker()
            for begin in begins:
                rows = slice(begin, begin + CHUNK)
                part = prefixes.slice(begin, begin + CHUNK)
                own[rows] = rank_chunk(part, request, items[rows], scores[rows])
                advance(len(part))

        workers = max(1, min(threads or os.cpu_count() or 1, -(-len(prefixes) // CHUNK)))
        begins = range(0, len(prefixes), CHUNK)
        if workers == 1:
            work(begins)
        else:
            with ThreadPoolExecutor(workers) as pool:
                for done in [pool.submit(work, begins[worker::workers]) for worker in range(workers)]:
                    done.result()
        return Ranking(items, scores, own)

    def ranker(self, *, fill: bool = True) -> RankChunk:
        """What ranks chunks of prefixes for one thread, as `rank` does; its scratch memory lasts from call to call.

        It takes prefixes, a request, and arrays of zeros [B, k] that receive item indices and scores, and returns each
        list's own length: [B]. Whoever ranks one prefix after another saves the memory that each `rank` sets up.

        Args:
            fill: complete short lists from popularity; otherwise they end with zeros.

        Raises:
            ConfigError: not fitted yet.
        """
        self._check(1)
        rank_own = self._ranker()
        if not fill:
            return rank_own

        def rank_chunk(prefixes: Prefixes, request: Request, items: IndexArray, scores: ScoreArray) -> IndexArray:
            own = rank_own(prefixes, request, items, scores)
            clicks, starts, ends = prefixes.items, prefixes.starts, prefixes.ends
            fill_from_popularity(items, own, request.admissible, clicks, starts, ends, request.exclude_seen)
            return own

        return rank_chunk

    def recommend(
        self,
        sessions: Iterable[Iterable[RawId]],
        k: int = 20,
        *,
        exclude: Iterable[RawId] = (),
        allow: Iterable[RawId] | None = None,
        exclude_seen: bool = False,
        time: Moment | None = None,
    ) -> list[Recommendation]:
        """Next items for sessions of raw ids, oldest click first.

        Ids and sessions may come in lists, tuples, generators, numpy arrays, or columns of pandas and polars.

        Args:
            sessions: raw ids of each session, integers or texts; ids that training never saw are ignored and reported.
            k: how many items, at least 1.
            exclude: raw ids never to recommend, e.g. out of stock; those that training never saw are reported.
            allow: when given, only these raw ids may be recommended; reported likewise.
            exclude_seen: never recommend what the session already contains.
            time: when the recommendation is asked for, seconds since 1970 UTC, a datetime or its ISO text; by default
                the end of training.

        Raises:
            ConfigError: k is no whole number of at least 1, a time that is none, or not fitted yet.
            DataError: one flat list or a text instead of sessions, or a value that is no id.

        >>> from nearnext.recommenders.rules import Markov
        >>> markov = Markov().fit(Sessions.of([["a", "b"], ["a", "c"], ["a", "c"]]))
        >>> markov.recommend([("a",)], k=1, exclude=["c", "z"])
        [Recommendation(items=['b'], scores=[1.0], own=1, unknown=[], shortage=None, unmatched=['z'])]
        """
        k = self._check(k)
        exclude_seen = checked("exclude_seen", exclude_seen, bool)
        given = raw_sessions(sessions)
        mask, unmatched = self._mask(), list[RawId]()
        if allow is not None:
            mask = np.zeros_like(mask)
            mask[self._named("allow", allow, unmatched)] = True
        mask[self._named("exclude", exclude, unmatched)] = False
        mask[0] = False
        encoded = [self.vocabulary.encode(session) for session in given]
        now = self.asked_at(time)
        ranking = self.rank(Prefixes.of(encoded, now), k, admissible=mask, exclude_seen=exclude_seen, threads=1)
        return [
            self._present(ranking, row, k, _unknown(session, known), unmatched)
            for row, (session, known) in enumerate(zip(given, encoded, strict=True))
        ]

    def _named(self, option: str, ids: object, unmatched: list[RawId]) -> IndexArray:
        """Item indices of the ids of an option; those that training never saw are added to ``unmatched``."""
        named = raw_ids(option, ids)
        indices = self.vocabulary.encode(named)
        unmatched += _unknown(named, indices)
        return indices

    def _present(
        self, ranking: Ranking, row: int, k: int, unknown: list[RawId], unmatched: list[RawId]
    ) -> Recommendation:
        items = ranking.items[row]
        items = items[items > 0]
        shortage = None if len(items) == k else f"{len(items)} of {k}: no further item may be recommended"
        scores = [float(score) for score in ranking.scores[row, : len(items)]]
        listed = self.vocabulary.decode(items)
        return Recommendation(listed, scores, int(ranking.own[row]), unknown, shortage, list(unmatched))

    def _check(self, k: int) -> int:
        k = checked("k", k, Count)
        if not self.fitted:
            raise ConfigError(f"{self.name} is not fitted; call fit(sessions) first")
        return k

    def _mask(self) -> BoolArray:
        mask = np.ones(len(self.vocabulary) + 1, dtype=np.bool_)
        mask[0] = False
        return mask

    def asked_at(self, time: Moment | None) -> int:
        """Microseconds since 1970 UTC of a time; of None, the end of training."""
        return self._end_of_training() if time is None else microseconds_of("time", time)

    def _end_of_training(self) -> int:
        return 0

    def _learn(self, sessions: Sessions) -> None:  # noqa: B027 - a hook that many methods have no use for
        """Learn what the method needs beyond vocabulary and popularity; by default nothing."""

    def _state(self) -> State:
        """What ``_learn`` learned."""
        return {}

    def _restore(self, state: State) -> None:  # noqa: B027
        """Take back what ``_state`` gave."""

    @abstractmethod
    def _ranker(self) -> RankChunk:
        """A function with scratch memory of its own, used by one thread; it returns each list's own length: [B]."""


def _unknown(raw: Sequence[RawId], indices: IndexArray) -> list[RawId]:
    """Those of raw ids whose index is 0."""
    return [one for one, index in zip(raw, indices.tolist(), strict=True) if not index]
