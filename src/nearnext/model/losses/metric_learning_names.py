"""Names of the losses, miners and distances of pytorch-metric-learning, an optional library."""

import inspect
import re
from collections.abc import Mapping
from typing import Any, Literal

from torch import nn

from nearnext.errors import ConfigError
from nearnext.extras import needed
from nearnext.options import require_known

Kind = Literal["loss", "miner", "distance"]

FAMILIES = {
    "loss": ("losses", "BaseMetricLossFunction"),
    "miner": ("miners", "BaseMiner"),
    "distance": ("distances", "BaseDistance"),
}

UNSUITABLE = frozenset(
    {
        "GenericPairLoss",  # a base class
        "VICRegLoss",  # without labels
        "ManifoldLoss",  # without labels
        "SmoothAPLoss",  # classes of equal size only, and a negative is a class of its own
        "DynamicSoftMarginLoss",  # 2.9 keeps a batch's graph into the next one
        "HistogramLoss",  # 2.9 indexes in a way that torch reads differently from 2.9 on
        "EmbeddingsAlreadyPackagedAsTriplets",  # another order of rows
    }
)


def metric_learning_names(kind: Kind = "loss") -> list[str]:
    """The short names of the library's losses, miners or distances that ``MetricLearning`` builds, sorted.

    >>> metric_learning_names("distance")
    ['cosine-similarity', 'dot-product-similarity', 'lp', 'snr']
    """
    return sorted(_classes(kind))


def _classes(kind: str) -> dict[str, type[nn.Module]]:
    require_known("kind", kind, FAMILIES)
    package_name, base_name = FAMILIES[kind]
    package = needed(f"pytorch_metric_learning.{package_name}", "metric-learning", "this loss")
    base: type[nn.Module] = getattr(package, base_name)
    return {
        _short(name): found
        for name, found in inspect.getmembers(package, inspect.isclass)
        if issubclass(found, base) and found is not base and name not in UNSUITABLE
    }


def _short(name: str) -> str:
    """``MultiSimilarityLoss`` as ``multi-similarity``."""
    words = re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "-", name).lower()
    return re.sub(r"-(loss|miner|distance)$", "", words)


def find_class(kind: Kind, name: str) -> type[nn.Module]:
    """The library's class of that name, long or short."""
    known = _classes(kind)
    plain = {short.replace("-", ""): found for short, found in known.items()}
    found = plain.get(re.sub(r"(loss|miner|distance)$", "", re.sub("[-_]", "", name.lower())))
    if found is None:
        raise ConfigError(f"unknown metric-learning {kind} '{name}'; known: {', '.join(sorted(known))}")
    return found


def requires(loss: type[nn.Module], argument: str) -> bool:
    """Whether a constructor of the class, or of one that it passes its arguments to, demands the argument."""
    constructors = (vars(parent).get("__init__") for parent in loss.__mro__ if parent is not object)
    parameters = (inspect.signature(init).parameters.get(argument) for init in constructors if init is not None)
    return any(parameter is not None and parameter.default is inspect.Parameter.empty for parameter in parameters)


def construct(part: type[nn.Module], options: Mapping[str, Any], distance: str | None) -> nn.Module:
    """A loss or a miner with these options and the distance of that name."""
    arguments = dict(options)
    if distance is not None:
        arguments["distance"] = find_class("distance", distance)()
    try:
        return part(**arguments)
    except (AssertionError, TypeError, ValueError) as error:
        raise ConfigError(f"{part.__name__} cannot be built with {sorted(arguments)}: {error}") from error
