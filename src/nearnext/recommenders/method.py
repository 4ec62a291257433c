"""What every recommender is made of: hyper-parameters by name, what it has learned, and what a subclass defines."""

from abc import ABC, abstractmethod
from dataclasses import dataclass, field, fields, replace
from typing import Any, ClassVar, Self

import numpy as np
import polars as pl
from numpy.typing import NDArray

from nearnext.data.imprint import Imprint
from nearnext.data.items import ItemTable
from nearnext.data.raw import Moment, microseconds_of
from nearnext.data.sessions import Sessions
from nearnext.data.vocabulary import Vocabulary
from nearnext.errors import ConfigError
from nearnext.options import Count, check, checked, require_option
from nearnext.recommenders.left_categories import LeftCategories
from nearnext.recommenders.ranking import RankChunk
from nearnext.recommenders.session_index import SessionMemory
from nearnext.shown import card, text
from nearnext.stored_arrays import LARGEST, require_array
from nearnext.types import Int64Array

State = dict[str, NDArray[Any]]
"""What a fitted recommender has learned, as named arrays: enough to restore it without its training data."""


@dataclass(eq=False)
class Method(ABC):
    """A dataclass whose fields are hyper-parameters, with scikit-learn's interface, and its learned state."""

    name: ClassVar[str]

    share: float = field(init=False, repr=False, default=1.0)  # of a log that it is fitted on, to estimate a whole fit:
    # what a fit bounds is then bounded in proportion

    vocabulary: Vocabulary = field(init=False, repr=False)
    popularity: Int64Array = field(init=False, repr=False)
    memory: SessionMemory | None = field(init=False, repr=False, default=None)  # training sessions, to explain lists
    imprint: Imprint | None = field(init=False, repr=False, default=None)  # recognises training sessions
    items: ItemTable | None = field(init=False, repr=False, default=None)  # titles and attributes of items
    left_categories: dict[str, LeftCategories] = field(  # by event type, where they were measured
        init=False, repr=False, default_factory=dict[str, LeftCategories]
    )

    def __post_init__(self) -> None:
        check(self)

    def params(self) -> dict[str, Any]:
        """Hyper-parameters by name."""
        return self.get_params()

    def get_params(self, deep: bool = True) -> dict[str, Any]:  # noqa: ARG002 - scikit-learn gives it
        """The arguments of the class by name, as scikit-learn's ``get_params``."""
        return {entry.name: getattr(self, entry.name) for entry in fields(self) if entry.init}

    def set_params(self, **params: Any) -> Self:
        """Set hyper-parameters, as scikit-learn's ``set_params``; those that change what is learned need another fit.

        Raises:
            ConfigError: an unknown name or an invalid value; nothing is set.
        """
        known = self.get_params()
        for name in params:
            require_option(self.name, name, known)
        other, before = self.unfitted(**params), self.params()  # which checks them
        for name in params:
            setattr(self, name, getattr(other, name))
        if self.params() != before:
            vars(self).pop("vocabulary", None)  # what was learned is of other options: it must not be saved with these
        return self

    def unfitted(self, **params: Any) -> Self:
        """A new, unfitted recommender with the same hyper-parameters, except those given."""
        return replace(self, **params)

    def _repr_html_(self) -> str:
        state = "fitted" if self.fitted else "not fitted"
        rows = {name: text(value) for name, value in self.params().items()}
        frame = pl.DataFrame({"option": list(rows), "value": list(rows.values())})
        return card(f"{self.name}, {state}", frame)

    def __sklearn_clone__(self) -> Self:
        return self.unfitted()

    @property
    def fitted(self) -> bool:
        """Whether ``fit`` or ``restore`` has been called."""
        return hasattr(self, "vocabulary")

    def parts(self) -> list[object]:
        """What the method is made of that has a name of its own: itself, its encoder, loss and sampler."""
        return [self]

    def state(self) -> State:
        """Learned arrays by name, for an artifact."""
        return {"popularity": self.popularity, **self._state()}

    def restore(self, vocabulary: Vocabulary, state: State) -> Self:
        """The recommender as it was when ``state`` was taken; `DataError` or `KeyError` where arrays do not fit."""
        self.vocabulary = vocabulary
        self.popularity = require_array("popularity", state["popularity"], np.int64, (len(vocabulary) + 1,), 0, LARGEST)
        self._restore({name: array for name, array in state.items() if name != "popularity"})
        return self

    def _check(self, k: int) -> int:
        k = checked("k", k, Count)
        if not self.fitted:
            raise ConfigError(f"{self.name} is not fitted; call fit(sessions) first")
        return k

    def asked_at(self, time: Moment | None) -> int:
        """Microseconds since 1970 UTC of a time; of None, the end of training."""
        return self._end_of_training() if time is None else microseconds_of("time", time)

    def _end_of_training(self) -> int:
        return 0

    def _learn(self, sessions: Sessions) -> None:  # noqa: B027 - few methods need it
        """Learn what the method needs beyond vocabulary and popularity; by default nothing."""

    def _take_in(self, items: ItemTable, sessions: Sessions) -> None:  # noqa: B027 - few methods need it
        """Learn from the item table, after `_learn`; by default nothing."""

    def _add_unclicked(self, ids: pl.Series) -> None:
        """Append items without clicks to the vocabulary, and to what a subclass keeps by item."""
        self.vocabulary = Vocabulary(pl.concat([self.vocabulary.ids, ids]))
        self.popularity = np.concatenate([self.popularity, np.zeros(len(ids), np.int64)])

    def _state(self) -> State:
        """What ``_learn`` learned."""
        return {}

    def _restore(self, state: State) -> None:  # noqa: B027 - few methods need it
        """Take back what ``_state`` gave."""

    @abstractmethod
    def _ranker(self) -> RankChunk:
        """A function with scratch memory of its own, used by one thread; it returns each list's own length: [B]."""
