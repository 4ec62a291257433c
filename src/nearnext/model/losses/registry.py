"""Losses by name, for config files and the command line."""

import re
from dataclasses import fields
from types import MappingProxyType
from typing import Any

from nearnext.errors import ConfigError
from nearnext.model.losses.bpr import BPR
from nearnext.model.losses.contrastive import Contrastive
from nearnext.model.losses.loss_input import Loss
from nearnext.model.losses.metric_learning import MetricLearning
from nearnext.model.losses.ncas import NCAS
from nearnext.model.losses.top1 import TOP1
from nearnext.model.losses.triplet import Triplet
from nearnext.model.losses.warp import WARP

__all__ = ["LOSSES", "loss_named"]

LOSSES = MappingProxyType(
    {"bpr": BPR, "contrastive": Contrastive, "ncas": NCAS, "top1": TOP1, "triplet": Triplet, "warp": WARP}
)
"""The losses on distances by name; ``pml:<loss>[+<miner>][@<distance>]`` names those of pytorch-metric-learning."""

PML = re.compile(r"pml:(?P<loss>[\w-]+)(\+(?P<miner>[\w-]+))?(@(?P<distance>[\w-]+))?")


def loss_named(name: str, **options: Any) -> Loss | MetricLearning:
    """The loss of that name with these options, a frozen config.

    Raises:
        ConfigError: an unknown name or option, or an option out of range.

    >>> loss_named("triplet", margin=0.5)
    Triplet(margin=0.5, swap=False, rank_weights=True, pairing='matched', chord=False)
    >>> loss_named("pml:multi-similarity+batch-hard").miner
    'batch-hard'
    >>> loss_named("hinge")
    Traceback (most recent call last):
    nearnext.errors.ConfigError: unknown loss 'hinge'; known: bpr, contrastive, ncas, top1, triplet, warp, pml:...
    """
    if match := PML.fullmatch(name):
        return MetricLearning(**_known_options(name, MetricLearning, {**match.groupdict(), **options}))
    if name not in LOSSES:
        raise ConfigError(f"unknown loss '{name}'; known: {', '.join(LOSSES)}, pml:<loss>[+<miner>][@<distance>]")
    return LOSSES[name](**_known_options(name, LOSSES[name], options))


def _known_options(name: str, config: type[Any], options: dict[str, Any]) -> dict[str, Any]:
    known = [option.name for option in fields(config)]
    unknown = sorted(set(options) - set(known))
    if unknown:
        raise ConfigError(f"unknown option '{unknown[0]}' of loss '{name}'; known: {', '.join(known) or 'none'}")
    return options
