"""Names of metric models, ``sml-<encoder>-<loss>``; nothing here needs torch."""

import re

from nearnext.errors import ConfigError
from nearnext.registry import ENCODERS, LOSSES

__all__ = ["is_metric_name", "metric_names", "parts_of_name"]

PATTERN = re.compile(r"sml-(?P<encoder>[a-z0-9_]+)-(?P<loss>[a-z0-9_]+|pml:.+)")


def metric_names() -> str:
    """All names of metric models in one line."""
    return (
        f"sml-<encoder>-<loss> with encoder {'|'.join(ENCODERS)} and loss "
        f"{'|'.join(LOSSES)}|pml:<loss>[+<miner>][@<distance>]"
    )


def is_metric_name(name: str) -> bool:
    """Whether a method's name is meant as that of a metric model."""
    return name.startswith("sml-")


def parts_of_name(name: str) -> tuple[str, str]:
    """Encoder and loss of a metric model's name.

    Raises:
        ConfigError: there is no such encoder or loss.

    >>> parts_of_name("sml-gru-pml:multi-similarity+batch-hard")
    ('gru', 'pml:multi-similarity+batch-hard')
    >>> parts_of_name("sml-transformer-ncas")
    Traceback (most recent call last):
    nearnext.errors.ConfigError: unknown method 'sml-transformer-ncas'; known: sml-<encoder>-<loss> with encoder ...
    """
    match = PATTERN.fullmatch(name)
    if (
        not match
        or match["encoder"] not in ENCODERS
        or not (match["loss"].startswith("pml:") or match["loss"] in LOSSES)
    ):
        raise ConfigError(f"unknown method '{name}'; known: {metric_names()}")
    return match["encoder"], match["loss"]
