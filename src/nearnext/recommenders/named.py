"""Methods by name, metric models included, built from options that are checked against their types.

Nothing here needs torch.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from nearnext.errors import ConfigError
from nearnext.extras import require_training, training_extra
from nearnext.options import Option, make, options_of, require_known, require_type
from nearnext.options.fields import current_names
from nearnext.options.values import shown
from nearnext.registry import RECOMMENDERS, is_metric_name, metric_names, parts_of_name

if TYPE_CHECKING:
    from nearnext.recommenders.base import Recommender

BASELINES: tuple[str, ...] = ("pop", "spop", "markov-1", "ar", "sr", "sknn", "vsknn", "vstan")
"""Names of the classical methods, the simplest first."""

DEFAULTS: tuple[str, ...] = ("metric", "metric-fast")
"""The default method of a fit, and what it is in a fraction of the time."""

_ALIASES = {"markov": "markov-1", "popularity": "pop", "session-pop": "spop"}


def canonical_name(name: str) -> str:
    """The registered name of a method, whatever its case.

    >>> canonical_name("MARKOV")
    'markov-1'
    """
    if not isinstance(name, str):  # pyright: ignore[reportUnnecessaryIsInstance] - callers may not check types
        raise ConfigError(
            f"expected the name of a method, or a recommender of a class derived from nearnext.ScoredRecommender or "
            f"nearnext.Recommender, found {shown(name)}; give for example 'vsknn'"
        )
    key = name.strip().lower()
    key = _ALIASES.get(key, key)
    if is_metric_name(key):
        parts_of_name(key)
    elif key not in RECOMMENDERS:
        require_known("method", name, (*RECOMMENDERS, metric_names()))
    return key


def method_name(row: Mapping[str, Any]) -> str:
    """What a method is called in a result that compares it: its label where it has one, else its name."""
    return str(row.get("label") or row["name"])


def method_options(name: str) -> Mapping[str, Option]:
    """A method's options by name."""
    key = canonical_name(name)
    if is_metric_name(key):
        with training_extra(f"the method {key}"):
            from nearnext.recommenders.sml.options import metric_options

        return metric_options(key)
    return options_of(RECOMMENDERS[key])


def make_recommender(name: str, options: Mapping[str, Any] | None = None) -> "Recommender":
    """An unfitted recommender.

    Args:
        name: of the method.
        options: values by name: each of its option's type, or a text that is read by it, several as 32,16, none as "".

    Raises:
        ConfigError: unknown method or option, or a value that the option cannot take.

    >>> make_recommender("vsknn", {"k": "500"}).params()["k"]
    500
    >>> make_recommender("metric", {"voters": ""}).params()["voters"]
    []
    """
    key, options = canonical_name(name), options or {}
    require_type("options", options, Mapping, "give for example {'k': 100}")
    if is_metric_name(key):
        with training_extra(f"the method {key}"):
            from nearnext.recommenders.sml.options import parts_from_options
            from nearnext.recommenders.sml.recommender import SML

        return SML(**parts_from_options(key, options))
    from nearnext.recommenders.trained import TrainedRecommender

    method = RECOMMENDERS[key]
    if issubclass(method, TrainedRecommender):
        require_training(f"the method {key}")
    return make(method, current_names(method, options), method.name, text=True)


def stored_recommender(name: str, params: Mapping[str, Any]) -> "Recommender":
    """The unfitted recommender of a saved model, whose options may have former names."""
    key = canonical_name(name)
    if is_metric_name(key):
        return make_recommender(key, params)
    method = RECOMMENDERS[key]
    return make(method, current_names(method, params, warn=False), method.name, text=True)
