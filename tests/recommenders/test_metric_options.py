"""Options of the default recommender: ranges, former names, what follows from the log, and an encoder's own."""

import json
import re
import tomllib
from pathlib import Path
from typing import Any

import pytest

from metric_support import LOG, N_ITEMS, tiny
from nearnext.artifact import load_artifact, save_artifact
from nearnext.data.prefixes import Prefixes
from nearnext.errors import ConfigError
from nearnext.experiments.tuning.tune import options_table
from nearnext.model.encoders import Caser
from nearnext.model.losses import Triplet
from nearnext.recommenders.metric import selection
from nearnext.recommenders.metric.options import Size, size_for
from nearnext.recommenders.metric.recommender import Metric
from nearnext.recommenders.named import DEFAULTS, make_recommender
from nearnext.recommenders.ranking import Ranking
from nearnext.testing import assert_same_lists

pytestmark = pytest.mark.slow

PREFIXES = Prefixes.every(LOG)
every_name = pytest.mark.parametrize("name", DEFAULTS)


def lists(model: Metric) -> Ranking:
    return model.rank(PREFIXES, 25)


@pytest.fixture(scope="module")
def voted() -> Metric:
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(selection, "significantly_better", lambda *_: True)  # pyright: ignore[reportUnknownLambdaType]
        return tiny().fit(LOG)


FORMER = {"breadth": "coverage_cost", "calibrated_on": "reranker_prefixes", "calibration_steps": "reranker_steps"}


@pytest.mark.parametrize("name", ["metric", "metric-fast"])
@pytest.mark.parametrize(("former", "present"), FORMER.items())
def test_former_names_of_options_work_and_warn(name: str, former: str, present: str):
    value = 0.5 if present == "coverage_cost" else 200
    kind = type(make_recommender(name))
    for make in (lambda: make_recommender(name, {former: value}), lambda: kind(**{former: value})):
        with pytest.warns(FutureWarning, match=f"option {former} is now called {present}"):
            assert make().params()[present] == value
    with pytest.raises(ConfigError, match=f"{former} is now called {present}, found both"):
        make_recommender(name, {former: value, present: value})


def test_a_model_saved_under_former_names_loads_without_a_warning(voted: Metric, tmp_path: Path):
    folder = save_artifact(voted, tmp_path / "model", {})
    manifest = json.loads((folder / "manifest.json").read_text())
    former = {present: name for name, present in FORMER.items()}
    manifest["params"] = {former.get(name, name): value for name, value in manifest["params"].items()}
    assert "breadth" in manifest["params"]
    (folder / "manifest.json").write_text(json.dumps(manifest))
    assert load_artifact(folder).recommender.params() == voted.params()


@every_name
def test_params_make_the_model_again_from_an_option_file(name: str):
    fitted = tiny(name, dim=None, voters=["sr", "vsknn"]).fit(LOG)
    params = fitted.params()
    assert params["voters"] == ["sr", "vsknn"]
    assert not {"directory", "resume"} & params.keys()
    read = tomllib.loads(options_table(name, params))[name]
    again = make_recommender(name, read)
    assert again.params() == params
    assert isinstance(again, Metric)
    assert_same_lists(lists(again.fit(LOG)), lists(fitted))


@pytest.mark.parametrize(("text", "voters"), [("", []), (" ", []), ("sr", ["sr"]), ("sr, vsknn", ["sr", "vsknn"])])
def test_voters_are_given_as_text_too_and_none_as_an_empty_one(text: str, voters: list[str]):
    assert make_recommender("metric-fast", {"voters": text}).params()["voters"] == voters


def test_the_fast_one_is_smaller_in_every_respect():
    fast, whole = make_recommender("metric-fast").params(), make_recommender("metric").params()
    assert (fast["dim"], fast["epochs"], fast["voters"]) == (96, 2, ["vsknn", "sr"])
    assert (whole["dim"], whole["voters"]) == (None, ["vsknn", "vstan", "sr"])
    assert make_recommender("metric-fast", {"voters": "sr,markov-1"}).params()["voters"] == ["sr", "markov-1"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"voters": ["pop"]}, "unknown voter 'pop'; known: vsknn, vstan, sr, markov-1"),
        ({"voters": ["sr", "vsknn", "sr"]}, "expected each voter once, found sr, vsknn, sr; leave out the second"),
        (
            {"features": "own,second"},
            "second is of a second network, which metric no longer has; fit again",
        ),
        ({"features": "item,item"}, "expected each group of features once, found item, item; leave out the second"),
        ({"dim": 0}, "dim must be a whole number of at least 1, found 0"),
        ({"candidates": 19}, "candidates must be a whole number of at least 20, found 19"),
        ({"reranker_prefixes": 99}, "reranker_prefixes must be a whole number of at least 100"),
        ({"dropout": 1.0}, "dropout must be"),
        ({"validation_fraction": 1.0}, "validation_fraction must be a finite number of at least 0 and below 1"),
        ({"seed": -1}, "seed must be a whole number of at least 0, found -1"),
        ({"smoothing": 1.0}, "smoothing must be"),
        ({"resume": True}, "resume needs the directory of the run"),
        ({"layers": 3}, "metric has no option 'layers'; known: "),
        ({"encoder": "gru:hiden=3"}, "encoder gru has no option 'hiden'; did you mean 'hidden'?"),
        ({"encoder": "gru:hidden=none"}, "hidden must be a whole number of at least 1, found 'none'"),
        ({"encoder": "gru:hidden"}, "encoder gru:hidden: expected NAME:OPTION=VALUE,OPTION=VALUE"),
        ({"encoder": "gru:dim=3"}, "encoder gru:dim=3: dim is an option of metric; set it there"),
        ({"encoder": "transformer:heads=2"}, "unknown session encoder 'transformer'; known: "),
        ({"loss": "triplet:swap"}, "loss triplet:swap: expected NAME:OPTION=VALUE,OPTION=VALUE, found 'swap'"),
        ({"loss": "triplet:swop=true"}, "loss triplet has no option 'swop'; did you mean 'swap'?"),
        ({"loss": "ncas:smoothing=0"}, "loss ncas:smoothing=0: smoothing is an option of metric; set it there"),
        ({"loss": "hinge:margin=1"}, "unknown loss 'hinge:margin=1'; known: sampled-softmax, ncas"),
        ({"loss": "pml:angular"}, "pml:angular reads embeddings"),
    ],
)
def test_bad_options_are_one_clear_line(options: dict[str, Any], message: str):
    with pytest.raises(ConfigError, match=re.escape(message)):
        make_recommender("metric", options)


def test_sizes_follow_from_the_log_unless_given():
    assert size_for(LOG) == Size(dim=192, epochs=3, batch_size=100, negatives=N_ITEMS)
    assert Metric(epochs=3).size(LOG) == Size(dim=192, epochs=3, batch_size=100, negatives=N_ITEMS)


def test_a_loss_takes_options_of_its_own(tmp_path: Path):
    model = tiny(loss="triplet:swap=true,margin=0.5", voters=[]).fit(LOG)
    assert model.parts()[-1] == Triplet(0.5, swap=True, pairing="all")
    loaded = load_artifact(save_artifact(model, tmp_path / "model", {})).recommender
    assert isinstance(loaded, Metric)
    assert loaded.parts()[-1] == model.parts()[-1]
    assert_same_lists(lists(loaded), lists(model))


def test_an_encoder_takes_options_of_its_own(tmp_path: Path):
    model = tiny(encoder="caser:length=6,heights=1,2,vertical=1", voters=[]).fit(LOG)
    _, encoder, *_ = model.parts()
    assert encoder == Caser(dim=model.params()["dim"], length=6, heights=(1, 2), vertical=1, dropout=model.dropout)
    loaded = load_artifact(save_artifact(model, tmp_path / "model", {})).recommender
    assert isinstance(loaded, Metric)
    assert_same_lists(lists(loaded), lists(model))
