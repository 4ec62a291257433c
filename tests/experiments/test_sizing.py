"""What a fit will take: the formula against the bytes that training really holds, and what is measured."""

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from nearnext.data.filters import Filter
from nearnext.data.sessions import Sessions
from nearnext.errors import DataError
from nearnext.experiments import metric_cost, sizing
from nearnext.experiments.measuring import Estimate, gru4rec_bytes, network_bytes
from nearnext.experiments.single import size_model
from nearnext.experiments.sizing import estimate
from nearnext.recommenders.gru4rec import GRU4Rec
from nearnext.recommenders.gru4rec.scoring import Weights
from nearnext.recommenders.metric.recommender import Metric
from nearnext.recommenders.named import make_recommender
from nearnext.recommenders.sml.recommender import SML
from nearnext.training.examples import sampled_recipe
from nearnext.training.learner import Learner
from nearnext.training.optimisers import RowAdagrad, RowAdam
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
COUNTERS = ("steps", "step")
"""Numbers of steps, a few bytes for each tensor, that the formula leaves out."""


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("sml-gru-ncas", {"hidden": 5, "layers": 2}),
        ("sml-maxpool-triplet", {"common_embedding": False}),
        ("sml-textcnn-ncas", {"item_hidden": 7, "filters": 3}),
        ("sml-caser-bpr", {}),
        ("sml-maxpool-pml:proxy-nca", {"common_embedding": False}),
    ],
)
def test_the_formula_is_what_training_holds(name: str, options: dict[str, Any]):
    model = make_recommender(name, {**TINY, **options})
    assert isinstance(model, SML)
    network, objective, examples = model.prepare(LOG)
    further = sum(parameter.numel() for _, parameter in objective.parameters)
    expected = network_bytes(network, network.n_items, further=further)
    recipe = sampled_recipe(network, objective, examples, model.training)
    learner = Learner(recipe)
    learner.step(next(recipe.batches.epoch(0, 0)))
    held = {name: tensor.numel() * tensor.element_size() for name, tensor in learner.state().items()}
    adam = {name: size for name, size in held.items() if not name.startswith("weight.") and not name.endswith(COUNTERS)}
    assert expected["weights"] == sum(size for name, size in held.items() if name.startswith("weight."))
    assert expected["Adam"] == sum(adam.values())


def test_the_formula_counts_tables_for_any_catalogue():
    model = make_recommender("sml-gru-ncas", TINY)
    assert isinstance(model, SML)
    network, _, _ = model.prepare(LOG)
    large = network_bytes(network, 1_000_000)
    layers = sum(p.numel() for p in network.parameters()) - (network.n_items + 1) * 12
    assert large["weights"] == 4 * (1_000_001 * 12 + layers)
    assert large["Adam"] == 2 * large["weights"] + 8 * 1_000_001
    assert large["best weights"] == large["weights"]
    assert large["validation"] == 8 * 1_000_000 * 12 + 8 * 1_000_000
    assert network_bytes(network, 1_000_000, accelerator=True)["Adam"] == 2 * large["weights"] + 4 * 1_000_001 * 12


@pytest.mark.parametrize(
    "options",
    [
        {"layers": (6,)},
        {"layers": (6, 4)},
        {"layers": (6,), "constrained_embedding": False},
        {"layers": (6, 4), "constrained_embedding": False, "embedding": 3, "optimiser": "adam"},
    ],
)
def test_the_formula_of_gru4rec_is_what_its_training_holds(options: dict[str, Any]):
    gru4rec = GRU4Rec(**options)
    embedding = None if gru4rec.constrained_embedding else gru4rec.embedding or gru4rec.layers[0]
    weights = Weights.draw(np.random.default_rng(0), 29, gru4rec.layers, embedding)
    arrays = [array for array in weights.to_state().values() if array.size]
    lazy = RowAdagrad if gru4rec.optimiser == "adagrad" else partial(RowAdam, exact=False)
    moments = [vars(lazy(torch.from_numpy(array))) for array in arrays]
    held = [array for each in moments for array in each.values() if isinstance(array, np.ndarray)]
    sizes = gru4rec_bytes(gru4rec, 29)
    assert sizes["weights"] == sum(array.nbytes for array in arrays)
    # What the optimiser holds beside the weights themselves.
    assert sizes["optimiser"] == sum(array.nbytes for array in held) - sizes["weights"]


def test_a_network_is_measured_in_steps_of_its_own_batches():
    sized = estimate(make_recommender("sml-maxpool-ncas", {**TINY, "dense_layers": 0}), LOG)
    prefixes = int((LOG.lengths[:190] - 1).sum())  # the last 5% of the sessions are held out
    assert (sized.epochs, sized.steps) == (3, -(-prefixes // 16))
    assert sized.parameters == 30 * 12
    assert sized.seconds is not None
    assert sized.seconds > 0
    assert sized.peak_bytes == sum(sized.memory.values())
    assert "steps of" in sized.basis


def test_estimating_leaves_the_recommender_unfitted():
    for name in ("vsknn", "gru4rec", "sml-maxpool-ncas"):
        options = {} if name == "vsknn" else {"layers": [4], "n_sample": 8} if name == "gru4rec" else TINY
        recommender = make_recommender(name, options)
        assert estimate(recommender, LOG).fits
        assert not recommender.fitted


def test_estimating_changes_nothing_that_a_fit_gives():
    estimated = make_recommender("sml-maxpool-ncas", TINY)
    estimate(estimated, LOG)
    one, other = estimated.fit(LOG).state(), make_recommender("sml-maxpool-ncas", TINY).fit(LOG).state()
    assert_same_weights(one, other)


def test_what_does_not_fit_into_memory_is_not_tried(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(sizing, "used_bytes", lambda: 10**15)
    monkeypatch.setattr(Estimate, "fits", False)
    for name, options in (("sml-maxpool-ncas", TINY), ("gru4rec", {})):
        sized = estimate(make_recommender(name, options), LOG)
        assert sized.seconds is None
        assert sized.basis == "nothing measured: it would not fit into memory"


def test_methods_that_count_have_no_parameters():
    sized = estimate(make_recommender("vsknn"), LOG)
    assert (sized.parameters, sized.epochs, sized.steps) == (0, 0, 0)
    assert "a fit on 200 of 200 sessions; ranks about" in sized.basis
    state = make_recommender("vsknn").fit(LOG).state()
    assert sized.memory["what is learned"] == sum(array.nbytes for array in state.values())


def test_an_empty_log_is_refused():
    with pytest.raises(DataError, match="no sessions of 9 or more clicks left"):
        size_model(make_recommender("pop"), LOG, Filter(min_length=9))
    with pytest.raises(DataError, match="expected sessions to learn from, found none"):
        estimate(make_recommender("pop"), LOG.select(LOG.lengths > 99))


def test_the_default_method_tells_the_size_that_follows_from_the_log():
    options = {"dim": 8, "epochs": 1, "validation_fraction": 0.0}
    sized = estimate(make_recommender("metric-fast", options), LOG)
    assert sized.settled == {"dim": 8, "epochs": 1, "batch_size": 128, "negatives": 1024}
    state = make_recommender("metric-fast", options).fit(LOG).state()
    assert sized.parameters == sum(array.size for name, array in state.items() if name.startswith("network."))
    assert sized.seconds is not None
    assert sized.seconds > 0
    assert sized.basis == f"fits on {LOG.n_events} and {LOG.n_events} of {LOG.n_events} clicks"


def test_the_time_of_the_default_method_is_the_sum_of_its_parts(monkeypatch: pytest.MonkeyPatch):
    # The log is its own sample. A pass takes 10 s, 9 s of them on what is not held out; beside training a fit takes
    # 5 s, and a step of each calibration 0.1 s.
    def timed(metric: Metric, sample: Sessions) -> tuple[float, int]:
        metric.fit(sample)
        best = max(metric.history, key=lambda epoch: epoch["HitRate@20"] + epoch["MRR@20"])["epoch"]
        for epoch in metric.history:
            epoch["seconds"] = 9.0
        passes = 0.9 * (len(metric.history) + (metric.correction is None)) + best
        n_reranker_fits = 2 + (metric.reranker is not None)
        return 10.0 * passes + 5.0 + n_reranker_fits * 0.1 * (metric.reranker_steps - 1), 0

    monkeypatch.setattr(metric_cost, "timed_fit", timed)
    monkeypatch.setattr(metric_cost, "_search_seconds", lambda *_: 0.0)  # pyright: ignore[reportUnknownLambdaType, reportUnknownArgumentType]
    options: dict[str, Any] = {"dim": 4, "epochs": 3, "batch_size": 32, "negatives": 8, "reranker_steps": 50}
    for correction, passes in ((None, 0.9 * 4 + 3), (False, 0.9 * 3 + 3)):
        sized = estimate(make_recommender("metric", {**options, "correction": correction}), LOG)
        assert sized.seconds == pytest.approx(10 * passes + 5 + 3 * 50 * 0.1)


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
