"""What tuning maximises: one metric at one list length, or the geometric mean of several."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

from nearnext.errors import ConfigError

__all__ = ["DEFAULT_METRIC", "TunedMetric"]

BETTER_WHEN_HIGHER = ("HitRate", "MRR", "Precision", "Recall", "MAP", "AP", "Coverage")
"""Metrics that can be maximised; Popularity and Gini have no better side."""

DEFAULT_METRIC = "HitRate+MRR@20"
"""A gain of 1% in one of the two weighs as much as a gain of 1% in the other."""


@dataclass(frozen=True)
class TunedMetric:
    """The geometric mean of metrics at one list length: one that doubles weighs as much as another that doubles.

    Attributes:
        names: of the metrics, without ``@k``.
        k: list length.

    >>> metric = TunedMetric.parse("hitrate+mrr@20")
    >>> str(metric), round(metric.of({"HitRate@20": 0.9, "MRR@20": 0.4}), 12)
    ('HitRate+MRR@20', 0.6)
    """

    names: tuple[str, ...]
    k: int

    @classmethod
    def parse(cls, text: str) -> "TunedMetric":
        """A metric from ``NAME@K`` or ``NAME+NAME@K``.

        Raises:
            ConfigError: an unknown or repeated name, or no list length of at least 1.
        """
        written, at, length = text.partition("@")
        if not at or not length.strip().isdecimal() or int(length) < 1:
            raise ConfigError(
                f"metric '{text}': expected a name and a list length of at least 1, e.g. {DEFAULT_METRIC}"
            )
        known = {name.lower(): name for name in BETTER_WHEN_HIGHER}
        asked = [name.strip().lower() for name in written.split("+")]
        if unknown := [name for name in asked if name not in known]:
            raise ConfigError(f"metric '{text}': '{unknown[0]}' cannot be tuned; known: {', '.join(known.values())}")
        if len(set(asked)) < len(asked):
            raise ConfigError(f"metric '{text}': expected each name once")
        return cls(tuple(known[name] for name in asked), int(length))

    def of(self, values: Mapping[str, float]) -> float:
        """The metric's value from those of an evaluation by name.

        Raises:
            KeyError: the evaluation lacks one.
        """
        return _geometric_mean([values[f"{name}@{self.k}"] for name in self.names])

    def of_epoch(self, figures: Mapping[str, float]) -> float | None:
        """What an epoch is compared with other trials' by: this metric, or else all that the epoch has measured."""
        own = [f"{name}@{self.k}" for name in self.names]
        measured = own if all(name in figures for name in own) else [name for name in figures if "@" in name]
        return _geometric_mean([figures[name] for name in measured]) if measured else None

    def __str__(self) -> str:
        return f"{'+'.join(self.names)}@{self.k}"


def _geometric_mean(values: list[float]) -> float:
    # Of a single value that value, bit for bit.
    return values[0] if len(values) == 1 else math.prod(values) ** (1 / len(values))
