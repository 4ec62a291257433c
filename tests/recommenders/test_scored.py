"""Recommenders of one's own from learn and score, instances in comparisons, scikit-learn's protocol."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.base import clone

import nearnext
from nearnext.artifact import load_artifact, save_artifact
from nearnext.data.prefixes import Prefixes
from nearnext.errors import ConfigError, ContractError
from nearnext.experiments.compare import Comparison, compare
from nearnext.recommenders.named import BASELINES, DEFAULTS, make_recommender
from nearnext.registry import RECOMMENDERS
from nearnext.testing import check_recommender
from nearnext.types import FloatArray

pytestmark = pytest.mark.slow

LOG = nearnext.Sessions.of([[f"i{(s * 3 + j * j) % 17}" for j in range(2 + s % 4)] for s in range(150)])


@dataclass(eq=False)
class After(nearnext.ScoredRecommender):
    """What followed the last click most often."""

    name = "after"
    smoothing: float = 0.0

    def learn(self, sessions: nearnext.Sessions) -> None:
        self.followed = np.full((sessions.n_items + 1, sessions.n_items + 1), self.smoothing)
        for clicks in np.split(sessions.items, sessions.offsets[1:-1]):
            np.add.at(self.followed, (clicks[:-1], clicks[1:]), 1)
        self.followed[self.followed == 0] = -np.inf
        self.n_sessions = sessions.n_sessions

    def score(self, prefixes: Prefixes) -> FloatArray:
        return self.followed[prefixes.items[prefixes.ends - 1]]


@pytest.fixture
def registered() -> Iterator[None]:
    nearnext.register("after")(After)
    yield
    RECOMMENDERS.remove("after")


def test_a_recommender_that_could_not_be_loaded_is_not_saved(tmp_path: Path):
    with pytest.raises(ConfigError, match=r"After is not registered.*write @nearnext.register above its class"):
        After().fit(LOG).save(tmp_path / "model")
    assert list(tmp_path.iterdir()) == []


def test_learn_and_score_make_a_recommender():
    own, markov = After().fit(LOG), nearnext.Markov().fit(LOG)
    sessions = [["i3"], ["i1", "i0"], ["never"]]
    for mine, theirs in zip(own.recommend(sessions[:2], k=5), markov.recommend(sessions[:2], k=5), strict=True):
        assert mine.items[: theirs.own] == theirs.items[: theirs.own]
        assert mine.own == theirs.own
    assert own.recommend([["never"]], k=3)[0].own == 0
    seen = own.recommend([["i3", "i0"]], k=17, exclude_seen=True, exclude=["i2"])[0].items
    assert not {"i3", "i0", "i2"} & set(seen)
    assert len(seen) == 14


@pytest.mark.usefixtures("registered")
def test_a_session_without_clicks_is_never_given_the_clicks_of_another():
    check_recommender(After())
    own = After(smoothing=0.1).fit(LOG)
    alone = own.recommend([["never"]], k=5)[0].items
    assert [one.items for one in own.recommend([[], ["i3"], []], k=5)[::2]] == [alone, alone]
    assert own.recommend([[]], k=5)[0].items == alone == LOG.vocabulary.decode([1, 2, 3, 4, 5])


@pytest.mark.usefixtures("registered")
def test_a_registered_one_is_compared_saved_and_loaded(tmp_path: Path):
    result = compare(LOG, comparison=Comparison(["markov-1", "after"], {"after": {"smoothing": 0.5}}, ks=(5,)))
    assert result["methods"][1]["params"] == {"smoothing": 0.5}
    assert result["audit"]["passed"]
    fitted = make_recommender("after").fit(LOG)
    loaded = load_artifact(save_artifact(fitted, tmp_path / "model", {})).recommender
    assert isinstance(loaded, After)
    assert loaded.n_sessions == 150
    assert isinstance(loaded.n_sessions, int)
    assert loaded.recommend([["i3"]], k=5) == fitted.recommend([["i3"]], k=5)


def test_scores_of_another_shape_and_what_cannot_be_saved_are_refused(tmp_path: Path):
    class Wrong(After):
        def score(self, prefixes: Prefixes) -> FloatArray:
            return super().score(prefixes)[:, 1:]

    with pytest.raises(ContractError, match=r"expected scores \[\d+, 18\] from wrong, found \[\d+, 17\]"):
        Wrong().fit(LOG)

    class Lists(After):
        def learn(self, sessions: nearnext.Sessions) -> None:
            super().learn(sessions)
            self.names = {"a": 1}

    with pytest.raises(ConfigError, match=r"lists cannot be saved: expected arrays .* found dict in names"):
        save_artifact(Lists().fit(LOG), tmp_path / "model", {})


def test_instances_and_names_are_compared_alike():
    given = nearnext.VSKNN(k=7)
    comparison = Comparison(["vsknn", given, After(smoothing=0.1), After()], ks=(5,), replicates=50)
    assert comparison.names == ("vsknn", "vsknn-2", "after", "after-2")
    result = compare(LOG, comparison=comparison)
    assert [method.get("label", method["name"]) for method in result["methods"]] == list(comparison.names)
    assert [method["params"].get("k") for method in result["methods"][:2]] == [1000, 7]
    assert not given.fitted
    by_name = compare(LOG, comparison=Comparison(["vsknn"], {"vsknn": {"k": 7}}, ks=(5,), replicates=50))
    assert by_name["methods"][0]["metrics"] == result["methods"][1]["metrics"]


def test_instances_take_seeds_and_cannot_be_tuned():
    drawn = nearnext.VSKNN(sampling="random", sample_size=5)
    result = compare(LOG, comparison=Comparison([drawn], ks=(5,), replicates=50, seeds=(1, 2)))
    assert [row["params"]["seed"] for row in result["methods"][0]["seeds"]] == [1, 2]
    with pytest.raises(ConfigError, match="is a recommender object, which cannot be tuned"):
        Comparison([drawn], tuning=nearnext.Tuning(trials=2))


@pytest.mark.parametrize("name", [*BASELINES, *DEFAULTS, "gru4rec", "sml-gru-ncas"])
def test_sklearn_clones_and_sets_every_recommender(name: str):
    made = make_recommender(name)
    copied: Any = clone(made)
    assert type(copied) is type(made)
    assert copied.params() == made.params()
    assert set(made.get_params()) >= set(make_recommender(name).params()) or name.startswith("sml-")
    assert not copied.fitted


def test_parameters_are_set_after_all_were_checked_and_others_need_another_fit(tmp_path: Path):
    made = nearnext.VSKNN().fit(LOG)
    assert made.set_params(k=made.k).fitted
    assert made.set_params(k=9).get_params()["k"] == 9
    with pytest.raises(ConfigError, match="not fitted"):
        made.save(tmp_path / "model")  # the manifest would describe options that it was not fitted with
    made.fit(LOG)
    with pytest.raises(ConfigError, match="no option 'kk'"):
        made.set_params(kk=3)
    with pytest.raises(ConfigError, match="sample_size"):
        made.set_params(k=11, sample_size=-1)
    assert made.k == 9
    copied: Any = clone(made)
    assert not copied.fitted


def test_options_of_parts_are_set_as_part__option():
    made: Any = nearnext.SML(encoder=nearnext.GRU(dim=8))
    assert "encoder__dim" not in made.get_params(deep=False)
    deep = made.get_params()
    assert (deep["encoder__dim"], deep["sampler__negatives__n_negatives"]) == (8, made.sampler.negatives.n_negatives)
    made.set_params(encoder__dim=16, sampler__negatives__n_negatives=3, seed=5)
    assert (made.encoder, made.sampler.negatives.n_negatives, made.seed) == (nearnext.GRU(dim=16), 3, 5)
    with pytest.raises(ConfigError, match="no option 'encoder__dimm'"):
        made.set_params(encoder__dimm=3)
    with pytest.raises(ConfigError, match="dim must be a whole number"):
        made.set_params(seed=6, encoder__dim=-1)
    assert made.seed == 5


def test_a_class_without_a_name_is_called_as_itself():
    @dataclass(eq=False)
    class Flat(nearnext.ScoredRecommender):
        def score(self, prefixes: Prefixes) -> FloatArray:
            return np.zeros((len(prefixes), len(self.vocabulary) + 1))

    class Flatter(Flat):
        pass

    class Nearer(nearnext.VSKNN):
        pass

    assert (Flat.name, Flatter.name, Nearer.name) == ("flat", "flatter", "vsknn")
    assert len(Flat().fit(LOG).recommend([["i3"]], k=4)[0]) == 4
    result = compare(LOG, comparison=Comparison([Flat(), Flatter()], ks=(5,)))
    assert [each["name"] for each in result["methods"]] == ["flat", "flatter"]


def test_an_object_of_another_class_is_refused_with_what_to_derive_from():
    with pytest.raises(ConfigError, match=r"derived from nearnext.ScoredRecommender .*found a object"):
        Comparison([object()])  # type: ignore[list-item]
