"""GRU4Rec as a whole: what it learns, its options, and what a fit leaves alone."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch

from nearnext.data.sessions import Sessions
from nearnext.data.splits import split_parts
from nearnext.errors import ConfigError
from nearnext.evaluation.protocol import evaluate
from nearnext.recommenders.gru4rec import GRU4Rec
from nearnext.recommenders.named import BASELINES, make_recommender
from training_support import assert_same_weights, seed

pytestmark = pytest.mark.slow

# The item after "go" depends on the click before it: only a method that remembers more than the last click can tell.
MEMORY = Sessions.of([[first, "go", then] for first, then in (("a", "x"), ("b", "y"), ("c", "z"))] * 60)
SMALL: dict[str, Any] = {"layers": (64,), "batch_size": 6, "n_sample": 8, "epochs": 12, "dropout_embedding": 0.0}
VARIANTS: dict[str, dict[str, Any]] = {
    "cross-entropy": {},
    "without logq": {"logq": 0.0},
    "dropout": {"dropout_hidden": 0.1, "dropout_embedding": 0.1, "layers": (128,)},
    "batch negatives only": {"n_sample": 0, "logq": 0.0},
    "bpr-max": {"loss": "bpr-max", "bpreg": 0.5},
    "bpr-max, elu": {"loss": "bpr-max", "elu": 0.5, "bpreg": 0.2},
    "separate embedding": {"constrained_embedding": False, "embedding": 24},
    "two layers": {"layers": (48, 64)},
    "momentum": {"momentum": 0.3},
    "adam": {"optimiser": "adam", "learning_rate": 0.01},
}


def small(**options: Any) -> GRU4Rec:
    chosen: dict[str, Any] = {**SMALL, "seed": seed(), **options}
    return GRU4Rec(**chosen)


every_variant = pytest.mark.parametrize("variant", VARIANTS)


@every_variant
def test_it_remembers_more_than_the_last_click(variant: str):
    """After any seed of a few: one training may fail, and none succeeds by chance, as the last click is the same."""

    def answers(number: int) -> list[list[Any]]:
        gru4rec = small(**VARIANTS[variant], seed=seed(number)).fit(MEMORY)
        assert len(gru4rec.losses) == gru4rec.epochs
        return [answer.items for answer in gru4rec.recommend([["a", "go"], ["b", "go"], ["c", "go"]], k=1)]

    assert any(answers(number) == [["x"], ["y"], ["z"]] for number in range(6))


def test_the_seed_decides_and_nothing_else():
    one, same, other = (small(seed=seed(number), dropout_hidden=0.3).fit(MEMORY) for number in (1, 1, 2))
    assert_same_weights(same.state(), one.state())
    assert not np.allclose(one.state()["outputs"], other.state()["outputs"], atol=1e-3)


def test_a_fit_leaves_torch_as_it_was():
    torch.manual_seed(5)
    random, threads = torch.get_rng_state(), torch.get_num_threads()
    small().fit(MEMORY)
    assert torch.equal(torch.get_rng_state(), random)
    assert torch.get_num_threads() == threads


def test_sessions_of_one_click_give_the_popular_items():
    gru4rec = small().fit(Sessions.of([["a"], ["b"], ["b"], ["c"], ["c"], ["c"]]))
    answer = gru4rec.recommend([["a"]], k=3)[0]
    assert answer.items == ["c", "b", "a"]
    assert answer.scores == [0, 0, 0]


def test_a_loss_that_explodes_stops_the_fit():
    with pytest.raises(
        ConfigError, match=r"expected a finite loss, found .* in epoch 1 .*lower learning_rate \(1e\+30\)"
    ):
        small(learning_rate=1e30, loss="bpr-max", bpreg=1.0).fit(MEMORY)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"loss": "top1"}, "unknown loss 'top1'; known: cross-entropy, bpr-max"),
        ({"optimiser": "sgd"}, "unknown optimiser 'sgd'; known: adagrad, adam"),
        ({"layers": ()}, "layers must be a list of one or several whole numbers of at least 1, found"),
        ({"layers": (10, 0)}, r"whole numbers of at least 1, found \(10, 0\)"),
        ({"epochs": 0}, "gru4rec: epochs must be a whole number of at least 1, found 0"),
        ({"n_sample": -1}, "n_sample must be a whole number of at least 0, found -1"),
        ({"dropout_hidden": 1.0}, "dropout_hidden must be a finite number of at least 0 and below 1, found 1.0"),
        ({"bpreg": -0.5}, "bpreg must be a finite number of at least 0, found -0.5"),
        ({"sample_alpha": float("nan")}, "sample_alpha must be a finite number of at least 0, found nan"),
        ({"learning_rate": 0.0}, "learning_rate must be a finite number above 0, found 0.0"),
        ({"optimiser": "adam", "momentum": 0.2}, "adam has its own momentum, found momentum 0.2"),
        ({"embedding": 8}, "as wide as the last layer, found embedding 8"),
        ({"batch_size": 1, "n_sample": 0}, "nothing to compare with"),
    ],
)
def test_options_out_of_range_are_refused(options: dict[str, Any], message: str):
    with pytest.raises(ConfigError, match=message):
        GRU4Rec(**options)


def test_options_may_come_as_lists_and_text():
    gru4rec = make_recommender("gru4rec", {"layers": [32, 16], "epochs": "3", "constrained_embedding": "false"})
    assert gru4rec.params() | {"layers": (32, 16), "epochs": 3, "constrained_embedding": False} == gru4rec.params()
    assert make_recommender("gru4rec", {"layers": "32, 16"}).params()["layers"] == (32, 16)
    with pytest.raises(ConfigError, match=r"layers must be a list of .* found 'wide'; give for example 64,32"):
        make_recommender("gru4rec", {"layers": "wide"})


def test_classical_methods_start_without_torch():
    code = (
        "import sys; from nearnext.recommenders.named import make_recommender; make_recommender('gru4rec');"
        "sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
    assert "gru4rec" not in BASELINES


@pytest.mark.real_logs
@pytest.mark.skipif("NEARNEXT_DATA" not in os.environ, reason="NEARNEXT_DATA does not name the real click logs")
def test_one_epoch_on_a_real_log_reaches_a_floor():
    folder = Path(os.environ["NEARNEXT_DATA"]) / "rsc15_100k"
    train, test = (_read(folder / f"{part}.parquet") for part in ("train", "test"))
    split = split_parts(train, test)
    values = evaluate(GRU4Rec(epochs=1).fit(split.train), split.test, k=20).values()
    assert values["HitRate@20"] > 0.52
    assert values["MRR@20"] > 0.25


def _read(path: Path) -> Sessions:
    log = pl.read_parquet(path).group_by("session_id", maintain_order=True).agg("item_id", "timestamp")
    starts = log["timestamp"].list.first().to_list()
    return Sessions.of([items.to_list() for items in log["item_id"]], starts)
