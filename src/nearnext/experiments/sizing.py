"""Estimate time and memory of a fit by extrapolation from fits of two samples of the log.

**Time** = passes over the log × seconds of a pass + searches of validation × seconds of one in the whole catalogue +
steps of the re-ranker × seconds of one + the rest. A pass grows with clicks; the rest, what counting and candidates
take, grows linearly from one fit to the other, up to the clicks from which a re-ranker is fitted on no more prefixes.

**Memory** = what this process holds + what is learned, and what training keeps with it + the rest. Weights W grow
linearly with the items. Adam and Adagrad keep 2 W, the best epoch W, the vectors to search by 2 W. What the voters of a
re-ranker learn is estimated as for these methods alone. Of methods that count all grows linearly with the clicks: what
they bound, such as the sessions kept for each item, they bound in proportion on a sample. Pages of files, such as a
prepared log, are not counted: the system can take them back.
"""

import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, NamedTuple

import numpy as np
import psutil

from nearnext.data.sessions import Sessions
from nearnext.errors import DataError
from nearnext.evaluation.protocol import measured, own_bytes
from nearnext.processes import trim_memory
from nearnext.recommenders.base import Recommender
from nearnext.recommenders.named import make_recommender
from nearnext.recommenders.space import space_of
from nearnext.recommenders.trained import TrainedRecommender

WARM_UP, FEW, GROWTH = 100, 1_000, 4
"""Sessions of the fit that compiles kernels, and of the first sample; each further one is four times larger."""

MANY = 1_000_000
"""Sessions up to which samples grow for methods that count: what these keep grows more slowly than the log."""

ENOUGH_SECONDS = 1.0
"""Seconds; a shorter fit is too short to time."""

EPOCHS, STEPS, SEARCHES = 2, 40, 64
"""Measured: epochs, of which the fastest counts, steps of the re-ranker, and searches."""

FLOAT = 4
"""Bytes of a weight."""

Use = Callable[[Recommender, Sessions], float]
"""Seconds of one use of a model that was fitted on these sessions."""

MODEL = ("what is learned", "weights", "item vectors", "voters")
"""Components of memory that a fitted model keeps."""


def used_bytes() -> int:
    """Memory that this process holds now, bytes, without the pages of files and what it has freed."""
    trim_memory()
    return own_bytes(psutil.Process().memory_info())


@dataclass(frozen=True)
class Estimate:
    """Estimated cost of a fit: ``parameters`` learned by gradients, peak ``memory`` in bytes by component.

    ``epochs`` are the most passes over the log (0: none); ``seconds`` are of the whole fit, all epochs made; ``basis``
    says what was measured; ``settled`` are options that follow from the log; ``available_bytes`` is what this process
    holds, and what else is free; ``use_seconds`` are of one use of the model.
    """

    parameters: int
    memory: Mapping[str, int]
    epochs: int
    seconds: float
    basis: str
    settled: Mapping[str, Any] = field(default_factory=dict[str, Any])
    available_bytes: int = field(default_factory=lambda: used_bytes() + int(psutil.virtual_memory().available))
    use_seconds: float = 0.0

    @property
    def model_bytes(self) -> int:
        """Memory of the fitted model, bytes."""
        return sum(self.memory.get(name, 0) for name in MODEL)

    @property
    def peak_bytes(self) -> int:
        """Peak memory, bytes."""
        return sum(self.memory.values())

    @property
    def fits(self) -> bool:
        """Whether the peak fits into the free memory."""
        return self.peak_bytes <= self.available_bytes


class _Fit(NamedTuple):
    """A fit of a sample; ``rest`` are its seconds outside training, ``kept`` its bytes by what holds them."""

    sample: Sessions
    seconds: float
    per_pass: float
    rest: float
    n_reranker_fits: int
    kept: dict[str, int]
    rest_bytes: int
    use_seconds: float


def estimate(recommender: Recommender, sessions: Sessions, use: Use | None = None) -> Estimate:
    """What a fit of this recommender on these sessions will take, and one use of it; the recommender is not fitted."""
    if sessions.n_sessions == 0 or sessions.n_items == 0:
        raise DataError("expected sessions to learn from, found none; lower the filters or give a longer log")
    trained = isinstance(recommender, TrainedRecommender)
    settled, most_cases = _settled(recommender, sessions)
    options = recommender.params() | settled
    brief = _replaced(options, epochs=EPOCHS, reranker_steps=1)
    # Kernels are compiled and libraries loaded before anything is measured.
    make_recommender(recommender.name, _replaced(brief, epochs=1)).fit(spread_sessions(sessions, WARM_UP))
    before = used_bytes()
    few, many = _samples(recommender.name, brief, sessions, use)
    epochs, fraction = int(options.get("epochs", 0)), float(options.get("validation_fraction", 0.0))
    n_held_out = int(fraction * (sessions.n_events - sessions.n_sessions))
    # What a re-ranker is fitted on is bounded: the time and the memory that go with it too.
    n_prefixes = int(options.get("reranker_prefixes", 0))
    most = min(sessions.n_events, int(n_prefixes / max(fraction, 0.01))) if n_prefixes else sessions.n_events
    events = (few.sample.n_events, many.sample.n_events, most)
    items = (few.sample.n_items, many.sample.n_items, sessions.n_items)
    seconds = many.per_pass * sessions.n_events / many.sample.n_events * _passes(options, epochs, epochs)
    seconds += _on_line(few.rest, many.rest, *events)
    if n_held_out and trained:
        n_searches = epochs * min(most_cases, n_held_out) + min(n_prefixes, n_held_out)
        seconds += n_searches * _search_seconds(sessions.n_items, int(options.get("dim", 1)))
    if many.n_reranker_fits:
        longer = _measured(recommender.name, _replaced(brief, reranker_steps=1 + STEPS), many.sample, sessions)
        step = max(longer.seconds - many.seconds, 0.0) / (STEPS * longer.n_reranker_fits)
        seconds += _reranker_steps(min(n_prefixes, n_held_out), n_prefixes, options["reranker_steps"]) * step
    sizes = items if trained else events
    kept = {name: int(_on_line(few.kept[name], size, *sizes)) for name, size in many.kept.items()}
    if n_held_out and options.get("voters"):
        from nearnext.recommenders.metric.candidates import make_voters

        voters = make_voters(options["voters"], options["neighbours"], options["sample_size"]).values()
        kept["voters"] = sum(estimate(voter, sessions).memory["what is learned"] for voter in voters)
    # Of a network alone the rest is libraries and batches, which grow no more.
    grows = n_prefixes or not trained
    rest = int(_on_line(few.rest_bytes, many.rest_bytes, *events)) if grows else many.rest_bytes
    return Estimate(
        kept["weights"] // FLOAT if trained else 0,
        {"this process and the log": before, **kept, "rest": rest},
        epochs,
        seconds,
        f"fits on {events[0]:,} and {events[1]:,} of {sessions.n_events:,} clicks",
        settled,
        use_seconds=_on_line(few.use_seconds, many.use_seconds, *sizes),
    )


def _settled(recommender: Recommender, sessions: Sessions) -> tuple[dict[str, Any], int]:
    """The options that follow from the log, and the most validation cases that an epoch is measured on."""
    if not hasattr(recommender, "size"):
        return {}, sessions.n_events
    from nearnext.recommenders.metric.recommender import MEASURED, Metric  # methods without torch do without it

    assert isinstance(recommender, Metric)  # noqa: S101 - no other method has a size
    return asdict(recommender.size(sessions)), MEASURED


def _replaced(options: Mapping[str, Any], **values: Any) -> dict[str, Any]:
    """The options with these values, where the method has such options."""
    return {name: values.get(name, value) for name, value in options.items()}


def _on_line(few: float, many: float, n_few: int, n_many: int, n: int) -> float:
    """The value at n, at least that at ``n_many``, from those at two smaller numbers."""
    return many + max(many - few, 0) * max(n - n_many, 0) / max(n_many - n_few, 1)


def _samples(name: str, options: Mapping[str, Any], sessions: Sessions, use: Use | None) -> tuple[_Fit, _Fit]:
    """Fit two samples, the larger one long enough to time if the log is large enough."""
    n, many = FEW, _measured(name, options, spread_sessions(sessions, FEW), sessions, use)
    while True:
        n, few = n * GROWTH, many
        many = _measured(name, options, spread_sessions(sessions, n), sessions, use)
        enough = many.seconds >= ENOUGH_SECONDS and ("weights" in many.kept or n >= MANY)
        if enough or n >= sessions.n_sessions:
            return few, many


def spread_sessions(sessions: Sessions, n: int) -> Sessions:
    """This many sessions, evenly spaced over the log; all of them if it has no more."""
    if n >= sessions.n_sessions:
        return sessions
    return sessions.select(np.arange(n) * sessions.n_sessions // n).reindexed()


def timed_fit(recommender: Recommender, sessions: Sessions) -> tuple[float, int]:
    """Seconds of a fit, above 0, and the most bytes that this process held meanwhile, without the pages of files."""
    with measured() as cost:
        recommender.fit(sessions)
    return max(cost.seconds, 1e-9), int(cost.peak_own_mb * 1e6)


def _measured(
    name: str, options: Mapping[str, Any], sample: Sessions, sessions: Sessions, use: Use | None = None
) -> _Fit:
    fitted = make_recommender(name, options)
    fitted.share = sample.n_sessions / sessions.n_sessions
    before = used_bytes()
    seconds, peak = timed_fit(fitted, sample)
    state = fitted.state()
    kept = {"what is learned": sum(array.nbytes for array in state.values())}
    per_pass, best, n_reranker_fits = 0.0, 0, 0
    reranked = any(each.startswith("reranker.") for each in state)
    if isinstance(fitted, TrainedRecommender):
        fitted.require_learned()
        per_pass = min(epoch["seconds"] for epoch in fitted.history)
        best = int(fitted.history[-1]["best_epoch"])
        arrays = [array for part, array in state.items() if part.startswith("network.")] or list(state.values())
        weights = sum(array.nbytes for array in arrays if array.dtype == np.float32)
        kept = {"weights": weights, "optimiser": 2 * weights, "best weights": weights}
        kept |= {"item vectors": 2 * weights} if space_of(fitted) is not None else {}
        kept |= {"network of the refit": weights} if options.get("refit") else {}
        if options.get("reranker_steps") and options["validation_fraction"] and options["voters"]:
            n_reranker_fits = 2 + reranked
    rest = max(seconds - per_pass * _passes(options, options.get("epochs", 0), best), 0.0)
    rest_bytes = max(peak - before - sum(kept.values()), 0)
    used = 0.0 if use is None else use(fitted, sample)
    return _Fit(sample, seconds, per_pass, rest, n_reranker_fits, kept, rest_bytes, used)


def _passes(options: Mapping[str, Any], epochs: int, best: float) -> float:
    """Epochs of a fit in which one was best: those asked for, and those of the refit, which are longer."""
    fraction = options.get("validation_fraction", 0.0)
    if "refit" not in options or fraction == 0:
        return epochs
    return epochs + options["refit"] * best / (1 - fraction)


def _reranker_steps(n_prefixes: int, most_prefixes: int, most_steps: int) -> int:
    """Steps on either half of the prefixes held out, and on all of them, for the re-ranker is used."""
    from nearnext.recommenders.metric.reranker import steps_for

    return sum(steps_for(n_prefixes // parts, most_prefixes, most_steps) for parts in (2, 2, 1))


def _search_seconds(n_items: int, dim: int) -> float:
    """Seconds of one search in the whole catalogue."""
    from nearnext.retrieval import ExactIndex

    vectors = np.random.default_rng(0).standard_normal((n_items, dim), dtype=np.float32)
    index, k = ExactIndex(vectors), min(20, n_items)
    queries = vectors[np.arange(SEARCHES) % n_items]
    begin = time.perf_counter()
    index.search(queries, k)
    return (time.perf_counter() - begin) / SEARCHES
