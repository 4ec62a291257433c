"""What negatives are drawn from: one distribution over the items, and how probably a batch holds an item."""

from dataclasses import dataclass

import numpy as np

from nearnext.compiled import compiled
from nearnext.data.sessions import Sessions
from nearnext.types import BoolArray, FloatArray, IndexArray, Int64Array, ScoreArray


@dataclass(frozen=True, eq=False)
class Proposal:
    """A distribution over items 1..I, from which one draw costs the same whatever I is (alias method).

    Reference: Vose, A Linear Algorithm for Generating Random Numbers with a Given Distribution, IEEE TSE 1991.
    """

    shares: FloatArray  # probability of each item; 0 at index 0: [I + 1]
    thresholds: FloatArray  # below it, position j stands for item j + 1: [I]
    aliases: IndexArray  # what position j stands for otherwise: [I]

    @classmethod
    def of(cls, weights: FloatArray) -> "Proposal":
        """The distribution proportional to non-negative weights, 0 at index 0 and above 0 somewhere: [I + 1]."""
        shares = weights / weights.sum()
        thresholds, aliases = _alias_table(shares[1:] * (len(shares) - 1))
        return cls(shares, thresholds, aliases)

    @classmethod
    def by_popularity(cls, counts: Int64Array, alpha: float) -> "Proposal":
        """The distribution proportional to clicks^alpha; an item without clicks is never drawn: [I + 1]."""
        clicked = counts > 0
        clicked[0] = False
        weights = np.zeros(len(counts))
        # Relative to the largest result, so that no exponent overflows.
        reference = counts[clicked].max() if alpha >= 0 else counts[clicked].min()
        weights[clicked] = (counts[clicked] / reference) ** alpha
        return cls.of(weights)

    def draw(self, rng: np.random.Generator, size: int | tuple[int, ...]) -> IndexArray:
        """Items drawn independently: an array of the given shape."""
        uniforms = rng.random(size)
        return _draw(self.thresholds, self.aliases, uniforms.reshape(-1)).reshape(uniforms.shape)


@dataclass(frozen=True, eq=False)
class BatchItems:
    """Items that stand for the whole catalogue in a batch: n drawn by popularity^α, and the clicks of the batch.

    Reference: Bengio, Senécal 2008 (logQ).

    >>> items = BatchItems.of(Sessions.of([["a", "b"]]), n=1, alpha=0.0)
    >>> np.exp(items.log_presence(np.array([1, 2]), n_clicks=0)).tolist()  # one draw from two items
    [0.393..., 0.393...]
    """

    proposal: Proposal  # what they are drawn from
    n: int  # how many are drawn, some of them possibly twice
    clicked: FloatArray  # share of each item among the clicks: [I + 1]

    @classmethod
    def of(cls, sessions: Sessions, n: int, alpha: float) -> "BatchItems":
        """Draws from the clicked items of sessions, at most as many as there are."""
        counts = sessions.item_counts()
        counts[0] = 0
        n_items = int(np.count_nonzero(counts))
        return cls(Proposal.by_popularity(counts, alpha), min(n, n_items), counts / counts.sum())

    def log_presence(self, items: IndexArray | Int64Array, n_clicks: int) -> ScoreArray:
        """ln(1 − exp(−expected count)): how probably each item is among those of a batch of so many clicks: [U]."""
        expected = self.n * self.proposal.shares[items] + n_clicks * self.clicked[items]
        return np.log(-np.expm1(-np.maximum(expected, 1e-12))).astype(np.float32)


def log_counts(expected: FloatArray, mask: BoolArray) -> ScoreArray:
    """Natural logarithms of expected counts, 0 where masked."""
    return np.log(expected, out=np.zeros_like(expected), where=mask).astype(np.float32)


@compiled()
def _alias_table(scaled: FloatArray) -> tuple[FloatArray, IndexArray]:
    """Thresholds and aliases of probabilities that were multiplied by their number, so that their mean is 1."""
    size = len(scaled)
    scaled = scaled.copy()
    thresholds = np.ones(size)
    aliases = np.arange(1, size + 1).astype(np.int32)
    small, large = np.empty(size, dtype=np.int32), np.empty(size, dtype=np.int32)
    n_small, n_large = 0, 0
    for position in range(size):
        if scaled[position] < 1:
            small[n_small] = position
            n_small += 1
        else:
            large[n_large] = position
            n_large += 1
    while n_small and n_large:
        n_small -= 1
        poor, rich = small[n_small], large[n_large - 1]
        thresholds[poor] = scaled[poor]
        aliases[poor] = rich + 1
        scaled[rich] -= 1 - scaled[poor]
        if scaled[rich] < 1:
            n_large -= 1
            small[n_small] = rich
            n_small += 1
    # What is left differs from 1 by rounding only; an item that is never drawn must not be left.
    for at in range(n_small):
        if scaled[small[at]] <= 0:
            thresholds[small[at]], aliases[small[at]] = 0.0, np.argmax(scaled) + 1
    return thresholds, aliases


@compiled()
def _draw(thresholds: FloatArray, aliases: IndexArray, uniforms: FloatArray) -> IndexArray:
    items = np.empty(len(uniforms), dtype=np.int32)
    for at in range(len(uniforms)):
        scaled = uniforms[at] * len(thresholds)
        position = min(int(scaled), len(thresholds) - 1)
        items[at] = position + 1 if scaled - position < thresholds[position] else aliases[position]
    return items
