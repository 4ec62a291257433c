"""What a fit will take: the bytes and seconds of samples, extrapolated."""

import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from nearnext.data.filters import Filter
from nearnext.data.sessions import Sessions
from nearnext.errors import DataError
from nearnext.experiments import sizing
from nearnext.experiments.single import size_model
from nearnext.experiments.sizing import estimate, spread_sessions
from nearnext.recommenders import rule_counts, rules
from nearnext.recommenders.base import Recommender
from nearnext.recommenders.gru4rec import GRU4Rec
from nearnext.recommenders.metric.recommender import Metric
from nearnext.recommenders.named import make_recommender
from nearnext.recommenders.sml.recommender import SML
from nearnext.training.examples import sampled_recipe
from nearnext.training.learner import Learner
from nearnext.training.recipe import Recipe
from training_support import assert_same_weights, seed

pytestmark = pytest.mark.slow

LOG = Sessions.of([[f"i{(s * 3 + j * j) % 29}" for j in range(2 + s % 4)] for s in range(200)])
TINY: dict[str, Any] = {
    "dim": 12,
    "epochs": 3,
    "batch_size": 16,
    "validation_fraction": 0.05,
    "device": "cpu",
    "extra": 8,
    "seed": seed(),
}
GRU4REC: dict[str, Any] = {"layers": (6, 4), "n_sample": 8, "epochs": 1}


def learner_of(model: Recommender) -> Learner[Any]:
    """What trains a model, after a step."""
    if isinstance(model, GRU4Rec):
        recipe: Recipe[Any] = model.recipe(LOG, model.drawn(LOG))
    else:
        assert isinstance(model, SML)
        recipe = sampled_recipe(*model.prepare(LOG), model.training)
    learner: Learner[Any] = Learner(recipe)
    learner.step(next(recipe.batches.epoch(0, 0)))
    return learner


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("sml-gru-ncas", {**TINY, "hidden": 5, "layers": 2}),
        ("sml-maxpool-triplet", {**TINY, "common_embedding": False}),
        ("sml-caser-bpr", TINY),
        ("gru4rec", GRU4REC),
        ("gru4rec", {**GRU4REC, "constrained_embedding": False, "embedding": 3, "optimiser": "adam"}),
    ],
)
def test_weights_and_moments_are_what_training_holds(name: str, options: dict[str, Any]):
    sized = estimate(make_recommender(name, options), LOG)
    state = learner_of(make_recommender(name, options)).state()
    state = {name: tensor for name, tensor in state.items() if not name.endswith(".state")}  # of a batch of sessions
    held = {name: tensor.numel() * tensor.element_size() for name, tensor in state.items()}
    weights = sum(size for name, size in held.items() if name.startswith("weight."))
    assert sized.memory["weights"] == weights
    assert sized.parameters == weights // 4
    # Counters of steps are a few bytes for each row.
    rows = sum(tensor.shape[0] for name, tensor in state.items() if name.startswith("weight.") and tensor.ndim > 1)
    moments = sum(held.values()) - weights
    assert sized.memory["optimiser"] <= moments <= sized.memory["optimiser"] + 9 * rows + 100


def test_pages_of_a_mapped_log_are_not_counted(tmp_path: Path):
    (tmp_path / "log").write_bytes(bytes(1 << 26))
    before, mapped = sizing.used_bytes(), np.memmap(tmp_path / "log", np.uint8, mode="r")
    assert mapped.max() == 0
    assert sizing.used_bytes() - before < 1 << 25


def test_weights_grow_linearly_with_the_items(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(sizing, "WARM_UP", 10)
    monkeypatch.setattr(sizing, "FEW", 20)
    monkeypatch.setattr(sizing, "ENOUGH_SECONDS", 0.0)
    log = Sessions.of([[f"i{s % 50}", f"j{s}"] for s in range(200)])
    for name, options in (("sml-gru-ncas", {**TINY, "epochs": 1}), ("gru4rec", GRU4REC)):
        sized = estimate(make_recommender(name, options), log)
        fitted = make_recommender(name, options).fit(log)
        arrays = [array for part, array in fitted.state().items() if part.startswith(("network", "outputs", "layer"))]
        assert sized.memory["weights"] == sum(array.nbytes for array in arrays)


def test_samples_are_spread_over_the_log_and_have_items_of_their_own():
    sample = spread_sessions(LOG, 10)
    assert (sample.n_sessions, int(np.diff(sample.starts).min())) == (10, int(LOG.starts[20] - LOG.starts[0]))
    assert sample.n_items == len({*sample.items})
    assert spread_sessions(LOG, 200) is LOG


def test_estimating_leaves_the_recommender_unfitted():
    narm = {"epochs": 1, "negatives": 8}
    for name, options in (("vsknn", {}), ("gru4rec", GRU4REC), ("sml-maxpool-ncas", TINY), ("narm", narm)):
        recommender = make_recommender(name, options)
        sized = estimate(recommender, LOG)
        assert sized.fits
        assert sized.peak_bytes == sum(sized.memory.values())
        assert sized.epochs == options.get("epochs", 0)
        assert not recommender.fitted


def test_estimating_changes_nothing_that_a_fit_gives():
    estimated = make_recommender("sml-maxpool-ncas", TINY)
    estimate(estimated, LOG)
    one, other = estimated.fit(LOG).state(), make_recommender("sml-maxpool-ncas", TINY).fit(LOG).state()
    assert_same_weights(one, other)


def test_methods_that_count_have_no_parameters():
    sized = estimate(make_recommender("vsknn"), LOG)
    assert (sized.parameters, sized.epochs) == (0, 0)
    assert sized.basis == f"fits on {LOG.n_events} and {LOG.n_events} of {LOG.n_events} clicks"
    state = make_recommender("vsknn").fit(LOG).state()
    assert sized.memory["what is learned"] == sum(array.nbytes for array in state.values())


@pytest.mark.parametrize(
    ("name", "options"),
    [("vsknn", {"sample_size": 40}), ("sr", {}), ("markov-1", {}), ("ar", {"pruning": 40})],
)
def test_bounds_of_a_large_log_are_those_of_its_samples(
    name: str, options: dict[str, Any], monkeypatch: pytest.MonkeyPatch
):
    # A log of eight samples, in which most items have more sessions and rules than are kept.
    rng, items = np.random.default_rng(seed()), 1 / np.arange(1, 301) ** 1.1
    clicks = rng.choice(300, (16_000, 5), p=items / items.sum())
    log = Sessions.of([[f"i{item}" for item in session] for session in clicks])
    for module, constant, value in (
        (sizing, "FEW", 500),
        (sizing, "MANY", 2_000),
        (sizing, "ENOUGH_SECONDS", 0.0),
        (rules, "LARGE", 20_000),
        (rules, "STRONGEST", 40),
        (rule_counts, "PAIRS", 20_000),
    ):
        monkeypatch.setattr(module, constant, value)
    monkeypatch.setattr(sizing, "used_bytes", int)
    monkeypatch.setattr(sizing, "timed_fit", traced_fit)
    sized = estimate(make_recommender(name, options), log)
    fitted = make_recommender(name, options)
    _, peak = traced_fit(fitted, log)
    learned = sum(array.nbytes for array in fitted.state().values())
    assert sized.basis == "fits on 2,500 and 10,000 of 80,000 clicks"
    assert sized.memory["what is learned"] == pytest.approx(learned, rel=0.25)
    assert sized.peak_bytes == pytest.approx(peak, rel=0.25)


def traced_fit(recommender: Recommender, sessions: Sessions) -> tuple[float, int]:
    """A second, and the most bytes that a fit allocates, those of compiled code not counted."""
    tracemalloc.start()
    recommender.fit(sessions)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    return 1.0, peak


def test_an_empty_log_is_refused():
    with pytest.raises(DataError, match="no sessions of 9 or more clicks left"):
        size_model(make_recommender("pop"), LOG, Filter(min_length=9))
    with pytest.raises(DataError, match="expected sessions to learn from, found none"):
        estimate(make_recommender("pop"), LOG.select(LOG.lengths > 99))


def test_the_default_method_tells_the_size_that_follows_from_the_log():
    options = {"dim": 8, "epochs": 1, "validation_fraction": 0.0}
    sized = estimate(make_recommender("metric-fast", options), LOG)
    assert sized.settled == {"dim": 8, "epochs": 1, "batch_size": 400, "negatives": 1024}
    state = make_recommender("metric-fast", options).fit(LOG).state()
    assert sized.parameters == sum(array.size for name, array in state.items() if name.startswith("network."))
    assert sized.seconds > 0


def test_the_time_of_a_method_that_trains_is_the_sum_of_its_parts(monkeypatch: pytest.MonkeyPatch):
    # A pass takes 2 s for every hundred clicks, the rest 1 s and 1 s for every hundred clicks.
    def timed(gru4rec: GRU4Rec, sample: Sessions) -> tuple[float, int]:
        gru4rec.fit(sample)
        for epoch in gru4rec.history:
            epoch["seconds"] = sample.n_events / 50
        return gru4rec.epochs * sample.n_events / 50 + 1 + sample.n_events / 100, 0

    monkeypatch.setattr(sizing, "FEW", 20)
    monkeypatch.setattr(sizing, "timed_fit", timed)
    sized = estimate(make_recommender("gru4rec", {**GRU4REC, "epochs": 7}), LOG)
    assert sized.seconds == pytest.approx(7 * LOG.n_events / 50 + 1 + LOG.n_events / 100)


def test_the_time_of_the_default_method_is_the_sum_of_its_parts(monkeypatch: pytest.MonkeyPatch):
    # The log is its own sample. A pass takes 10 s, 9 s of them on what is not held out; beside training a fit takes
    # 5 s, and a step of each calibration 0.1 s.
    def timed(metric: Recommender, sample: Sessions) -> tuple[float, int]:
        metric.fit(sample)
        if not isinstance(metric, Metric):  # a voter
            return 1.0, 0
        for epoch in metric.history:
            epoch["seconds"] = 9.0
        n_reranker_fits = 2 + (metric.reranker is not None)
        return 10.0 * 1.9 * len(metric.history) + 5.0 + n_reranker_fits * 0.1 * (metric.reranker_steps - 1), 0

    monkeypatch.setattr(sizing, "timed_fit", timed)
    monkeypatch.setattr(sizing, "_search_seconds", lambda *_: 0.0)  # pyright: ignore[reportUnknownLambdaType, reportUnknownArgumentType]
    options: dict[str, Any] = {"dim": 4, "epochs": 3, "batch_size": 32, "negatives": 8, "reranker_steps": 50}
    sized = estimate(make_recommender("metric", options), LOG)
    assert sized.seconds == pytest.approx(10 * 1.9 * 3 + 5 + 3 * 50 * 0.1)


@pytest.mark.parametrize("method", ["pop", "vsknn", "gru4rec", "sml-maxpool-ncas"])
def test_a_dry_run_tells_and_writes_nothing(nearnext: Any, tmp_path: Path, monkeypatch: Any, method: str):
    rows = [f"s{s},i{(s * 3 + j) % 11},{1_600_000_000 + s * 600 + j}" for s in range(60) for j in range(2 + s % 3)]
    log = tmp_path / "log.csv"
    log.write_text("session_id,item_id,timestamp\n" + "\n".join([*rows, ",i1,1"]) + "\n", "utf-8")
    monkeypatch.chdir(tmp_path)
    settings = ["--set", "layers=4", "--set", "n_sample=8"] if method == "gru4rec" else []
    if method.startswith("sml"):
        settings = ["--set", "dim=4", "--set", "device=cpu", "--run", "run"]
    done = nearnext("fit", log, "--method", method, "--dry-run", "--rejects", "aside.csv", *settings)
    assert done.code == 0, done.err
    for what in ("60 sessions, 180 clicks, 11 items", "parameters", "peak memory", "time", "nothing was written"):
        assert what in done.out
    assert [path.name for path in tmp_path.iterdir()] == ["log.csv"]


def test_a_fit_without_a_folder_to_write_to_is_refused(nearnext: Any, tmp_path: Path):
    done = nearnext("fit", tmp_path / "none.csv")
    assert (done.code, done.err.count("\n")) == (2, 1)
    assert "--out is missing" in done.err
