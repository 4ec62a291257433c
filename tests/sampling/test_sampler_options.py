"""Options of samplers: names, ranges, and logs that cannot be sampled."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from nearnext.data.sessions import Sessions
from nearnext.data.vocabulary import Vocabulary
from nearnext.errors import ConfigError, DataError
from nearnext.registry import NEGATIVES, SAMPLERS
from nearnext.sampling import (
    EveryPrefix,
    InBatch,
    InversePopularity,
    Popularity,
    PositiveNegative,
    SlidingWindow,
    Uniform,
)

LOG = Sessions.of([["a", "b"], ["b", "c"]])


def test_every_name_builds_its_config_with_defaults():
    assert {name: type(SAMPLERS.make(name)) for name in SAMPLERS} == dict(SAMPLERS)
    assert {name: type(NEGATIVES.make(name)) for name in NEGATIVES} == dict(NEGATIVES)


def test_parts_made_by_name_equal_the_objects_written_out():
    negatives = NEGATIVES.make("popularity", alpha=0.5, n_negatives=3)
    built = SAMPLERS.make("positive-negative", n_positives=4, fill="knn", negatives=negatives)
    expected = PositiveNegative(n_positives=4, fill="knn", negatives=Popularity(alpha=0.5, n_negatives=3))
    assert built == expected
    assert hash(built) == hash(expected)


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (
            lambda: SAMPLERS.make("walk"),
            "unknown sampler 'walk'; known: positive-negative, sliding-window, every-prefix",
        ),
        (
            lambda: NEGATIVES.make("hard"),
            "unknown negatives 'hard'; known: uniform, popularity, inverse-popularity, reversed-popularity",
        ),
        (lambda: SAMPLERS.make("every-prefix", negatives="hard"), "expected Negatives as negatives, found"),
        (lambda: SAMPLERS.make("every-prefix", negatives=3), "expected Negatives as negatives, found"),
        (lambda: SAMPLERS.make("every-prefix", window=3), "every-prefix has no option 'window'; known: n_positives"),
        (lambda: NEGATIVES.make("uniform", alpha=1), "uniform has no option 'alpha'; known: exclude, n_negatives"),
        (
            lambda: SAMPLERS.make("positive-negative", fill="zero"),
            "unknown fill 'zero'; known: knn, repeat, first, own, mask",
        ),
        (lambda: PositiveNegative(n_positives=0), "n_positives must be a whole number of at least 1, found 0"),
        (lambda: PositiveNegative(max_length=0), "max_length must be a whole number of at least 1"),
        (
            lambda: SAMPLERS.make("positive-negative", max_length="15"),
            "max_length must be a whole number of at least 1, found '15'",
        ),
        (lambda: EveryPrefix(max_length=-1), "max_length must be a whole number of at least 1"),
        (lambda: SAMPLERS.make("every-prefix", unit="click"), "unknown unit 'click'; known: prefix, session"),
        (lambda: SlidingWindow(window=0), "window must be a whole number of at least 1"),
        (lambda: Uniform(n_negatives=0), "n_negatives must be a whole number of at least 1"),
        (lambda: NEGATIVES.make("uniform", exclude="none"), "unknown exclude 'none'; known: positives, session"),
        (lambda: NEGATIVES.make("uniform", share="all"), "unknown share 'all'; known: none, negatives, batch"),
        (lambda: SAMPLERS.make("positive-negative", overlaps=1), "overlaps must be true or false, found 1"),
        (lambda: Popularity(alpha=-0.5), "alpha must be a finite number of at least 0, found -0.5"),
        (lambda: InversePopularity(alpha=float("nan")), "alpha must be a finite number of at least 0, found nan"),
        (lambda: InBatch(extra=-1), "extra must be a whole number of at least 0"),
        (lambda: InBatch(alpha=True), "alpha must be a finite number of at least 0, found True"),
    ],
)
def test_an_option_out_of_range_is_one_clear_line(build: Callable[[], Any], message: str):
    with pytest.raises(ConfigError, match=message) as caught:
        build()
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"batch_size": 0}, "batch_size must be a whole number of at least 1"),
        ({"epoch": -1}, "epoch must be a whole number of at least 0"),
        ({"seed": -1}, "seed must be a whole number of at least 0"),
        ({"start_batch": -1}, "start_batch must be a whole number of at least 0"),
        ({"start_batch": 3}, "start_batch must be at most 2, the batches of an epoch, found 3"),
    ],
)
def test_a_bad_epoch_is_refused_before_the_first_batch(options: dict[str, Any], message: str):
    arguments: dict[str, Any] = {"epoch": 0, "seed": 7, "batch_size": 1} | options
    with pytest.raises(ConfigError, match=message):
        PositiveNegative().epoch(LOG, **arguments)


@pytest.mark.parametrize("name", SAMPLERS)
def test_logs_that_cannot_be_sampled_are_refused(name: str):
    sampler = SAMPLERS.make(name)
    unknown = LOG.with_vocabulary(Vocabulary.of(["a", "b"]))
    with pytest.raises(DataError, match="clicks on unknown items; drop them before sampling"):
        sampler.epoch(unknown, 0, 7, 2)
    with pytest.raises(DataError, match="expected a session of at least 2 clicks to sample from, found none of 2"):
        sampler.epoch(Sessions.of([["a"], ["b"]]), 0, 7, 2)
    with pytest.raises(DataError, match="found none of 0"):
        sampler.epoch(LOG.select(np.zeros(2, dtype=np.bool_)), 0, 7, 2)
