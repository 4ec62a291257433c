"""Samplers: what becomes a training example, its positives and its negatives; numpy arrays, no tensors."""

from nearnext.sampling.batch import Batch as Batch
from nearnext.sampling.negatives import InBatch as InBatch
from nearnext.sampling.negatives import InversePopularity as InversePopularity
from nearnext.sampling.negatives import Negatives as Negatives
from nearnext.sampling.negatives import Popularity as Popularity
from nearnext.sampling.negatives import ReversedPopularity as ReversedPopularity
from nearnext.sampling.negatives import Uniform as Uniform
from nearnext.sampling.positives import NeighbourPositives as NeighbourPositives
from nearnext.sampling.sampler import Sampler as Sampler
from nearnext.sampling.samplers import EveryPrefix as EveryPrefix
from nearnext.sampling.samplers import PositiveNegative as PositiveNegative
from nearnext.sampling.samplers import SlidingWindow as SlidingWindow
