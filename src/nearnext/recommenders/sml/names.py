"""Names of metric models, ``sml-<encoder>-<loss>``; nothing here needs torch."""

import re

from nearnext.errors import ConfigError

__all__ = ["ENCODER_NAMES", "LOSS_NAMES", "METRIC_NAMES", "is_metric_name", "parts_of_name"]

ENCODER_NAMES = (
    "maxpool",
    "avgpool",
    "weightedpool",
    "lastitem",
    "textcnn",
    "tagspace",
    "caser",
    "rnn",
    "gru",
    "lstm",
    "attention",
)
"""Names of the session encoders."""

LOSS_NAMES = ("ncas", "triplet", "contrastive", "bpr", "top1", "warp")
"""Names of the losses on distances."""

METRIC_NAMES = (
    f"sml-<encoder>-<loss> with encoder {'|'.join(ENCODER_NAMES)} and loss "
    f"{'|'.join(LOSS_NAMES)}|pml:<loss>[+<miner>][@<distance>]"
)
"""All names of metric models in one line."""

PATTERN = re.compile(r"sml-(?P<encoder>[a-z]+)-(?P<loss>[a-z0-9]+|pml:.+)")


def is_metric_name(name: str) -> bool:
    """Whether a method's name is meant as that of a metric model.

    >>> is_metric_name("sml-gru-ncas"), is_metric_name("vsknn")
    (True, False)
    """
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
    if not match or match["encoder"] not in ENCODER_NAMES:
        raise ConfigError(f"unknown method '{name}'; known: {METRIC_NAMES}")
    if match["loss"] not in LOSS_NAMES and not match["loss"].startswith("pml:"):
        raise ConfigError(f"unknown method '{name}'; known: {METRIC_NAMES}")
    return match["encoder"], match["loss"]
