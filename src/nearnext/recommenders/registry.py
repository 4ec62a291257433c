"""Recommenders by name, built from options that are checked against their types."""

from collections.abc import Mapping
from dataclasses import fields
from importlib import import_module
from typing import TYPE_CHECKING, Any, get_origin, get_type_hints

from nearnext.errors import ConfigError
from nearnext.recommenders.sml.names import METRIC_NAMES, is_metric_name, parts_of_name

if TYPE_CHECKING:
    from nearnext.recommenders.base import Recommender

__all__ = ["BASELINES", "DEFAULTS", "RECOMMENDERS", "canonical_name", "make_recommender", "option_names"]

BASELINES: tuple[str, ...] = ("pop", "spop", "markov-1", "ar", "sr", "sknn", "vsknn", "vstan")
"""Names of the classical methods, the simplest first."""

RECOMMENDERS: dict[str, "type[Recommender] | str"] = {
    "pop": "popularity:Pop",
    "spop": "popularity:SessionPop",
    "markov-1": "rules:Markov",
    "ar": "rules:AssociationRules",
    "sr": "rules:SequentialRules",
    "sknn": "neighbours:SKNN",
    "vsknn": "neighbours:VSKNN",
    "vstan": "neighbours:VSTAN",
    "gru4rec": "gru4rec:GRU4Rec",
}
"""Every recommender by the name it has on the command line and in results; imported when it is first used."""

_DEFAULTS = {"metric": "metric.recommender:Metric", "metric-fast": "metric.fast:MetricFast"}

DEFAULTS: tuple[str, ...] = tuple(_DEFAULTS)
"""The default method of a fit, and what it is in a fraction of the time."""

_ALIASES = {"markov": "markov-1", "popularity": "pop", "session-pop": "spop"}


def canonical_name(name: str) -> str:
    """The registered name of a method, whatever its case.

    Raises:
        ConfigError: no such method.

    >>> canonical_name("MARKOV")
    'markov-1'
    """
    key = name.strip().lower()
    key = _ALIASES.get(key, key)
    if is_metric_name(key):
        parts_of_name(key)
    elif key not in RECOMMENDERS and key not in DEFAULTS:
        known = ", ".join((*DEFAULTS, *RECOMMENDERS))
        raise ConfigError(f"unknown method '{name}'; known: {known}, {METRIC_NAMES}")
    return key


def option_names(name: str) -> list[str]:
    """Names of a method's options.

    >>> option_names("sr")
    ['pruning', 'steps', 'weighting']
    """
    key = canonical_name(name)
    if is_metric_name(key):
        from nearnext.recommenders.sml.options import metric_option_names

        return metric_option_names(key)
    return [entry.name for entry in fields(_method(key)) if entry.init]


def make_recommender(name: str, options: Mapping[str, Any] | None = None) -> "Recommender":
    """An unfitted recommender; option values may be text, read by the option's type: several as 32,16, none as "".

    Raises:
        ConfigError: unknown method or option, or a value that the option cannot take.

    >>> make_recommender("vsknn", {"k": "500"}).params()["k"]
    500
    >>> make_recommender("metric", {"voters": ""}).params()["voters"]
    []
    """
    from pydantic import TypeAdapter, ValidationError

    key = canonical_name(name)
    if is_metric_name(key):
        from nearnext.recommenders.sml.options import parts_from_options
        from nearnext.recommenders.sml.recommender import SML

        return SML(**parts_from_options(key, options or {}))
    method = _method(key)
    types = get_type_hints(method)
    known = option_names(name)
    checked: dict[str, Any] = {}
    for option, value in (options or {}).items():
        if option not in known:
            raise ConfigError(f"{method.name} has no option '{option}'; known: {', '.join(known) or 'none'}")
        several = isinstance(value, str) and get_origin(types[option]) is tuple
        try:
            checked[option] = TypeAdapter(types[option]).validate_python(_parts(value) if several else value)
        except ValidationError as error:
            reason = error.errors()[0]["msg"]
            raise ConfigError(f"{method.name}: {option} cannot be {value!r}: {reason}") from error
    return method(**checked)


def _parts(text: str) -> list[str]:
    """Values separated by commas; an empty text has none."""
    return [part.strip() for part in text.split(",")] if text.strip() else []


def _method(key: str) -> "type[Recommender]":
    method = RECOMMENDERS.get(key) or _DEFAULTS[key]
    if isinstance(method, str):
        module, _, name = method.partition(":")
        method = getattr(import_module(f"nearnext.recommenders.{module}"), name)
    return method
