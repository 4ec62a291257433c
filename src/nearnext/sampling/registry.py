"""Samplers and negatives by name, for config files and the command line."""

from collections.abc import Mapping
from dataclasses import fields
from types import MappingProxyType
from typing import Any, cast

from nearnext.errors import ConfigError
from nearnext.options import require_known
from nearnext.sampling.every_prefix import EveryPrefix
from nearnext.sampling.negatives import (
    InBatch,
    InversePopularity,
    Negatives,
    Popularity,
    ReversedPopularity,
    Uniform,
)
from nearnext.sampling.positive_negative import PositiveNegative
from nearnext.sampling.sampler import Sampler
from nearnext.sampling.sliding_window import SlidingWindow

__all__ = ["NEGATIVES", "SAMPLERS", "negatives_named", "sampler_named"]

SAMPLERS: Mapping[str, type[Sampler]] = MappingProxyType(
    {"positive-negative": PositiveNegative, "sliding-window": SlidingWindow, "every-prefix": EveryPrefix}
)
"""Config class of each sampler by name."""

NEGATIVES: Mapping[str, type[Negatives]] = MappingProxyType(
    {
        "uniform": Uniform,
        "popularity": Popularity,
        "inverse-popularity": InversePopularity,
        "reversed-popularity": ReversedPopularity,
        "in-batch": InBatch,
    }
)
"""Config class of each kind of negatives by name."""


def sampler_named(name: str, **options: Any) -> Sampler:
    """The config of the sampler of this name; options not given keep their defaults.

    Args:
        name: one of `SAMPLERS`.
        options: of the sampler; ``negatives`` may be a name, or a mapping with a ``name`` and options.

    Raises:
        ConfigError: the name or an option is unknown (the known ones are listed), or an option is out of range.

    >>> sampler_named("sliding-window", window=3, negatives={"name": "popularity", "alpha": 0.5}).negatives
    Popularity(exclude='positives', n_negatives=8, share='none', alpha=0.5)
    >>> sampler_named("random-walk")
    Traceback (most recent call last):
    nearnext.errors.ConfigError: unknown sampler 'random-walk'; known: positive-negative, sliding-window, every-prefix
    """
    require_known("sampler", name, SAMPLERS)
    negatives = options.get("negatives")
    if isinstance(negatives, str):
        options["negatives"] = negatives_named(negatives)
    elif isinstance(negatives, Mapping):
        named = dict(cast("Mapping[str, Any]", negatives))
        options["negatives"] = negatives_named(named.pop("name", "(no name)"), **named)
    return SAMPLERS[name](**_known_options(name, SAMPLERS[name], options))


def negatives_named(name: str, **options: Any) -> Negatives:
    """The config of the negatives of this name; options not given keep their defaults.

    Raises:
        ConfigError: the name or an option is unknown (the known ones are listed), or an option is out of range.

    >>> negatives_named("in-batch", extra=128).extra
    128
    """
    require_known("negatives", name, NEGATIVES)
    return NEGATIVES[name](**_known_options(name, NEGATIVES[name], options))


def _known_options(name: str, config: type[Any], options: dict[str, Any]) -> dict[str, Any]:
    known = [option.name for option in fields(config)]
    if unknown := sorted(options.keys() - known):
        raise ConfigError(f"{name} has no option '{unknown[0]}'; known: {', '.join(known)}")
    return options
