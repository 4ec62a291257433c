"""A batch as tensors whose item numbers are positions in the short list of rows that the batch reads."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from nearnext.model.tensors import as_tensor
from nearnext.sampling import Batch
from nearnext.sampling.distinct import DistinctItems

__all__ = ["BatchReader", "Minibatch"]

PADDING = np.zeros(1, dtype=np.int32)


@dataclass(frozen=True, eq=False)
class Minibatch:
    """B training examples on a device; items are positions in ``rows``, 0 is padding.

    Attributes:
        rows: distinct item indices that the batch reads, 0 first: [U].
        prefixes: positions of the clicks, no wider than the longest prefix: [B, T].
        positives: positions of the positives: [B, P].
        negatives: positions of the negatives: [B, N], or [N] where shared.
        positive_mask: [B, P].
        negative_mask: [B, N].
        positive_indices: item indices of the positives: [B, P].
        negative_indices: item indices of the negatives: [B, N], or [N] where shared.
        log_proposal: as in `Batch`.
    """

    rows: Tensor
    prefixes: Tensor
    positives: Tensor
    negatives: Tensor
    positive_mask: Tensor
    negative_mask: Tensor
    positive_indices: Tensor
    negative_indices: Tensor
    log_proposal: Tensor

    def __len__(self) -> int:
        return len(self.prefixes)

    @property
    def n_counted(self) -> int:
        """Examples with a positive and a negative: the ones that a loss is the mean over."""
        return int((self.positive_mask.any(dim=1) & self.negative_mask.any(dim=1)).sum())

    def rows_of(self, table: str) -> Tensor:  # noqa: ARG002 - all tables
        """The rows that the step reads, of every table: [U]."""
        return self.rows

    def share(self, process: int, n_processes: int) -> "Minibatch":
        """The examples of one of several processes; all read the same rows."""
        mine = slice(process, None, n_processes)
        own = self.negatives.ndim > 1
        return Minibatch(
            rows=self.rows,
            prefixes=self.prefixes[mine],
            positives=self.positives[mine],
            negatives=self.negatives[mine] if own else self.negatives,
            positive_mask=self.positive_mask[mine],
            negative_mask=self.negative_mask[mine],
            positive_indices=self.positive_indices[mine],
            negative_indices=self.negative_indices[mine] if own else self.negative_indices,
            log_proposal=self.log_proposal[mine] if own else self.log_proposal,
        )


class BatchReader:
    """A function from batches to minibatches, with memory of its own.

    Args:
        n_items: number of items I.
        device: where the tensors go; ``rows`` too.
    """

    def __init__(self, n_items: int, device: torch.device) -> None:
        self._distinct = DistinctItems(n_items)
        self._device = device

    def __call__(self, batch: Batch) -> Minibatch:
        """The batch on the device."""
        # Most prefixes are shorter than the longest that a sampler gives.
        longest = int((batch.prefixes > 0).any(axis=0).sum())
        parts = (batch.prefixes[:, : max(longest, 1)], batch.positives, batch.negatives)
        # Row 0 of the short table stands for padding, as it does in the whole one.
        rows, positions = self._distinct(np.concatenate([PADDING, *(part.ravel() for part in parts)]))
        positions = positions[1:]
        cuts = np.cumsum([part.size for part in parts])[:-1]
        prefixes, positives, negatives = (
            cut.reshape(part.shape) for cut, part in zip(np.split(positions, cuts), parts, strict=True)
        )
        return Minibatch(
            rows=self._tensor(rows),
            prefixes=self._tensor(prefixes),
            positives=self._tensor(positives),
            negatives=self._tensor(negatives),
            positive_mask=self._tensor(batch.positive_mask),
            negative_mask=self._tensor(batch.negative_mask),
            positive_indices=self._tensor(batch.positives.astype(np.int64)),
            negative_indices=self._tensor(batch.negatives.astype(np.int64)),
            log_proposal=self._tensor(batch.log_proposal),
        )

    def _tensor(self, array: "np.typing.NDArray[np.generic]") -> Tensor:
        return as_tensor(array).to(self._device)
