"""Each law can be broken: a part that breaks it is refused, in words that name the law."""

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import pytest

import nearnext
from broken_parts_support import ENCODERS, LOSSES, SAMPLERS, Attracting, Built, Gap, OwnPositives, PerSession, Wide
from nearnext import Sessions
from nearnext.data.prefixes import Prefixes
from nearnext.errors import ConfigError, ContractError
from nearnext.model.encoders.laws import LAWS as ENCODER_LAWS
from nearnext.model.losses import NCAS, Triplet
from nearnext.model.losses.laws import LAWS as LOSS_LAWS
from nearnext.recommenders.base import RankChunk, Recommender, Request
from nearnext.recommenders.laws import LAWS as LIST_LAWS
from nearnext.recommenders.laws import check_lists
from nearnext.recommenders.popularity import Pop
from nearnext.recommenders.sml.recommender import SML
from nearnext.sampling.laws import LAWS as SAMPLER_LAWS
from nearnext.testing import check_encoder, check_loss, check_recommender, check_sampler
from nearnext.training.config import TrainingConfig
from nearnext.types import IndexArray, ScoreArray

LOG = Sessions.of([["a", "b", "c"], ["b", "c", "d"]] * 20)


@pytest.mark.parametrize(("part", "law", "example"), ENCODERS, ids=lambda value: getattr(value, "module", value))
def test_an_encoder_that_breaks_a_law_is_named_with_it(part: Any, law: str, example: str):
    with pytest.raises(ContractError) as caught:
        check_encoder(part)
    assert f"session encoder {type(part).__name__} breaks a law: {law}" in str(caught.value)
    assert example in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(("part", "law", "example"), LOSSES, ids=lambda value: str(value)[:30])
def test_a_loss_that_breaks_a_law_is_named_with_it(part: Any, law: str, example: str):
    with pytest.raises(ContractError) as caught:
        check_loss(part)
    assert f"loss {type(part).__name__} breaks a law: {law}" in str(caught.value)
    assert example in str(caught.value)


@pytest.mark.parametrize(("part", "law", "example"), SAMPLERS, ids=lambda value: str(value)[:30])
def test_a_sampler_that_breaks_a_law_is_named_with_it(part: Any, law: str, example: str):
    with pytest.raises(ContractError) as caught:
        check_sampler(part)
    assert f"sampler {type(part).__name__} with Uniform breaks a law: {law}" in str(caught.value)
    assert example in str(caught.value)


def test_a_loss_that_attracts_negatives_is_named_where_it_promises_not_to():
    check_loss(Attracting())
    with pytest.raises(ContractError, match="moving a negative farther never raises it; a negative at"):
        check_loss(Attracting(), monotone=True)
    with pytest.raises(ContractError, match="moving a negative farther never raises it"):
        check_loss(NCAS(smoothing=0.9), monotone=True)
    check_loss(Triplet(), monotone=True)


def test_every_law_is_broken_by_one_of_these():
    broken: list[tuple[Any, Any]] = [(ENCODER_LAWS, ENCODERS), (LOSS_LAWS, LOSSES), (SAMPLER_LAWS, SAMPLERS)]
    for laws, parts in broken:
        assert {law for law in laws if not any(law.startswith(begin) for _, begin, _ in parts)} == set()


@dataclass(eq=False)
class Lists(Pop):
    """A method whose lists are wrong in the way that is asked for."""

    name: ClassVar[str] = "lists"

    how: str = "right"

    def _ranker(self) -> RankChunk:
        def rank(prefixes: Prefixes, _request: Request, items: IndexArray, scores: ScoreArray) -> IndexArray:
            n = min(2, items.shape[1])
            items[:, :n] = [1, 2][:n]
            scores[:, :n] = [0.5, 0.25][:n]
            if self.how == "twice":
                items[:, :n] = 1
            if self.how == "rising":
                scores[:, :n] = [0.25, 0.5][:n]
            if self.how == "nan":
                scores[:, 0] = np.nan
            if self.how == "batch":
                scores[:, 0] = len(prefixes)
            return np.full(len(prefixes), n, dtype=np.int32)

        return rank


@pytest.mark.parametrize(
    ("how", "law"),
    [
        ("twice", "a list holds k different known items, or all there are; expected 3 different items"),
        ("rising", "its own items have finite falling scores, and equal ones are in order"),
        ("nan", "its own items have finite falling scores"),
        ("batch", "a list depends on its prefix alone; alone, "),
    ],
)
def test_a_method_whose_lists_break_a_law_is_named_with_it(how: str, law: str):
    assert any(law.startswith(each) or each.startswith(law) for each in LIST_LAWS)
    check_lists(Lists().fit(LOG), LOG)
    with pytest.raises(ContractError, match=f"method lists breaks a law: {law}"):
        Lists(how=how).fit(LOG)


@dataclass(eq=False)
class Undefined(nearnext.ScoredRecommender):
    """A method whose scores are no numbers, for some items or for all."""

    name: ClassVar[str] = "undefined"

    n_missing: int = 0

    def score(self, prefixes: Prefixes) -> ScoreArray:
        scores = np.full((len(prefixes), len(self.vocabulary) + 1), -np.inf, np.float32)
        scores[:, 1 : 1 + self.n_missing] = np.nan
        return scores


@pytest.mark.parametrize("n_missing", [1, 4])
def test_scores_that_are_no_numbers_are_named_with_the_law(n_missing: int):
    Undefined().fit(LOG)
    found = f"found NaN for {n_missing * 40} of 160 items; give −∞ to leave one out"
    with pytest.raises(ContractError, match=f"method undefined breaks a law: a score is a number; {found}"):
        Undefined(n_missing).fit(LOG)


def test_a_method_that_cannot_be_loaded_breaks_a_law():
    with pytest.raises(ContractError, match=r"a saved model gives the same lists; found .*Lists is not registered"):
        check_recommender(Lists())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"encoder": Built(Wide)}, r"session encoder Built breaks a law: clicks .* found \[4, 8\]"),
        ({"loss": lambda batch: batch.positive.mean()}, "loss function breaks a law: it is a frozen dataclass"),  # pyright: ignore[reportUnknownLambdaType, reportUnknownMemberType]
        ({"loss": PerSession()}, "loss PerSession breaks a law: a batch gives one finite number"),
        ({"sampler": OwnPositives()}, "sampler OwnPositives with Uniform breaks a law: no negative is a positive"),
    ],
)
def test_a_fit_with_a_part_that_breaks_a_law_names_it(options: dict[str, Any], message: str):
    given: dict[str, Any] = {"encoder": nearnext.MaxPool(4), "training": TrainingConfig(epochs=1, device="cpu")}
    with pytest.raises(ContractError, match=message):
        SML(**{**given, **options}).fit(LOG)


@pytest.mark.parametrize(("check", "part"), [(check_recommender, Pop), (check_encoder, Built), (check_loss, Gap)])
def test_a_class_instead_of_an_object_is_named(check: Any, part: type):
    with pytest.raises(ConfigError, match=f"found the class {part.__name__}; make one"):
        check(part)
    with pytest.raises(ConfigError, match="expected Sampler as sampler, found a str"):
        check_sampler("uniform")  # pyright: ignore[reportArgumentType]


def test_an_own_part_that_keeps_the_laws_is_fitted():
    model: Recommender = SML(encoder=Built(), loss=Gap(), training=TrainingConfig(epochs=1, device="cpu")).fit(LOG)
    assert len(model.recommend([["a"]], k=3)[0].items) == 3
