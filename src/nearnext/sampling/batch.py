"""What one training step reads: prefixes, their positives and their negatives."""

from dataclasses import dataclass

from nearnext.types import BoolArray, IndexArray, Int64Array, ScoreArray

__all__ = ["Batch"]


@dataclass(frozen=True, eq=False)
class Batch:
    """B training examples as item indices; 0 is padding and always masked.

    Attributes:
        sessions: session that each example is taken from: [B].
        prefixes: what is given, oldest click first, padded at the right; of a longer prefix the last T clicks: [B, T].
        positives: what follows, nearest click first, then what fills up a short list: [B, P].
        positive_mask: False where a short list is padded: [B, P].
        negatives: [B, N], or [N] where the whole batch shares them.
        negative_mask: False where an entry is no negative of that example: [B, N].
        log_proposal: natural logarithm of how often the proposal is expected to draw each negative for an example that
            may have it, as a correction for popularity (logQ) needs; 0 at index 0: [B, N], or [N] where shared.

    >>> import numpy as np
    >>> from nearnext.data.sessions import Sessions
    >>> from nearnext.sampling import PositiveNegative
    >>> batch = next(PositiveNegative(max_length=2).epoch(Sessions.of([["a", "b"], ["b", "c"]]), 0, 7, batch_size=2))
    >>> batch.prefixes.shape, batch.positives.shape, batch.negatives.shape, batch.shared
    ((2, 2), (2, 8), (2, 8), False)
    """

    sessions: Int64Array
    prefixes: IndexArray
    positives: IndexArray
    positive_mask: BoolArray
    negatives: IndexArray
    negative_mask: BoolArray
    log_proposal: ScoreArray

    def __len__(self) -> int:
        return len(self.sessions)

    @property
    def shared(self) -> bool:
        """Whether all examples share one list of negatives [N]."""
        return self.negatives.ndim == 1
