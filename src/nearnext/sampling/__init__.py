"""Samplers: what becomes a training example, its positives and its negatives; numpy arrays, no tensors."""

from nearnext.sampling.batch import Batch
from nearnext.sampling.every_prefix import EveryPrefix
from nearnext.sampling.negatives import (
    InBatch,
    InversePopularity,
    Negatives,
    Popularity,
    ReversedPopularity,
    Uniform,
)
from nearnext.sampling.neighbour_positives import NeighbourPositives
from nearnext.sampling.positive_negative import PositiveNegative
from nearnext.sampling.sampler import Sampler
from nearnext.sampling.sliding_window import SlidingWindow

__all__ = [
    "Batch",
    "EveryPrefix",
    "InBatch",
    "InversePopularity",
    "Negatives",
    "NeighbourPositives",
    "Popularity",
    "PositiveNegative",
    "ReversedPopularity",
    "Sampler",
    "SlidingWindow",
    "Uniform",
]
