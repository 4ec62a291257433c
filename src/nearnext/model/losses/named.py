"""Losses by name, those of pytorch-metric-learning included."""

import re
from typing import Any

from nearnext.errors import ConfigError
from nearnext.model.losses.loss_input import Loss
from nearnext.model.losses.metric_learning import MetricLearning
from nearnext.options import make
from nearnext.registry import LOSSES

__all__ = ["loss_named"]

PML = re.compile(r"pml:(?P<loss>[\w-]+)(\+(?P<miner>[\w-]+))?(@(?P<distance>[\w-]+))?")


def loss_named(name: str, **options: Any) -> Loss | MetricLearning:
    """The loss of that name with these options, a frozen config.

    Args:
        name: one of `LOSSES`, or ``pml:<loss>[+<miner>][@<distance>]`` for one of pytorch-metric-learning.
        options: those not given keep their defaults.

    Raises:
        ConfigError: an unknown name or option, or an option out of range.

    >>> loss_named("triplet", margin=0.5)
    Triplet(margin=0.5, swap=False, rank_weights=True, pairing='matched', chord=False)
    >>> loss_named("pml:multi-similarity+batch-hard").miner
    'batch-hard'
    >>> loss_named("hinge")
    Traceback (most recent call last):
    nearnext.errors.ConfigError: unknown loss 'hinge'; known: ncas, triplet, contrastive, bpr, top1, warp, pml:...
    """
    if match := PML.fullmatch(name):
        return make(MetricLearning, {**match.groupdict(), **options}, name)
    if name not in LOSSES:
        raise ConfigError(f"unknown loss '{name}'; known: {', '.join(LOSSES)}, pml:<loss>[+<miner>][@<distance>]")
    return LOSSES.make(name, **options)
