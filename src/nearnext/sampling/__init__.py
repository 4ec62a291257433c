"""Samplers: what becomes a training example, its positives and its negatives; numpy arrays, no tensors."""

from nearnext.sampling.batch import Batch
from nearnext.sampling.negatives import InBatch, InversePopularity, Negatives, Popularity, ReversedPopularity, Uniform
from nearnext.sampling.positives import NeighbourPositives
from nearnext.sampling.sampler import Sampler
from nearnext.sampling.samplers import EveryPrefix, PositiveNegative, SlidingWindow

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
