"""VSKNN and VSTAN as published, run plainly: sets, dictionaries and loops over candidate sessions.

This is what the compiled kernel is compared with, in results (tests) and in speed (benchmarks). It follows the
descriptions in Ludewig & Jannach 2018 and Garg et al. 2019, one step a function, and shares no code with nearnext's
kernel, only a choice that the publications leave open: of equally similar sessions the more recent one is nearer.
"""

import math
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

Weight = Callable[[int, int], float]
DAY = 86_400.0


def position_weights(name: str) -> Weight:
    """Weight of position i (from 1) in a session of n clicks."""
    weights: dict[str, Weight] = {
        "same": lambda _i, _n: 1.0,
        "div": lambda i, n: i / n,
        "linear": lambda i, n: 1 - 0.1 * (n - i) if i <= 10 else 0.0,
        "quadratic": lambda i, n: (i / n) ** 2,
        "log": lambda i, n: 1 / math.log10(n - i + 1.7),
    }
    return weights[name]


def score_weights(name: str) -> Callable[[int], float]:
    """Weight of a vote whose most recent shared click is i clicks back (1: the last)."""
    weights: dict[str, Callable[[int], float]] = {
        "same": lambda _i: 1.0,
        "div": lambda i: 1 / i,
        "linear": lambda i: 1 - 0.1 * i if i <= 100 else 0.0,
        "quadratic": lambda i: 1 / (i * i),
        "log": lambda i: 1 / math.log10(i + 1.7),
    }
    return weights[name]


@dataclass
class PlainIndex:
    """Training sessions as lists of items, with the time of their last click in seconds."""

    sessions: Sequence[Sequence[int]]
    times: Sequence[float]
    sessions_of: dict[int, set[int]] = field(default_factory=lambda: defaultdict(set))
    idf: dict[int, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        clicks: dict[int, int] = defaultdict(int)
        for number, session in enumerate(self.sessions):
            for item in session:
                self.sessions_of[item].add(number)
                clicks[item] += 1
        self.idf = {item: math.log(len(self.sessions) / count) for item, count in clicks.items()}

    def candidates(self, prefix: Sequence[int], sample_size: int) -> list[int]:
        """The most recent sessions that share an item with the prefix, most recent first."""
        found: set[int] = set()
        for item in prefix:
            found |= self.sessions_of.get(item, set())
        newest_first = sorted(found, key=lambda number: (-self.times[number], -number))
        return newest_first[:sample_size] if sample_size else newest_first


def similarity(kind: str, weights: dict[int, float], items: set[int]) -> float:
    """Similarity of a weighted prefix to a set of items."""
    shared = sum(weight for item, weight in weights.items() if item in items)
    n_shared = len(weights.keys() & items)
    return {
        "cosine": lambda: shared / (math.sqrt(sum(w * w for w in weights.values())) * math.sqrt(len(items))),
        "jaccard": lambda: shared / (sum(weights.values()) + len(items) - shared),
        "dice": lambda: 2 * shared / (sum(weights.values()) + len(items)),
        "vec": lambda: shared / len(weights),
        "binary": lambda: 2 * n_shared / (2 * n_shared + len(weights) + len(items)),
    }[kind]()


def nearest(scored: list[tuple[int, float]], k: int) -> list[tuple[int, float]]:
    """The k most similar of candidates given most recent first; similarities equal as 32-bit floats are equal."""
    positive = [pair for pair in scored if pair[1] > 0]
    return sorted(positive, key=lambda pair: -np.float32(pair[1]))[:k]


def plain_vsknn(
    index: PlainIndex,
    prefix: Sequence[int],
    *,
    k: int = 1000,
    sample_size: int = 5000,
    kind: str = "vec",
    weighting: str = "log",
    weighting_score: str = "quadratic",
    idf_weighting: float = 2.0,
) -> dict[int, float]:
    """Scores of items after a prefix by VSKNN."""
    weight = position_weights(weighting)
    weights = {item: weight(position, len(prefix)) for position, item in enumerate(prefix, start=1)}
    scored = [
        (number, similarity(kind, weights, set(index.sessions[number])))
        for number in index.candidates(prefix, sample_size)
    ]
    decay = score_weights(weighting_score)
    scores: dict[int, float] = defaultdict(float)
    for number, value in nearest(scored, k):
        items = set(index.sessions[number])
        step = next(step for step, item in enumerate(reversed(prefix), start=1) if item in items)
        for item in items:
            scores[item] += value * decay(step) * (1 + idf_weighting * index.idf[item])
    return dict(scores)


def plain_vstan(
    index: PlainIndex,
    prefix: Sequence[int],
    now: float,
    *,
    k: int = 1000,
    sample_size: int = 2500,
    kind: str = "cosine",
    lambda_spw: float = 3.62,
    lambda_snh: float = 100.0,
    lambda_inh: float = 0.4525,
    lambda_ipw: float = 3.62,
    lambda_idf: float = 1.0,
) -> dict[int, float]:
    """Scores of items after a prefix by VSTAN; ``now`` in seconds."""
    n = len(prefix)
    weights = {item: math.exp((position - n) / lambda_spw) for position, item in enumerate(prefix, start=1)}
    scored: list[tuple[int, float]] = []
    for number in index.candidates(prefix, sample_size):
        age = now - index.times[number]
        value = similarity(kind, weights, set(index.sessions[number])) * math.exp(-age / (lambda_snh * DAY))
        scored.append((number, value))
    scores: dict[int, float] = defaultdict(float)
    for number, value in nearest(scored, k):
        session = index.sessions[number]
        last_place = {item: place for place, item in enumerate(session, start=1)}
        anchor = max(place for item, place in last_place.items() if item in weights)
        step = next(step for step, item in enumerate(reversed(prefix), start=1) if item in last_place)
        for item, place in last_place.items():
            vote = value * math.exp(-abs(place - anchor) / lambda_inh) * math.exp((1 - step) / lambda_ipw)
            scores[item] += vote * (1 + lambda_idf * index.idf[item])
    return dict(scores)
