"""The distinct items of a step of GRU4Rec, and where an epoch goes on."""

import numpy as np
import pytest
import torch

from nearnext.data.sessions import Sessions
from nearnext.recommenders.gru4rec.network import SessionParallel, StepReader
from nearnext.sampling.windows import Step

LOG = Sessions.of([[f"i{(s * 7 + j * j) % 11}" for j in range(2 + s % 4)] for s in range(90)])


def batches_of(**options: object) -> SessionParallel:
    given = {"n_sample": 5, "sample_alpha": 0.5, "logq": 1.0, "inputs": False, "seed": 3, **options}
    return SessionParallel(LOG, 6, **given)  # pyright: ignore[reportArgumentType]


def test_columns_count_how_often_an_item_occurs():
    read = StepReader(batches_of(logq=0.0), LOG.item_counts())
    slots = np.arange(2)
    for _ in range(2):
        step = Step(slots, slots[:0], np.array([4, 9], np.int32), np.array([5, 4], np.int32), slots)
        batch = read(step, np.array([5, 5, 7], np.int32))
        assert batch.rows["outputs"].tolist() == [5, 4, 7, 9]
        assert batch.target_at.tolist() == [0, 1]
        assert batch.input_at.tolist() == [1, 3]
        assert batch.occurrences.tolist() == [3, 1, 1, 0]
        assert batch.correction.tolist() == [0, 0]


@pytest.mark.parametrize("inputs", [False, True])
def test_an_epoch_that_goes_on_has_the_steps_that_were_left(inputs: bool):
    batches = batches_of(inputs=inputs)
    whole = list(batches.epoch(1))
    assert len(whole) == batches.n_batches
    for start in (0, 1, len(whole) - 1):
        for one, other in zip(batches.epoch(1, start), whole[start:], strict=True):
            torch.testing.assert_close(vars(one), vars(other))
    assert any(not torch.equal(a.rows["outputs"], b.rows["outputs"]) for a, b in zip(whole, batches.epoch(2)))  # noqa: B905
