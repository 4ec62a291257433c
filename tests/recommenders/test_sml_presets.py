"""What each preset of the metric models is."""

import pytest

from nearnext.data.sessions import Sessions
from nearnext.recommenders.named import make_recommender
from nearnext.recommenders.sml.recommender import SML


def test_the_paper_preset_is_what_the_paper_prints():
    params = make_recommender("sml-gru-ncas", {"preset": "paper"}).params()
    printed = {
        "dim": 400,
        "hidden": 400,
        "max_length": 15,
        "positives": 8,
        "negatives": 8,
        "fill": "knn",
        "sampler": "positive-negative",
        "negative_source": "uniform",
        "share": "batch",
        "item_hidden": 400,
        "item_tanh": True,
        "item_frozen": False,
        "common_embedding": True,
        "distance": "cosine",
        "learning_rate": 0.001,
        "batch_size": 32,
        "epochs": 150,
        "improvement": 0.005,
        "lowerings": 3,
        "validation_fraction": 0.05,
        "smoothing": 0.3,
        "temperature": 1.0,
        "direction": "paper",
        "logq": False,
    }
    assert {name: params[name] for name in printed} == printed
    triplet = make_recommender("sml-textcnn-triplet", {"preset": "paper"}).params()
    assert (triplet["margin"], triplet["filter_sizes"], triplet["rank_weights"]) == (0.3, (1, 3, 5), True)
    assert (triplet["share"], triplet["pairing"], triplet["chord"]) == ("none", "matched", False)


def test_the_authors_preset_is_their_program():
    maxpool = make_recommender("sml-maxpool-ncas", {"preset": "authors"}).params()
    program = {
        "dim": 400,
        "dense_layers": 2,
        "last_tanh": True,
        "zeros_up_to": 15,
        "item_hidden": 400,
        "item_tanh": True,
        "item_frozen": True,
        "max_norm": 1.0,
        "distance": "squared_euclidean",
        "fill": "own",
        "overlaps": False,
        "positives": 8,
        "negatives": 8,
        "negative_source": "reversed-popularity",
        "share": "batch",
        "labels": "softmax",
        "direction": "cross_entropy",
        "temperature": 1.0,
        "batch_size": 32,
        "learning_rate": 0.001,
        "lr_factor": 0.8,
    }
    assert {name: maxpool[name] for name in program} == program
    triplet = make_recommender("sml-maxpool-triplet", {"preset": "authors"}).params()
    loss = {"distance": "cosine", "chord": True, "margin": 0.5, "share": "none", "pairing": "matched", "batch_size": 64}
    assert {name: triplet[name] for name in loss} == loss
    gru = make_recommender("sml-gru-triplet", {"preset": "authors"}).params()
    assert (gru["hidden"], gru["dense_layers"], gru["last_tanh"], gru["batch_size"]) == (500, 1, True, 32)


def test_options_that_are_given_overrule_those_of_a_preset():
    params = make_recommender("sml-maxpool-triplet", {"preset": "authors", "batch_size": 8, "dim": 16}).params()
    assert (params["batch_size"], params["dim"], params["margin"]) == (8, 16, 0.5)


@pytest.mark.slow
def test_the_default_learns_from_every_session_by_a_falling_rate():
    log = Sessions.of([["a", "b", "c"]] * 60 + [["x", "y"]])
    model = make_recommender("sml-maxpool-ncas", {"dim": 8, "epochs": 3, "device": "cpu"})
    assert isinstance(model, SML)
    model.fit(log)
    assert model.trained[1:].all()
    assert model.encoder.dense_layers == 1  # type: ignore[attr-defined]
    assert [figures["learning_rate"] for figures in model.history] == pytest.approx([0.004, 0.0024, 0.00144])


def test_only_some_methods_have_what_a_nested_set_gives():
    layers = {loss: make_recommender(f"sml-maxpool-{loss}").params()["dense_layers"] for loss in ("ncas", "triplet")}
    assert layers == {"ncas": 1, "triplet": 0}
    assert make_recommender("sml-tagspace-bpr").params()["filters"] == 256
