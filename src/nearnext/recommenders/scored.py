"""Base class of your own recommenders that score every item."""

from abc import abstractmethod
from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

from nearnext.data.prefixes import Prefixes
from nearnext.data.sessions import Sessions
from nearnext.errors import ConfigError, DataError
from nearnext.recommenders.base import Recommender
from nearnext.recommenders.method import State
from nearnext.recommenders.ranking import RankChunk, ranked_by_scores
from nearnext.types import ScoreArray


@dataclass(eq=False)
class ScoredRecommender(Recommender):
    """Your own recommender: ``learn`` sets attributes, ``score`` gives a score per item, higher is better.

    Arrays and numbers that ``learn`` sets as attributes are saved with the model; fields of the dataclass are options.
    Decorated with `nearnext.register`, its name works wherever a built-in one does.

    >>> import nearnext
    >>> from dataclasses import dataclass
    >>> @dataclass(eq=False)
    ... class After(nearnext.ScoredRecommender):
    ...     name = "after"
    ...
    ...     def learn(self, sessions):
    ...         self.followed = np.zeros((sessions.n_items + 1, sessions.n_items + 1))
    ...         for begin, end in zip(sessions.offsets, sessions.offsets[1:]):
    ...             np.add.at(self.followed, (sessions.items[begin : end - 1], sessions.items[begin + 1 : end]), 1)
    ...
    ...     def score(self, prefixes):
    ...         return self.followed[prefixes.items[prefixes.ends - 1]]
    >>> log = Sessions.of([["a", "b"], ["b", "c"], ["a", "b", "c"]] * 10)
    >>> After().fit(log).recommend([["a"]], k=1)[0].items
    ['b']
    """

    @abstractmethod
    def score(self, prefixes: Prefixes) -> NDArray[np.generic]:
        """Scores of all item indices for B prefixes: [B, I + 1]; column 0 is ignored.

        An item with −∞ is not in the method's own list. The row of a prefix must not depend on other prefixes.
        Every prefix has a click: a session without one is given as one unknown click, item index 0.
        """

    def learn(self, sessions: Sessions) -> None:
        """Learn from sessions with item indices 1..I in order of falling clicks; by default nothing."""

    def _learn(self, sessions: Sessions) -> None:
        self.learn(sessions)

    def _state(self) -> State:
        state: State = {}
        for name in self.__getstate__().keys() - {entry.name for entry in fields(self)}:
            value = np.asarray(getattr(self, name))
            if value.dtype.kind not in "biuf":
                raise ConfigError(
                    f"{self.name} cannot be saved: expected arrays or numbers as learned attributes, found "
                    f"{type(getattr(self, name)).__name__} in {name}; keep it as arrays"
                )
            state[f"learned.{name}"] = value
        return state

    def _restore(self, state: State) -> None:
        for name, value in state.items():
            setattr(self, name.removeprefix("learned."), value if value.ndim else value.item())

    def _scores(self, prefixes: Prefixes) -> ScoreArray:
        given = np.asarray(self.score(_with_clicks(prefixes)))
        expected = (len(prefixes), len(self.vocabulary) + 1)
        if given.shape != expected:
            raise DataError(
                f"expected scores {list(expected)} from {self.name}, found {list(given.shape)}; "
                "give a number for each item index, 0 included, of each prefix"
            )
        return np.nan_to_num(given[:, 1:].astype(np.float32), nan=-np.inf, posinf=np.inf, neginf=-np.inf)

    def _ranker(self) -> RankChunk:
        return ranked_by_scores(self._scores, len(self.vocabulary))


def _with_clicks(prefixes: Prefixes) -> Prefixes:
    """The prefixes, each empty one as one unknown click: ``ends - 1`` of an empty one is a click of another session."""
    empty = prefixes.lengths == 0
    if not empty.any():
        return prefixes
    unknown = len(prefixes.items)
    starts, ends = np.where(empty, unknown, prefixes.starts), np.where(empty, unknown + 1, prefixes.ends)
    return Prefixes(np.append(prefixes.items, np.int32(0)), starts, ends, prefixes.times)
