"""What a fit will take, before it is made: parameters, peak memory and time.

**Memory** of what learns by gradients follows from formulas, see `experiments.measuring`. What a batch takes is
measured, as is all that methods without gradients learn.

**Time** = preparation + epochs × (steps × seconds of a measured step + validation cases × seconds of a measured case);
of methods without measured steps, the seconds of a fit on a sample, in proportion to clicks. The default method has
steps of several kinds, see `experiments.metric_cost`.
"""

import time
from dataclasses import replace
from typing import TYPE_CHECKING, Protocol, runtime_checkable

import numpy as np

from nearnext.data.prefixes import Prefixes
from nearnext.data.sessions import Sessions
from nearnext.errors import DataError
from nearnext.experiments.measuring import (
    CASES,
    FLOAT,
    Estimate,
    gru4rec_bytes,
    network_bytes,
    sample_fit,
    seconds_of,
    step_cost,
    used_bytes,
    validation_seconds,
)
from nearnext.recommenders.base import Recommender
from nearnext.recommenders.gru4rec import GRU4Rec
from nearnext.recommenders.named import DEFAULTS, make_recommender
from nearnext.sampling.windows import n_pairs

if TYPE_CHECKING:  # torch takes over a second to import, and memory: methods without it do without it
    from nearnext.model.network import SessionItemNetwork
    from nearnext.training.config import TrainingConfig
    from nearnext.training.examples import Examples, Objective

TINY = 20
"""Sessions of each kind in the log that a network is built for to count its layers."""


@runtime_checkable
class TrainsNetwork(Protocol):
    """A recommender that trains a network of sessions and items."""

    training: "TrainingConfig"

    def prepare(self, sessions: Sessions) -> "tuple[SessionItemNetwork, Objective, Examples]":
        """What a fit on these sessions begins with."""
        ...


def estimate(recommender: Recommender, sessions: Sessions) -> Estimate:
    """What a fit of this recommender on these sessions will take; the recommender is not fitted."""
    if sessions.n_sessions == 0 or sessions.n_items == 0:
        raise DataError("expected sessions to learn from, found none; lower the filters or give a longer log")
    if isinstance(recommender, TrainsNetwork):
        return _of_network(recommender, sessions)
    if recommender.name in DEFAULTS:
        from nearnext.experiments.metric_cost import estimate_metric

        return estimate_metric(recommender, sessions)
    if isinstance(recommender, GRU4Rec):
        return _of_gru4rec(recommender, sessions)
    return _of_sample(recommender, sessions)


def _of_network(recommender: TrainsNetwork, sessions: Sessions) -> Estimate:
    from nearnext.training.examples import sampled_recipe

    tiny, objective, _ = recommender.prepare(Sessions.of([["a", "b"], ["b", "a"]] * TINY))
    further = sum(parameter.numel() for _, parameter in objective.parameters)
    config = recommender.training
    accelerator = _on_accelerator(config)
    sizes = network_bytes(tiny, sessions.n_items, further=further, accelerator=accelerator)
    before = used_bytes()
    memory = {"this process and the log": before, **sizes}
    parameters = sizes["weights"] // FLOAT
    sized = Estimate(parameters, memory, config.epochs, 0, None, "nothing measured: it would not fit into memory")
    if not accelerator and not sized.fits:
        return sized
    begin = time.perf_counter()
    network, objective, examples = recommender.prepare(sessions)
    preparation = time.perf_counter() - begin
    recipe = sampled_recipe(network, objective, examples, config)
    n_steps, step = recipe.batches.n_batches, step_cost(recipe)
    per_epoch = n_steps * step.seconds
    basis = f"{step.n_measured} steps of {1000 * step.seconds:.3g} ms"
    if examples.validation is not None:
        validation = validation_seconds(network, examples.validation)
        per_epoch += validation
        basis += f", and {min(CASES, len(examples.validation.targets))} validation cases"
    return replace(
        sized,
        memory={**memory, "libraries and batches": max(step.peak_bytes - before - sizes["weights"] - sizes["Adam"], 0)},
        steps=n_steps,
        seconds=preparation + config.epochs * per_epoch,
        basis=basis,
    )


def _on_accelerator(config: "TrainingConfig") -> bool:
    from nearnext.training.recipe import Devices

    return Devices.find(config.device, config.precision).device.type != "cpu"


def _of_gru4rec(gru4rec: GRU4Rec, sessions: Sessions) -> Estimate:
    before = used_bytes()
    sizes = gru4rec_bytes(gru4rec, sessions.n_items)
    sized = Estimate(
        sizes["weights"] // FLOAT,
        {"this process and the log": before, **sizes},
        gru4rec.epochs,
        0,
        None,
        "nothing measured: it would not fit into memory",
    )
    if not sized.fits:
        return sized
    sample, seconds, peak = sample_fit(lambda: replace(gru4rec, epochs=1), sessions)
    pairs = max(n_pairs(sample), 1)
    batch = peak - before - sum(gru4rec_bytes(gru4rec, int(np.count_nonzero(sample.item_counts()[1:]))).values())
    return replace(
        sized,
        memory={**sized.memory, "libraries and batches": max(batch, 0)},
        seconds=gru4rec.epochs * seconds / pairs * n_pairs(sessions),
        basis=f"an epoch of {sample.n_sessions:,} sessions at {pairs / seconds:,.0f} clicks/s",
    )


def _of_sample(recommender: Recommender, sessions: Sessions) -> Estimate:
    before = used_bytes()
    fitted = make_recommender(recommender.name, recommender.params())
    sample, seconds, _ = sample_fit(lambda: fitted, sessions)
    share = sample.n_events / sessions.n_events
    learned = sum(array.nbytes for array in fitted.state().values())
    known = sample.with_vocabulary(fitted.vocabulary)
    cases = Prefixes.every(known).slice(0, CASES)
    fitted.rank(cases.slice(0, 1), 20, threads=1)  # compiles what is compiled
    ranking = seconds_of(lambda: fitted.rank(cases, 20, threads=1)) if len(cases) else 0.0
    speed = f"; ranks about {len(cases) / ranking:,.0f} cases/s on one core" if ranking else ""
    return Estimate(
        0,
        {"this process and the log": before, "what is learned": int(learned / share)},
        0,
        0,
        seconds / share,
        f"a fit on {sample.n_sessions:,} of {sessions.n_sessions:,} sessions{speed}",
    )
