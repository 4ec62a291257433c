"""Losses: pure functions on distances, each a frozen config; and those on embeddings, by name."""

import re
from typing import Any

from nearnext.errors import ConfigError
from nearnext.model.losses.loss_input import Loss as Loss
from nearnext.model.losses.loss_input import LossInput as LossInput
from nearnext.model.losses.metric_learning import MetricLearning as MetricLearning
from nearnext.model.losses.metric_learning import MetricLearningLoss as MetricLearningLoss
from nearnext.model.losses.metric_learning import metric_learning_names as metric_learning_names
from nearnext.model.losses.ncas import NCAS as NCAS
from nearnext.model.losses.pairs import BPR as BPR
from nearnext.model.losses.pairs import TOP1 as TOP1
from nearnext.model.losses.pairs import WARP as WARP
from nearnext.model.losses.pairs import Contrastive as Contrastive
from nearnext.model.losses.triplet import Triplet as Triplet
from nearnext.options import make
from nearnext.registry import LOSSES

PML = re.compile(r"pml:(?P<loss>[\w-]+)(\+(?P<miner>[\w-]+))?(@(?P<distance>[\w-]+))?")


def loss_named(name: str, **options: Any) -> Loss | MetricLearning:
    """The loss of that name with these options, a frozen config.

    ``pml:<loss>[+<miner>][@<distance>]`` is one of pytorch-metric-learning; one of `LOSSES` may have options after a
    colon, as ``triplet:swap=true``.
    """
    if match := PML.fullmatch(name):
        return make(MetricLearning, {**match.groupdict(), **options}, name)
    if name.partition(":")[0] not in LOSSES:
        raise ConfigError(f"unknown loss '{name}'; known: {', '.join(LOSSES)}, pml:<loss>[+<miner>][@<distance>]")
    name, given = LOSSES.spelled(name)
    return LOSSES.make(name, **given, **options)
