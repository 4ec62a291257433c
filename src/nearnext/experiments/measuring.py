"""What parts of a fit take: bytes from the shapes of what is learned; seconds measured on some steps and cases."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from itertools import islice
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import psutil

from nearnext.data.sessions import Sessions
from nearnext.evaluation.protocol import measured
from nearnext.recommenders.base import Recommender
from nearnext.recommenders.gru4rec import GRU4Rec

if TYPE_CHECKING:
    from nearnext.model.network import SessionItemNetwork
    from nearnext.training.recipe import Recipe
    from nearnext.training.validation import Validation

MOST_STEPS, MOST_SECONDS = 40, 6.0
"""Measured are so many steps of training, or as many as take so long."""

CASES = 512
"""Validation cases, or lists, that are measured."""

FIRST_SAMPLE, ENOUGH_SECONDS = 500, 1.0
"""Sessions of the first sample; it grows fourfold until a fit on it takes so long."""


def used_bytes() -> int:
    """Memory that this process holds now, bytes."""
    return int(psutil.Process().memory_info().rss)


@dataclass(frozen=True)
class Estimate:
    """What a fit will take: ``parameters`` learned by gradients, ``memory`` in bytes at the peak by what holds them.

    ``epochs`` are the most passes over the log, of so many ``steps`` (0: none, or not measured); ``seconds`` are of the
    whole fit, all epochs made (None: nothing was measured); ``basis`` says what was measured; ``settled`` are options
    that follow from the log; ``available_bytes`` is what this process holds, and what else is free.
    """

    parameters: int
    memory: Mapping[str, int]
    epochs: int
    steps: int
    seconds: float | None
    basis: str
    settled: Mapping[str, Any] = field(default_factory=dict[str, Any])
    available_bytes: int = field(default_factory=lambda: used_bytes() + int(psutil.virtual_memory().available))

    @property
    def peak_bytes(self) -> int:
        """All that is held at the peak."""
        return sum(self.memory.values())

    @property
    def fits(self) -> bool:
        """Whether this machine has so much memory free now."""
        return self.peak_bytes <= self.available_bytes


def seconds_of(work: Callable[[], object]) -> float:
    """How long a call takes."""
    begin = time.perf_counter()
    work()
    return time.perf_counter() - begin


class StepCost(NamedTuple):
    """Seconds of a training step, drawing included, as the mean of ``n_measured``; bytes of the process at the peak."""

    seconds: float
    n_measured: int
    peak_bytes: int


def step_cost(recipe: "Recipe[Any]") -> StepCost:
    """The cost of a step, from the first ones of the first epoch; the network's weights are changed by them."""
    from nearnext.model.tensors import one_thread, own_randomness
    from nearnext.training.learner import Learner

    with one_thread(), own_randomness(recipe.devices.device):
        recipe.network.to(recipe.devices.device).train()
        learner = Learner(recipe)
        for tensor in learner.state().values():
            tensor.mul_(1)  # memory is given out when it is written first, and a few steps write a few rows
        batches = recipe.batches.epoch(0, 0)
        durations: list[float] = []
        with measured() as cost:
            learner.step(next(batches))  # compiles what is compiled
            begin = time.perf_counter()
            for batch in islice(batches, MOST_STEPS):
                float(learner.step(batch).loss)
                durations.append(time.perf_counter() - begin)
                if durations[-1] > MOST_SECONDS:
                    break
    # Of a single batch only the step that compiles is known.
    n_measured = max(len(durations), 1)
    seconds = (durations[-1] if durations else cost.seconds) / n_measured
    return StepCost(seconds, n_measured, int(cost.peak_rss_mb * 1e6))


def validation_seconds(network: "SessionItemNetwork", validation: "Validation") -> float:
    """Seconds of one look at all validation cases, from a few of them."""

    def seconds(n: int) -> float:
        few = replace(validation, prefixes=validation.prefixes.slice(0, n), targets=validation.targets[:n])
        return seconds_of(lambda: few.measure(network))

    n_cases = len(validation.targets)
    n = min(CASES, n_cases)
    seconds(1)  # compiles what is compiled
    first = seconds(1)
    return first + max(seconds(n) - first, 0.0) / max(n - 1, 1) * (n_cases - 1)


def last_sessions(sessions: Sessions, n: int) -> Sessions:
    """The last sessions by start time, all of them where there are no more."""
    return sessions.select(np.argsort(sessions.starts, kind="stable")[-n:])


def spread_sessions(sessions: Sessions, n: int) -> Sessions:
    """As many sessions evenly from the whole log, all of them where there are no more."""
    return sessions.select(np.arange(n) * sessions.n_sessions // n if n < sessions.n_sessions else sessions.lengths > 0)


def timed_fit(recommender: Recommender, sessions: Sessions) -> tuple[float, int]:
    """Seconds of a fit, above 0, and the most bytes that this process held meanwhile."""
    with measured() as cost:
        recommender.fit(sessions)
    return max(cost.seconds, 1e-9), int(cost.peak_rss_mb * 1e6)


def sample_fit(make: Callable[[], Recommender], sessions: Sessions) -> tuple[Sessions, float, int]:
    """The last sessions, enough for a fit that can be timed; the seconds of that fit, and the peak memory in bytes."""
    n_sessions = FIRST_SAMPLE
    make().fit(last_sessions(sessions, n_sessions))  # compiles what is compiled
    while True:
        sample = last_sessions(sessions, n_sessions)
        seconds, peak = timed_fit(make(), sample)
        if seconds >= ENOUGH_SECONDS or sample.n_sessions == sessions.n_sessions:
            return sample, seconds, peak
        n_sessions *= 4


FLOAT, INTEGER = 4, 8
"""Bytes of a weight and of a count."""


def network_bytes(
    network: "SessionItemNetwork", n_items: int, *, further: int = 0, accelerator: bool = False
) -> dict[str, int]:
    """Bytes that training of a network takes, by what holds them, without those of a batch.

    With T tables (1, or 2 without a common embedding) of I items in D dimensions and L further parameters: weights
    W = 4 (T (I + 1) D + L); Adam 2 W, and on the CPU 8 T (I + 1) for when a row was last moved, on an accelerator
    4 T (I + 1) D for the gradient of whole tables; best weights so far W; and at the end of an epoch, one after the
    other, the item embeddings that validation searches 8 I D + 8 I, or a copy of the new best weights W. The network
    may be of any number of items; ``further`` are parameters of the loss.
    """
    from nearnext.training.examples import TABLES

    sizes = {name: parameter.numel() for name, parameter in network.named_parameters()}
    n_tables = sum(name in TABLES for name in sizes)
    dim = network.item_embedding.embedding_dim
    layers = sum(size for name, size in sizes.items() if name not in TABLES) + further
    weights = FLOAT * (n_tables * (n_items + 1) * dim + layers)
    rows = n_tables * (n_items + 1)
    return {
        "weights": weights,
        "Adam": 2 * weights + (FLOAT * rows * dim if accelerator else INTEGER * rows),
        "best weights": weights,
        "validation": max(2 * FLOAT * n_items * dim + INTEGER * n_items, weights),
    }


def gru4rec_bytes(gru4rec: GRU4Rec, n_items: int) -> dict[str, int]:
    """Bytes that training of GRU4Rec takes, by what holds them, without those of a batch.

    With layers of widths H: weights W = 4 ((I + 1) (D + 1) + (I + 1) E + Σ 3 H (inputs + H + 1)), E the width of a
    separate input embedding; the optimiser 2 W.
    """
    widths = gru4rec.layers
    shapes = [(n_items + 1, widths[-1] + 1)]
    entered = widths[-1]
    if not gru4rec.constrained_embedding:
        entered = gru4rec.embedding or widths[0]
        shapes.append((n_items + 1, entered))
    for inputs, width in zip((entered, *widths), widths, strict=False):
        shapes += [(inputs, 3 * width), (width, 3 * width), (1, 3 * width)]
    weights = FLOAT * sum(rows * columns for rows, columns in shapes)
    return {"weights": weights, "optimiser": 2 * weights}
