"""What is compared between epochs: how well the network predicts the next item of sessions that were held out."""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from nearnext.data.prefixes import Prefixes
from nearnext.data.sessions import Sessions
from nearnext.model.encoding import SessionEncoding, item_vectors
from nearnext.model.network import SessionItemNetwork
from nearnext.processes import in_threads
from nearnext.retrieval import ExactIndex
from nearnext.topk import ranks_of
from nearnext.types import IndexArray

K = 20
CHUNK = 1024


@dataclass(frozen=True, eq=False)
class Validation:
    """Proper prefixes of held-out sessions and the items that come next, 0 if unknown in training."""

    prefixes: Prefixes
    targets: IndexArray

    @classmethod
    def of(cls, sessions: Sessions, most: int | None = None) -> "Validation":
        """The cases of sessions in the training vocabulary, about ``most`` at most, evenly over the period."""
        every = Prefixes.every(sessions)
        step = -(-len(every) // most) or 1 if most else 1
        prefixes = every.take(np.arange(0, len(every), step))
        return cls(prefixes, sessions.items[prefixes.ends])

    def measure(self, network: SessionItemNetwork) -> dict[str, float]:
        """``HitRate@20`` and ``MRR@20`` over all items, none sampled; an unknown next item is a miss."""
        index = ExactIndex(item_vectors(network), network.distance)
        training = network.training
        network.eval()
        encode, ranks = SessionEncoding(network), np.zeros(len(self.targets))

        def work(begins: Iterable[int]) -> None:
            for begin in begins:
                rows = slice(begin, begin + CHUNK)
                vectors, _ = encode(self.prefixes.slice(begin, begin + CHUNK))
                ranks[rows] = ranks_of(self.targets[rows], index.search(vectors, K).items)

        in_threads(work, range(0, len(self.targets), CHUNK))
        network.train(training)
        found = ranks > 0
        return {f"HitRate@{K}": float(found.mean()), f"MRR@{K}": float((found / np.maximum(ranks, 1)).mean())}
