"""Weights of events: how much a click counts as something to predict, in popularity, rules, votes and training."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, cast

import numpy as np
import polars as pl

from nearnext.data.blocks import BLOCK
from nearnext.errors import ConfigError, DataError
from nearnext.options import at_least, at_most, checked
from nearnext.types import BoolArray, FloatArray, Int64Array, ScoreArray

if TYPE_CHECKING:
    from nearnext.data.sessions import Sessions


HEAVIEST = 10**9
"""Largest weight: sums of larger ones lose the clicks of weight 1, and end in infinity."""


def event_key(word: str) -> str:
    """An event type without what does not tell types apart: case, and blanks around it.

    >>> event_key(" Purchase")
    'purchase'
    """
    return word.strip().casefold()


def checked_weights(weights: object) -> dict[str, float] | None:
    """The weight of each event type; other types weigh 1.

    Raises:
        ConfigError: no mapping of event types to numbers in 0..`HEAVIEST`, or none above 0.

    >>> checked_weights({"view": 1, "purchase": 5})
    {'view': 1.0, 'purchase': 5.0}
    """
    if weights is None:
        return None
    if not isinstance(weights, Mapping) or not weights:
        raise ConfigError(f"expected the weight of each event type, e.g. {{'purchase': 5}}, found {weights!r}")
    given = cast("Mapping[object, object]", weights)
    weight = Annotated[float, at_least(0), at_most(HEAVIEST)]
    found = {str(name): float(checked(f"weight of {name}", value, weight)) for name, value in given.items()}
    if len({event_key(name) for name in found}) < len(found):
        raise ConfigError(
            f"expected one weight of each event type, found {', '.join(found)}, which only case tells apart"
        )
    if not any(found.values()):
        raise ConfigError(f"expected a weight above 0, found only 0 for {', '.join(found)}; give one, e.g. 1")
    return found


def weights_in(column: pl.Series) -> tuple[pl.Series, BoolArray]:
    """Weights from a column of numbers or texts, and which are no numbers in 0..`HEAVIEST`: [n], [n]."""
    numbers = column.str.strip_chars() if column.dtype == pl.String else column
    if numbers.dtype.is_nested() or numbers.dtype.is_temporal() or numbers.dtype == pl.Boolean:
        raise ConfigError(f"expected numbers as weights, found values of type {column.dtype}")
    weights = numbers.cast(pl.Float64, strict=False)
    usable = weights.is_between(0, HEAVIEST).fill_null(False).to_numpy()
    return weights, ~usable


def item_weights(sessions: "Sessions", counts: Int64Array | None = None) -> Int64Array | FloatArray:
    """Sum of the weights of each item's clicks, without weights their number; 0 are unknown items: [I + 1].

    ``counts`` are the numbers, where they are counted already.
    """
    if sessions.weights is None:
        return sessions.item_counts() if counts is None else counts
    total = np.zeros(sessions.n_items + 1)
    for begin in range(0, sessions.n_events, BLOCK):
        part = slice(begin, begin + BLOCK)
        total += np.bincount(sessions.items[part], sessions.weights[part], minlength=len(total))
    return total


def require_weights(weights: FloatArray | None) -> None:
    """A check that weights are finite numbers of at least 0: [E]."""
    if weights is not None and len(weights) and not (weights.min() >= 0 and weights.max() < np.inf):
        raise DataError(
            f"expected weights that are finite numbers of at least 0, found {weights.min()} to {weights.max()}"
        )


def joined_weights(first: "Sessions", second: "Sessions") -> FloatArray | None:
    """Weights of the clicks of both; None where neither has any: [E + E']."""
    if first.weights is second.weights is None:
        return None
    both = [np.ones(part.n_events) if part.weights is None else part.weights for part in (first, second)]
    return np.concatenate(both)


def training_weights(sessions: "Sessions") -> ScoreArray | None:
    """Weight of each click in a loss, 1 on average over the clicks that follow another one; None: all are 1: [E].

    >>> from dataclasses import replace
    >>> from nearnext.data.sessions import Sessions
    >>> log = Sessions.of([["a", "b", "c"]])
    >>> training_weights(replace(log, weights=np.array([9.0, 1.0, 3.0]))).tolist()
    [4.5, 0.5, 1.5]
    """
    if sessions.weights is None:
        return None
    follows = np.ones(sessions.n_events, np.bool_)
    follows[sessions.offsets[:-1]] = False
    mean = sessions.weights[follows].mean() if follows.any() else 0.0
    if mean == 0:
        raise DataError(
            "every click that follows another one has weight 0, so there is nothing to learn; raise weights"
        )
    return (sessions.weights / mean).astype(np.float32)
