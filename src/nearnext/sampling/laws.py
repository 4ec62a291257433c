"""The laws of samplers."""

from collections.abc import Iterator
from typing import Any

import numpy as np

from nearnext.data.sessions import Sessions
from nearnext.options import require_type
from nearnext.registration import Laws, require_lawful
from nearnext.sampling.batch import Batch
from nearnext.sampling.positives import NeighbourPositives
from nearnext.sampling.sampler import Sampler

LOG = [[f"i{(s * 7 + j * j) % 23}" for j in range(1 + s * s % 14)] for s in range(60)]
"""Sessions of 1 to 14 clicks with repeats, over 23 items."""

BATCH_SIZE = 7

TYPES: dict[str, type[np.generic]] = {
    "sessions": np.int64,
    "prefixes": np.int32,
    "positives": np.int32,
    "positive_mask": np.bool_,
    "negatives": np.int32,
    "negative_mask": np.bool_,
    "log_proposal": np.float32,
}


def check_sampler(sampler: Sampler) -> None:
    """A check that a sampler keeps the laws of its kind, on a small log of its own.

    Raises:
        ConfigError: no sampler, for example the class instead of an object of it.
        ContractError: it breaks a law; the message names it and an example.

    >>> from nearnext.sampling import EveryPrefix, InBatch
    >>> check_sampler(EveryPrefix(n_positives=2, negatives=InBatch()))
    """
    require_type("sampler", sampler, Sampler, "make one, for example EveryPrefix()")
    require_lawful(sampler, LAWS, f"sampler {type(sampler).__name__} with {type(sampler.negatives).__name__}")


def _types(sampler: Sampler) -> str | None:
    for batch in _epoch(sampler, Sessions.of(LOG)):
        for name, kind in TYPES.items():
            array: Any = getattr(batch, name, None)
            if not isinstance(array, np.ndarray) or array.dtype != np.dtype(kind):  # pyright: ignore[reportUnknownMemberType]
                found = getattr(array, "dtype", type(array).__name__)  # pyright: ignore[reportUnknownArgumentType]
                return f"expected {name} of {np.dtype(kind)}, found {found}"
    return None


def _shapes(sampler: Sampler) -> str | None:
    for batch in _epoch(sampler, Sessions.of(LOG)):
        rows, listed = len(batch.sessions), batch.negative_mask.shape[-1]
        expected = {
            "prefixes": [(rows, batch.prefixes.shape[-1])],
            "positives": [(rows, sampler.n_positives)],
            "positive_mask": [(rows, sampler.n_positives)],
            "negative_mask": [(rows, listed)],
            "negatives": [(rows, listed), (listed,)],
            "log_proposal": [batch.negatives.shape],
        }
        for name, shapes in expected.items():
            found = getattr(batch, name).shape
            if found not in shapes:
                return f"expected {name} of shape {' or '.join(map(str, shapes))}, found {found}"
    return None


def _padding(sampler: Sampler) -> str | None:
    for batch in _epoch(sampler, Sessions.of(LOG)):
        for name in ("prefixes", "positives"):
            array = getattr(batch, name)
            for row in array[np.any((array[:, :-1] == 0) & (array[:, 1:] > 0), axis=1)]:
                return f"found {name} {row.tolist()}"
        for row in batch.prefixes[batch.prefixes[:, 0] == 0]:
            return f"found an example without clicks, {row.tolist()}"
        if not np.array_equal(batch.positive_mask, batch.positives > 0):
            return "positive_mask is not positives > 0"
    return None


def _known(sampler: Sampler) -> str | None:
    log = Sessions.of(LOG)
    for batch in _epoch(sampler, log):
        for name in ("prefixes", "positives", "negatives"):
            array = getattr(batch, name)
            if array.min() < 0 or array.max() > log.n_items:
                return f"found {name} from {array.min()} to {array.max()}, of {log.n_items} items"
        if batch.negative_mask[np.broadcast_to(batch.negatives, batch.negative_mask.shape) == 0].any():
            return "found an unmasked negative of index 0"
        if not np.all(np.isfinite(batch.log_proposal)):
            return "found a log_proposal that is not finite"
    return None


def _no_positives(sampler: Sampler) -> str | None:
    for batch in _epoch(sampler, Sessions.of(LOG)):
        negatives = np.broadcast_to(batch.negatives, batch.negative_mask.shape)
        for row, mask in enumerate(batch.negative_mask):
            both = set(negatives[row][mask].tolist()) & set(batch.positives[row][batch.positive_mask[row]].tolist())
            if both:
                return f"item {min(both)} is a positive and a negative of one example; mask it in negative_mask"
    return None


def _seeded(sampler: Sampler) -> str | None:
    log = Sessions.of(LOG)
    for number, (one, other) in enumerate(zip(_epoch(sampler, log), _epoch(sampler, log), strict=True)):
        if differing := _differing(one, other):
            return f"{differing} of batch {number} differs between two runs; draw from epoch_order(seed, epoch) alone"
    return None


def _epochs(sampler: Sampler) -> str | None:
    log = Sessions.of(LOG)
    first = np.concatenate([batch.sessions for batch in _epoch(sampler, log)])
    for what, batches in (("epoch", _epoch(sampler, log, epoch=1)), ("seed", _epoch(sampler, log, seed=8))):
        if np.array_equal(first, np.concatenate([batch.sessions for batch in batches])):
            return f"another {what} has the same order"
    return None


def _resumes(sampler: Sampler) -> str | None:
    log = Sessions.of(LOG)
    whole = list(_epoch(sampler, log))
    for start in (1, len(whole) - 1, len(whole)):
        tail = list(_epoch(sampler, log, start_batch=start))
        if len(tail) != len(whole) - start:
            return f"expected {len(whole) - start} batches from batch {start} on, found {len(tail)}"
        for number, (one, other) in enumerate(zip(whole[start:], tail, strict=True), start):
            if differing := _differing(one, other):
                return f"{differing} of batch {number} is another when an epoch goes on at batch {start}"
    return None


def _counted(sampler: Sampler) -> str | None:
    log = Sessions.of(LOG)
    expected, found = sampler.n_batches(log, BATCH_SIZE), sum(1 for _ in _epoch(sampler, log))
    return None if found == expected else f"n_batches says {expected}, an epoch has {found}"


def _unmodified(sampler: Sampler) -> str | None:
    log, untouched = Sessions.of(LOG), Sessions.of(LOG)
    for number, (batch, expected) in enumerate(
        zip(_epoch(sampler, log), list(_epoch(sampler, untouched)), strict=True)
    ):
        if differing := _differing(batch, expected):
            return f"{differing} of batch {number} changes with what is written into earlier batches"
        for name in TYPES:
            getattr(batch, name).fill(0)
    return None if log.fingerprint() == untouched.fingerprint() else "the log changes with what is written into batches"


LAWS: Laws[Sampler] = {
    "arrays of a batch have the types of Batch": _types,
    "arrays of a batch have the shapes of Batch": _shapes,
    "padding is 0, at the right, and masked": _padding,
    "items are known ones, and index 0 is masked": _known,
    "no negative is a positive of the same example": _no_positives,
    "the same seed gives the same batches": _seeded,
    "another epoch or seed gives another order": _epochs,
    "an epoch that goes on at a batch gives the rest of the whole one": _resumes,
    "an epoch has n_batches batches": _counted,
    "the log and other batches are not modified": _unmodified,
}


def _epoch(sampler: Sampler, log: Sessions, *, epoch: int = 0, seed: int = 7, start_batch: int = 0) -> Iterator[Batch]:
    neighbours = _neighbours(log) if sampler.needs_neighbours else None
    return sampler.epoch(log, epoch, seed, BATCH_SIZE, start_batch=start_batch, neighbours=neighbours)


def _neighbours(log: Sessions) -> NeighbourPositives:
    """Up to 4 items that a session does not contain; some sessions have none."""
    clicks = [set(log.items[begin:end].tolist()) for begin, end in zip(log.offsets, log.offsets[1:], strict=False)]
    return NeighbourPositives.of(
        [[item for item in range(1 + s % 9, 24) if item not in own][: s % 5] for s, own in enumerate(clicks)]
    )


def _differing(one: Batch, other: Batch) -> str | None:
    return next((name for name in TYPES if not np.array_equal(getattr(one, name), getattr(other, name))), None)
