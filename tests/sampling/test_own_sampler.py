"""Your own sampler: three public names make one that keeps the laws and trains a model."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pytest

import nearnext
from nearnext import Sessions
from nearnext.registry import SAMPLERS
from nearnext.sampling import InBatch, Negatives, Uniform
from nearnext.testing import check_sampler
from nearnext.types import FloatArray, Int64Array


@dataclass(frozen=True, kw_only=True)
class LastClick(nearnext.Sampler):
    """One example a session: all clicks but the last."""

    prefix_length: int = 15  # pyright: ignore[reportIncompatibleMethodOverride] - a field may be the property

    def units(self, sessions: Sessions) -> Int64Array:
        return sessions.offsets[1:][sessions.lengths > 1] - 1

    def chances(self, sessions: Sessions) -> FloatArray:
        return np.isin(np.arange(sessions.n_events), self.units(sessions)).astype(float)


@pytest.fixture
def registered() -> Iterator[None]:
    nearnext.register("last-click")(LastClick)
    yield
    SAMPLERS.remove("last-click")


@pytest.mark.parametrize("negatives", [Uniform(), InBatch()])
def test_three_public_names_make_a_sampler_that_keeps_the_laws(negatives: Negatives):
    check_sampler(LastClick(n_positives=2, negatives=negatives))


def test_it_gives_the_examples_that_it_names():
    log = Sessions.of([["a", "b", "c"], ["d"], ["b", "a"]])
    (batch,) = LastClick(n_positives=1, prefix_length=2).epoch(log, 0, 7, batch_size=4)
    names = ["", *log.vocabulary.ids.to_list()]
    found = {(tuple(names[item] for item in row), names[target]) for row, (target,) in zip(
        batch.prefixes, batch.positives, strict=True
    )}  # fmt: skip
    assert found == {(("a", "b"), "c"), (("b", ""), "a")}


@pytest.mark.usefixtures("registered")
def test_a_method_trains_with_it_by_name():
    log = Sessions.of([[f"i{(s + at) % 9}" for at in range(3)] for s in range(60)])
    options = {"sampler": "last-click", "dim": 8, "epochs": 1, "device": "cpu"}
    model = nearnext.make_recommender("sml-maxpool-ncas", options).fit(log)
    assert len(model.recommend([["i1"]], k=3)[0].items) == 3
