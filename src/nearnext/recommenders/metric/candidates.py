"""Candidates: generators (the index of a metric model, and voters fitted on the same sessions), and lists of them."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from nearnext.compiled import compiled
from nearnext.data.prefixes import Prefixes
from nearnext.model.encoding import SessionEncoding
from nearnext.model.network import SessionItemNetwork
from nearnext.processes import in_threads
from nearnext.progress import track
from nearnext.recommenders.base import Recommender
from nearnext.recommenders.metric.features import Candidates, Evidence, Lists, collect
from nearnext.recommenders.metric.unclicked import UnclickedItems
from nearnext.recommenders.neighbours import SessionNeighbours
from nearnext.recommenders.ranking import CHUNK, RankChunk, Request
from nearnext.registry import RECOMMENDERS
from nearnext.retrieval import Index
from nearnext.topk import insert
from nearnext.types import BoolArray, IndexArray, Int64Array, ScoreArray


@compiled()
def best_candidates(
    offsets: Int64Array, candidates: IndexArray, values: ScoreArray, items: IndexArray, scores: ScoreArray
) -> IndexArray:
    """Write the k candidates [C] of the highest values [C], at least 0, into lists [B, k]; returns how many: [B]."""
    listed = np.zeros(len(offsets) - 1, dtype=np.int32)
    for row in range(len(listed)):
        n = 0
        for position in range(offsets[row], offsets[row + 1]):
            n = insert(np.int64(candidates[position]), values[position], n, items[row], scores[row])
        listed[row] = n
    return listed


def followed_by(near: Lists, own: IndexArray, items: IndexArray, scores: ScoreArray, temperature: float) -> IndexArray:
    """Append the nearest items, scores 1 + cosine, to lists [B, k] of all candidates; returns the new lengths: [B].

    An item that is farther by one temperature than the farthest candidate has 1 / e of the last candidate's score.
    """
    filled = own.copy()
    _follow(near.items, near.scores, filled, items, scores, temperature)
    return filled


@compiled()
def _follow(
    near: IndexArray,
    nearness: ScoreArray,
    filled: IndexArray,
    items: IndexArray,
    scores: ScoreArray,
    temperature: float,
) -> None:
    for row in range(len(filled)):
        n = filled[row]
        if n == 0 or n == items.shape[1]:
            continue
        listed, farthest = set(items[row, :n]), nearness[row, 0]
        for position in range(near.shape[1]):
            item = near[row, position]
            if item in listed:
                farthest = nearness[row, position]
        for position in range(near.shape[1]):
            item = near[row, position]
            if item == 0 or filled[row] == items.shape[1]:
                break
            if item not in listed:
                farther = max(np.float64(farthest) - np.float64(nearness[row, position]), 0.0)
                items[row, filled[row]] = item
                scores[row, filled[row]] = scores[row, n - 1] * np.exp(-farther / temperature)
                filled[row] += 1


VOTERS = ("vsknn", "vstan", "sr", "markov-1")
"""Methods that can be voters."""

Generate = Callable[[Prefixes, Request], tuple[Candidates, Lists, ScoreArray]]
"""Candidates of prefixes, which do not depend on the length of lists, at least k nearest items of each prefix, and the
embeddings of the prefixes.

A prefix without clicks that the metric model knows has no nearest items.
"""


Scored = Callable[[Candidates, ScoreArray], None]
"""Is given candidates and their probabilities, in the thread that ranks."""


def make_voters(names: Sequence[str], neighbours: int, sample_size: int) -> dict[str, Recommender]:
    """Unfitted voters by name, with default options except for the number of sessions."""
    looking = {"k": neighbours, "sample_size": sample_size}
    neighbour_based = {name: issubclass(RECOMMENDERS[name], SessionNeighbours) for name in names}
    return {name: RECOMMENDERS.make(name, **(looking if near else {})) for name, near in neighbour_based.items()}


def with_own_items(nearest: Lists, prefixes: Prefixes, items: BoolArray) -> Lists:
    """The lists with some items [I + 1], where the session has clicked them, instead of the farthest ones.

    >>> nearest = Lists(np.array([[1, 2]], np.int32), np.array([[1.9, 1.5]], np.float32))
    >>> prefixes = Prefixes.of([np.array([3, 1], np.int32)])
    >>> with_own_items(nearest, prefixes, np.array([False, False, False, True])).items.tolist()
    [[1, 3]]
    """
    at = np.flatnonzero(items[prefixes.items])
    listed = nearest.items.copy()
    for row in np.flatnonzero(np.searchsorted(at, prefixes.starts) < np.searchsorted(at, prefixes.ends)).tolist():
        clicks = prefixes.items[prefixes.starts[row] : prefixes.ends[row]]
        own = np.unique(clicks[items[clicks]])[: listed.shape[1] - 1]
        listed[row, listed.shape[1] - len(own) :] = own
    return Lists(listed, nearest.scores)


@dataclass(frozen=True, eq=False)
class CandidateGenerators:
    """The fitted generators of a metric model."""

    network: SessionItemNetwork  # for session embeddings
    index: Index  # of the items
    voters: dict[str, Recommender]  # fitted recommenders over the same vocabulary, by name
    evidence: Evidence  # what the candidates' features are computed from
    most: int  # candidates of the index and of each voter, at least 1
    informed: BoolArray | None = None  # item indices that sessions are embedded by, if they have any of them: [I + 1]

    @cached_property
    def clicked(self) -> BoolArray:
        """Which item indices have clicks: [I + 1]."""
        return next(iter(self.voters.values())).popularity > 0

    def items_covered_by_neighbours(self, prefixes: Prefixes, k: int) -> int:
        """Number of different items in the session-kNN voters' lists of k, the largest of several voters."""
        neighbours = [voter for voter in self.voters.values() if isinstance(voter, SessionNeighbours)]
        lists = [voter.rank(prefixes, k, threads=1).items for voter in neighbours]
        return max((len(np.unique(items[items > 0])) for items in lists), default=0)

    def candidates(self, prefixes: Prefixes) -> Candidates:
        """Candidates of many prefixes, chunk by chunk in threads."""
        request, found = Request(self.most, self.clicked), dict[int, Candidates]()
        with track("candidates", len(prefixes), "cases") as advance:

            def work(begins: Iterable[int]) -> None:
                generate = self.generator()
                for begin in begins:
                    part = prefixes.slice(begin, begin + CHUNK)
                    found[begin] = generate(part, request)[0]
                    advance(len(part))

            in_threads(work, range(0, len(prefixes), CHUNK))
        parts = [found[begin] for begin in sorted(found)]
        counts = np.concatenate([np.diff(part.offsets) for part in parts])
        return Candidates(
            np.concatenate([[0], np.cumsum(counts)]).astype(np.int64),
            np.concatenate([part.items for part in parts]),
            np.concatenate([part.features for part in parts]),
        )

    def generator(self) -> Generate:
        """A function with scratch memory of its own, used by one thread."""
        rankers = [voter.ranker(fill=False) for voter in self.voters.values()]
        encode = SessionEncoding(self.network, preferred=self.informed)
        scratch = np.zeros((2, len(self.clicked)), dtype=np.int32)
        clicked = None if self.clicked[1:].all() else self.clicked

        def generate(prefixes: Prefixes, request: Request) -> tuple[Candidates, Lists, ScoreArray]:
            sessions, known = encode(prefixes)
            admissible = request.admissible if clicked is None else request.admissible & clicked
            found = self.index.search(
                sessions,
                max(self.most, request.k),
                admissible=admissible,
                seen=prefixes if request.exclude_seen else None,
            )
            found.items[known == 0] = 0
            near = Lists(found.items, found.scores)
            nearest = near
            if request.k > self.most:
                nearest = Lists(near.items[:, : self.most].copy(), near.scores[:, : self.most].copy())
            if clicked is not None and not request.exclude_seen:
                nearest = with_own_items(nearest, prefixes, request.admissible & ~clicked)
            voting = Request(self.most, admissible, request.exclude_seen)
            shape = (len(rankers), len(prefixes), self.most)
            votes = Lists(np.zeros(shape, np.int32), np.zeros(shape, np.float32))
            for rank, voted, scored in zip(rankers, votes.items, votes.scores, strict=True):
                rank(prefixes, voting, voted, scored)
            np.maximum(votes.scores, 0.0, out=votes.scores)
            return collect(prefixes, nearest, sessions, votes, self.evidence, scratch), near, sessions

        return generate


def reranked(
    generators: CandidateGenerators,
    probabilities: Callable[[Candidates], ScoreArray],  # that each candidate is the next item: [C]
    unclicked: UnclickedItems | None,  # items that no generator proposes
    temperature: float,  # see `followed_by`
    scored: Scored | None = None,  # is given each chunk's candidates and their probabilities
) -> RankChunk:
    """What ranks candidates by their probabilities, for one thread; longer lists go on with the nearest items."""
    generate = generators.generator()

    def rank_chunk(prefixes: Prefixes, request: Request, items: IndexArray, scores: ScoreArray) -> IndexArray:
        found, near, sessions = generate(prefixes, request)
        values = probabilities(found)
        if scored is not None:
            scored(found, values)
        own = best_candidates(found.offsets, found.items, values, items, scores)
        if request.k > generators.most:
            own = followed_by(near, own, items, scores, temperature)
        own[near.items[:, 0] == 0] = 0
        if unclicked is not None:
            own = unclicked.join(sessions, prefixes, request, found, values, own, items, scores)
        return own

    return rank_chunk
