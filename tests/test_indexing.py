"""A saved model searches by the index that was chosen for it, and says what was measured."""

from pathlib import Path

import numpy as np
import pytest

from nearnext.artifact import load_artifact, save_artifact
from nearnext.data.filters import Filter
from nearnext.data.prefixes import Prefixes
from nearnext.data.sessions import Sessions
from nearnext.errors import ArtifactError, ConfigError
from nearnext.experiments.single import fit_model
from nearnext.indexing import reindex
from nearnext.recommenders.base import Recommender
from nearnext.recommenders.named import make_recommender
from nearnext.recommenders.space import space_of
from nearnext.retrieval import ApproximateIndex, ExactIndex, building
from nearnext.testing import assert_same_lists
from training_support import seed

pytestmark = pytest.mark.slow

pytest.importorskip("faiss", reason="the extra ann is not installed")

N_ITEMS = 120


def log() -> Sessions:
    rng = np.random.default_rng(0)
    return Sessions.of([[f"i{item}" for item in rng.integers(0, N_ITEMS, 5)] for _ in range(150)])


@pytest.fixture(scope="module")
def fitted() -> Recommender:
    options = {"dim": 8, "epochs": 1, "device": "cpu", "extra": 16, "seed": seed()}
    return make_recommender("sml-maxpool-ncas", options).fit(log()).remember(log())


@pytest.fixture
def model(fitted: Recommender, tmp_path: Path) -> Path:
    reindex(fitted, kind="exact")
    return save_artifact(fitted, tmp_path / "model", {"command": "fit"})


def index_of(recommender: Recommender) -> object:
    space = space_of(recommender)
    assert space is not None
    return space.index


def test_a_saved_index_gives_the_same_lists(model: Path, tmp_path: Path):
    recommender = load_artifact(model).recommender
    report = reindex(recommender, kind="approximate", recall_floor=0.0)
    assert report.queries == "100 session embeddings"  # of 150 sessions, a third chose the ef_search
    prefixes = Prefixes.every(log().with_vocabulary(recommender.vocabulary))
    before = recommender.rank(prefixes, 10, exclude_seen=True)
    saved = save_artifact(recommender, tmp_path / "indexed", {})
    assert (saved / "index.faiss").stat().st_size > 0
    loaded = load_artifact(saved).recommender
    assert isinstance(index_of(loaded), ApproximateIndex)
    after = loaded.rank(prefixes, 10, exclude_seen=True)
    assert_same_lists(after, before)


def test_lists_of_a_wide_walk_are_those_of_the_exact_index(model: Path):
    recommender = load_artifact(model).recommender
    sessions = [["i3", "i77"], ["i5"], ["i1", "i2", "i3"], []]
    exact = recommender.recommend(sessions, k=5, exclude=["i4"])
    report = reindex(recommender, kind="approximate")
    assert report.recall == 1.0
    assert_same_lists(recommender.recommend(sessions, k=5, exclude=["i4"]), exact)
    few = recommender.recommend(sessions, k=5, allow=["i8", "i9", "i50"])
    reindex(recommender, kind="exact")
    assert isinstance(index_of(recommender), ExactIndex)
    assert_same_lists(recommender.recommend(sessions, k=5, allow=["i8", "i9", "i50"]), few)


def test_a_damaged_index_is_refused(model: Path, tmp_path: Path):
    recommender = load_artifact(model).recommender
    reindex(recommender, kind="approximate", recall_floor=0.0)
    saved = save_artifact(recommender, tmp_path / "indexed", {})
    whole = (saved / "index.faiss").read_bytes()
    (saved / "index.faiss").write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    with pytest.raises(ArtifactError, match=r"index\.faiss was altered or cut short"):
        load_artifact(saved)
    (saved / "index.faiss").unlink()
    with pytest.raises(ArtifactError, match=r"index\.faiss is missing"):
        load_artifact(saved)


def test_fitting_chooses_an_index(monkeypatch: pytest.MonkeyPatch):
    def make() -> Recommender:
        options = {"dim": 8, "epochs": 1, "device": "cpu", "extra": 16, "seed": seed()}
        return make_recommender("sml-maxpool-ncas", options)

    small = fit_model(make(), log(), Filter(), remember=0)["index"]
    assert (small["kind"], small["recall"]) == ("exact", None)
    monkeypatch.setattr(building, "EXACT_NUMBERS", 1)
    monkeypatch.setattr(building, "_latency", lambda *_: building.Latency(1.0, 1.0))  # pyright: ignore
    large = fit_model(make(), log(), Filter(), remember=0)["index"]
    assert large["kind"] == "exact"  # one is no faster than the other
    assert large["queries"] == "100 session embeddings"
    assert "index" not in fit_model(make_recommender("pop"), log(), Filter())


def test_methods_without_embeddings_say_so():
    pop = make_recommender("pop").fit(log())
    with pytest.raises(ConfigError, match="pop has no vectors; the methods metric, metric-fast"):
        reindex(pop)


def test_the_command_builds_measures_and_saves(nearnext, model: Path, tmp_path: Path):  # pyright: ignore
    done = nearnext("index", model, "--kind", "approximate", "--out", tmp_path / "indexed")
    assert done.code == 0
    for part in ("approximate: recall@20 1.0000, floor 0.95", "120 items of dimension 8", "built in", "p99"):
        assert part in done.out
    indexed = load_artifact(tmp_path / "indexed")
    assert indexed.manifest["index"]["recall"] == 1.0
    assert indexed.manifest["command"] == "fit"
    assert isinstance(index_of(load_artifact(model).recommender), ExactIndex)
    back = nearnext("index", tmp_path / "indexed")
    assert "exact: 960 numbers are searched exactly in a few milliseconds" in back.out
    assert not (tmp_path / "indexed" / "index.faiss").exists()
    assert load_artifact(tmp_path / "indexed").manifest["index"]["kind"] == "exact"


def test_the_command_refuses_below_the_floor(nearnext, model: Path, monkeypatch: pytest.MonkeyPatch):  # pyright: ignore
    monkeypatch.setattr(building, "recall", lambda *_: 0.5)  # pyright: ignore
    before = sorted(path.name for path in model.iterdir())
    refused = nearnext("index", model, "--kind", "approximate")
    assert refused.code == 2
    assert "error: the approximate index misses too much: recall@20 0.5000, floor 0.95" in refused.err
    assert sorted(path.name for path in model.iterdir()) == before
    assert nearnext("index", model, "--kind", "ivf").code == 2
