"""What every recommender is made of: hyper-parameters by name, what it has learned, and what a subclass defines."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, is_dataclass, replace
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
from nearnext.registry import is_built_in_class
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

    def __init_subclass__(cls, **given: Any) -> None:
        """A class of the user's own is called as its class, until it is registered by another name."""
        super().__init_subclass__(**given)
        named = next((base for base in cls.__mro__ if "name" in vars(base)), None)
        if named is not cls and not any(map(is_built_in_class, filter(None, (cls, named)))):
            cls.name = cls.__name__.lower()

    def __post_init__(self) -> None:
        check(self)

    def params(self) -> dict[str, Any]:
        """Hyper-parameters by name."""
        return self.get_params(deep=False)

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """The arguments of the class by name, as scikit-learn's ``get_params``; ``deep``: ``part__option`` too."""
        return arguments(self, deep=deep)

    def set_params(self, **params: Any) -> Self:
        """Set hyper-parameters, as scikit-learn's ``set_params``; those that change what is learned need another fit.

        An option of a part is set as ``part__option``, such as ``encoder__dim`` of `SML`.

        Raises:
            ConfigError: an unknown name or an invalid value; nothing is set.
        """
        known = self.get_params()
        for name in params:
            require_option(self.name, name, known)
        settled, before = with_options(self, params), self.params()
        other = self.unfitted(**settled)  # which checks them
        for name in settled:
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


def arguments(part: Any, *, deep: bool) -> dict[str, Any]:
    """The arguments of a dataclass by name; ``deep``: also of the dataclasses among them, as ``part__option``."""
    given = {entry.name: getattr(part, entry.name) for entry in fields(part) if entry.init}
    inner = {name: value for name, value in given.items() if deep and is_dataclass(value)}
    nested = ((f"{name}__{option}", it) for name in inner for option, it in arguments(inner[name], deep=True).items())
    return given | dict(nested)


def with_options(part: Any, params: Mapping[str, Any]) -> dict[str, Any]:
    """Arguments for a dataclass with options of its parts, ``part__option``, set in copies of these parts.

    >>> from nearnext.recommenders.sml.recommender import SML
    >>> with_options(SML(), {"encoder__dim": 8})["encoder"].dim
    8
    """
    given = {name: value for name, value in params.items() if "__" not in name}
    nested: dict[str, dict[str, Any]] = {}
    for name, value in params.items():
        inner, dunder, option = name.partition("__")
        if dunder:
            nested.setdefault(inner, {})[option] = value
    for name, options in nested.items():
        inner = given.get(name, getattr(part, name))
        given[name] = replace(inner, **with_options(inner, options))
    return given
