"""The metric model as a recommender: names, options, presets, what is held out, and what it keeps."""

from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from nearnext.artifact import load_artifact, save_artifact
from nearnext.data.filters import Filter
from nearnext.data.prefixes import Prefixes
from nearnext.data.sessions import Sessions
from nearnext.errors import ArtifactError, ConfigError, DataError
from nearnext.experiments.compare import Comparison, compare
from nearnext.experiments.single import fit_model
from nearnext.model.encoders import GRU, MaxPool
from nearnext.model.losses import NCAS, MetricLearning, Triplet
from nearnext.recommenders.agreement import differing_lists, list_of
from nearnext.recommenders.named import canonical_name, make_recommender, method_options
from nearnext.recommenders.ranking import Ranking
from nearnext.recommenders.sml.options import metric_options
from nearnext.recommenders.sml.recommender import SML
from nearnext.registry import ENCODERS, LOSSES, NEGATIVES, SAMPLERS
from nearnext.sampling import InBatch, PositiveNegative, SlidingWindow, Uniform
from nearnext.testing import assert_same_lists
from nearnext.training.config import TrainingConfig
from training_support import seed

pytestmark = pytest.mark.slow

LOG = Sessions.of([[f"i{(s + j * j) % 9}" for j in range(2 + s % 4)] for s in range(60)])
TINY: dict[str, Any] = {
    "preset": "quick",
    "dim": 6,
    "epochs": 2,
    "batch_size": 16,
    "device": "cpu",
    "learning_rate": 0.01,
}
PREFIXES = Prefixes.every(LOG)


def tiny(name: str, **options: Any) -> SML:
    made = make_recommender(name, {**TINY, "seed": seed(), **options})
    assert isinstance(made, SML)
    return made


def lists(model: SML) -> Ranking:
    return model.rank(PREFIXES, 9)


@pytest.mark.parametrize(("encoder", "loss"), list(product(ENCODERS, [*LOSSES, "pml:angular"])))
def test_every_model_has_options_that_make_it_again(encoder: str, loss: str):
    model = tiny(f"sml-{encoder}-{loss}")
    again = make_recommender(model.name, model.params())
    assert model.name == f"sml-{encoder}-{loss}"
    assert again.params() == model.params()
    assert set(model.params()) <= set(method_options(model.name))


@pytest.mark.parametrize(("sampler", "source"), list(product(SAMPLERS, NEGATIVES)))
def test_every_sampler_has_options_that_make_it_again(sampler: str, source: str):
    model = tiny("sml-maxpool-ncas", sampler=sampler, negative_source=source)
    assert make_recommender(model.name, model.params()).params() == model.params()


@pytest.mark.parametrize("encoder", ENCODERS)
def test_a_saved_model_of_every_encoder_gives_the_same_lists(encoder: str, tmp_path: Path):
    model = tiny(f"sml-{encoder}-ncas", common_embedding=False, item_hidden=5).fit(LOG)
    loaded = load_artifact(save_artifact(model, tmp_path / "model", {})).recommender
    assert isinstance(loaded, SML)
    assert_same_lists(lists(loaded), lists(model))
    assert [epoch["loss"] for epoch in loaded.history] == [epoch["loss"] for epoch in model.history]


@pytest.mark.parametrize("encoder", ENCODERS)
def test_batches_change_no_list_of_any_encoder(encoder: str):
    model = tiny(f"sml-{encoder}-ncas").fit(LOG)
    whole = model.rank(PREFIXES, 5, threads=2)
    for row in range(0, len(PREFIXES), 13):
        alone = model.rank(PREFIXES.slice(row, row + 1), 5)
        assert_same_lists(alone, [list_of(whole, row)])


@pytest.mark.parametrize("distance", ["cosine", "euclidean", "squared_euclidean"])
def test_the_nearest_items_come_first(distance: str):
    model = tiny("sml-avgpool-triplet", distance=distance).fit(LOG)
    answer = model.recommend([["i1", "i2"]], k=9)[0]
    assert answer.own == len(answer.items) == 9
    assert answer.scores == sorted(answer.scores, reverse=True)
    assert (max(answer.scores) <= 2.0) if distance == "cosine" else (max(answer.scores) <= 0.0)


def test_the_model_learns_what_follows_what():
    log = Sessions.of([["a", "b", "c"], ["d", "e", "f"], ["g", "h", "i"]] * 30)
    model = tiny("sml-gru-ncas", dim=16, hidden=16, epochs=20, positives=1, validation_fraction=0).fit(log)
    follows = [answer.items[0] for answer in model.recommend([["a"], ["d"], ["g"]], 1, exclude_seen=True)]
    assert follows == ["b", "e", "h"]


def test_the_defaults_in_python_are_the_papers():
    model = SML()
    assert (model.encoder, model.loss, model.training) == (MaxPool(dim=400), NCAS(smoothing=0.3), TrainingConfig())
    assert model.sampler == PositiveNegative(n_positives=8, negatives=Uniform(n_negatives=8), max_length=15)


def test_values_may_be_text():
    model = tiny("sml-textcnn-triplet", filter_sizes="1,2", margin="0.5", swap="true", common_embedding="false")
    assert (model.loss, model.common_embedding) == (Triplet(margin=0.5, swap=True), False)
    assert model.params()["filter_sizes"] == (1, 2)


def test_parts_chosen_by_name_are_the_parts_of_python():
    named = tiny("sml-gru-pml:multi-similarity+batch-hard", hidden=4, sampler="sliding-window", window=3)
    assert named.encoder == GRU(dim=6, hidden=4)
    assert named.loss == MetricLearning("multi-similarity", miner="batch-hard")
    assert named.sampler == SlidingWindow(window=3)
    assert tiny("sml-maxpool-bpr", negative_source="in-batch", extra=5).sampler.negatives == InBatch(extra=5)


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("sml-bert-ncas", {}, "unknown method 'sml-bert-ncas'; known: sml-<encoder>-<loss> with encoder maxpool"),
        ("sml-gru-hinge", {}, "unknown method 'sml-gru-hinge'; known: sml-"),
        ("sml-gru", {}, "unknown method 'sml-gru'; known: sml-"),
        ("sml-gru-pml:nope", {}, "unknown metric-learning loss 'nope'; known: angular"),
        ("sml-gru-ncas", {"preset": "huge"}, "unknown preset 'huge'; known: paper, authors, quick, tuned"),
        ("sml-gru-ncas", {"margin": 1}, "sml-gru-ncas has no option 'margin'; known: "),
        ("sml-gru-ncas", {"window": 3}, "window is no option of sampler 'every-prefix' with negatives 'in-batch'"),
        ("sml-gru-ncas", {"sampler": "walk"}, "unknown sampler 'walk'; known: positive-negative"),
        ("sml-gru-ncas", {"dim": "wide"}, "sml-gru-ncas: dim must be a whole number of at least 1, found 'wide'"),
        ("sml-gru-ncas", {"dim": 0}, "dim must be a whole number of at least 1, found 0"),
        ("sml-gru-ncas", {"seed": -1}, "seed must be a whole number of at least 0, found -1"),
        ("sml-gru-ncas", {"resume": True}, "resume needs the directory of the run"),
        ("sml-gru-ncas", {"distance": "taxi"}, "sml-gru-ncas: unknown distance 'taxi'; known: "),
        ("sml-gru-ncas", {"device": "cuda"}, "expected a CUDA device, found none"),
    ],
)
def test_what_cannot_be_made_is_refused_in_one_line(name: str, options: dict[str, Any], message: str):
    with pytest.raises(ConfigError) as caught:
        make_recommender(name, options).fit(LOG)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_network_that_would_see_more_than_it_was_trained_on_is_refused():
    with pytest.raises(ConfigError, match="the sampler gives the last 5 clicks, the network would see 15"):
        SML(sampler=PositiveNegative(max_length=5))


def test_names_are_known_without_torch_and_in_any_case():
    assert canonical_name(" SML-GRU-NCAS ") == "sml-gru-ncas"
    with pytest.raises(
        ConfigError,
        match=r"unknown method 'nope'; known: metric, metric-fast, pop, .*, gru4rec, .*sml-<encoder>-<loss>",
    ):
        canonical_name("nope")


def test_options_differ_by_encoder_and_loss():
    assert "hidden" in metric_options("sml-gru-ncas")
    assert "hidden" not in metric_options("sml-maxpool-ncas")
    assert {"margin", "swap"} <= set(metric_options("sml-maxpool-triplet"))


def test_the_seed_of_a_fit_overrules_that_of_the_model():
    one = tiny("sml-gru-ncas", seed=seed(3)).fit(LOG)
    other = tiny("sml-gru-ncas", seed=seed(1)).fit(LOG, seed=seed(3))
    assert_same_lists(lists(other), lists(one))
    assert differing_lists(lists(tiny("sml-gru-ncas", seed=seed(1)).fit(LOG)), lists(one)).any()
    assert other.params()["seed"] == seed(3)


def test_items_of_the_validation_part_alone_come_after_all_others_by_popularity():
    early = [["a", "b", "c"], ["b", "c", "a"], ["c", "a", "b"]] * 20
    log = Sessions.of([*early, ["x", "y", "x"], ["y", "x", "z"], ["x", "a", "b"], ["a", "b"]])
    model = tiny("sml-avgpool-ncas", validation_fraction=0.06).fit(log)
    answer = model.recommend([["a", "b"]], k=6)[0]
    assert (set(answer.items[:3]), answer.items[3:], answer.own) == ({"a", "b", "c"}, ["x", "y", "z"], 3)
    assert model.recommend([["x"]], k=1)[0].own == 0
    assert_same_lists(model.recommend([["x", "a"]], k=3), model.recommend([["a"]], k=3))


def test_the_validation_part_reaches_no_weight_of_an_epoch():
    sessions = [[f"i{(s + j) % 9}" for j in range(3)] for s in range(60)]
    one = tiny("sml-gru-ncas", epochs=1).fit(Sessions.of(sessions))
    other = tiny("sml-gru-ncas", epochs=1).fit(Sessions.of([*sessions[:57], *[["i0", "i5", "i1"]] * 3]))
    assert one.history[0]["loss"] == pytest.approx(other.history[0]["loss"], rel=1e-5)


@pytest.mark.parametrize(
    ("sessions", "said"),
    [
        ([["only", "only"]] * 3, "expected at least 2 items, found 1"),
        ([["a"], ["b"], ["c"]], "no session"),
    ],
)
def test_sessions_that_teach_nothing_give_popularity_and_a_note(sessions: list[list[str]], said: str):
    model = tiny("sml-gru-ncas").fit(Sessions.of(sessions))
    assert model.note.startswith("nothing was learned, all lists are by popularity: ")
    assert said in model.note or "expected a session of at least 2 clicks" in model.note
    answer = model.recommend([sessions[0]], k=1)[0]
    assert (answer.items, answer.own) == (model.vocabulary.decode([1]), 0)


def test_sessions_that_teach_nothing_make_no_model_to_keep_and_no_row_to_compare():
    log = Sessions.of([["only", "only"]] * 40)
    recommender = tiny("sml-gru-ncas")
    with pytest.raises(DataError, match=r"sml-gru-ncas: nothing was learned, .* give a log with more items"):
        fit_model(recommender, log, Filter())
    with pytest.raises(DataError, match="nothing was learned"):
        compare(log, comparison=Comparison(["pop", "sml-gru-ncas"], ks=(1,), replicates=20))


def test_sessions_all_longer_than_the_maximum_length_are_learned_from():
    log = Sessions.of([[f"i{(s + j) % 7}" for j in range(12)] for s in range(20)])
    model = tiny("sml-gru-ncas", max_length=3).fit(log)
    assert model.note.startswith("every session is longer than max_length")
    long, short = model.recommend([["i0", "i1", "i2", "i3", "i4"], ["i2", "i3", "i4"]], k=5)
    assert_same_lists(long, short)


def test_a_fit_in_a_directory_resumes_and_refuses_other_data(tmp_path: Path):
    directory = str(tmp_path / "run")
    model = tiny("sml-gru-ncas", directory=directory).fit(LOG)
    resumed = tiny("sml-gru-ncas", directory=directory, resume=True).fit(LOG)
    assert_same_lists(lists(resumed), lists(model))
    with pytest.raises(ConfigError, match="is of other data"):
        tiny("sml-gru-ncas", directory=directory, resume=True).fit(LOG.select(np.arange(50)))
    with pytest.raises(ConfigError, match="is of another dim: expected 8, found 6"):
        tiny("sml-gru-ncas", directory=directory, resume=True, dim=8, hidden=6).fit(LOG)
    with pytest.raises(ArtifactError, match="resume it or choose another directory"):
        tiny("sml-gru-ncas", directory=directory).fit(LOG)


def test_neighbours_are_prepared_where_the_sampler_wants_them():
    assert tiny("sml-maxpool-triplet", fill="knn").fit(LOG).note == ""


@pytest.mark.parametrize("options", [{"precision": "bf16"}, {"clip": 0.1}, {"logq": True}, {"item_hidden": 4}])
def test_options_of_training_change_the_model_and_keep_it_finite(options: dict[str, Any]):
    plain, other = tiny("sml-gru-ncas").fit(LOG), tiny("sml-gru-ncas", **options).fit(LOG)
    assert np.isfinite(other.rank(PREFIXES, 9).scores).all()
    assert differing_lists(lists(plain), lists(other), rtol=1e-4).any()
