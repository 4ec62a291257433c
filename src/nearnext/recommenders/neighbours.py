"""SKNN, VSKNN and VSTAN: the sessions nearest to the current one vote for the next item; and positives by them."""

import math
from dataclasses import dataclass, field
from typing import Annotated, ClassVar

import numpy as np
import polars as pl

from nearnext.data.prefixes import Prefixes
from nearnext.data.raw import indices
from nearnext.data.sessions import MICROSECONDS, Sessions
from nearnext.errors import ConfigError
from nearnext.options import Count, Natural, NonNegative, Search, checked
from nearnext.progress import track
from nearnext.recommenders.base import Recommender
from nearnext.recommenders.candidate_sessions import SAMPLINGS, Sampling, Votes, make_scratch
from nearnext.recommenders.decay import DECAYS, EXPONENTIAL, Decay
from nearnext.recommenders.knn_kernel import SIMILARITIES, Similarity, nearest_sessions, rank_by_neighbours
from nearnext.recommenders.method import State
from nearnext.recommenders.ranking import RankChunk, Request
from nearnext.recommenders.session_index import SessionIndex, build_index, index_arrays, stored_index
from nearnext.sampling.positives import NeighbourPositives
from nearnext.types import FloatArray, IndexArray, ScoreArray


@dataclass(eq=False)
class SessionNeighbours(Recommender):
    """What SKNN, VSKNN and VSTAN share: the index of training sessions and the kernel that ranks with it.

    Attributes:
        k: neighbours that vote.
        sample_size: sessions sharing an item that are compared at all, 0 for every one.
        sampling: which of them: the most ``recent``, a ``random`` choice (fixed by the session itself), or those with
            the most items in ``common``.
        similarity: of the two sets of items: cosine, jaccard (tanimoto), dice, vec (share of the current session's
            items), or binary, as session-rec defines it: 2c / (2c + a + b).
        index: the training sessions.
    """

    k: Annotated[
        Count, Search(50, 2000, log=True, why="few are precise, many know rare items; published choices: 50-1500")
    ] = 1000
    sample_size: Annotated[
        Natural,
        Search(500, 10_000, log=True, why="how far back neighbours are looked for; published choices: 500-5000"),
    ] = 5000
    sampling: Sampling = "recent"
    similarity: Annotated[Similarity, Search(why="all that there are")] = "cosine"

    index: SessionIndex = field(init=False, repr=False)

    def neighbours(self, clicks: IndexArray) -> tuple[IndexArray, FloatArray]:
        """The training sessions that vote for a session [T] at the end of training, the nearest first.

        Gives their numbers by recency, 0 the most recent, and their similarities: at most k each.

        >>> sknn = SKNN().fit(Sessions.of([["a", "b"], ["a", "c"], ["d", "c"]]))
        >>> sknn.neighbours(sknn.vocabulary.encode(["d"]))[0].tolist()
        [0]
        """
        if not hasattr(self, "index"):
            raise ConfigError(f"{self.name} is not fitted; call fit(sessions) first")
        known, remedy = len(self.index.item_offsets) - 2, "make them with vocabulary.encode(ids)"
        votes = self._votes()
        scratch = make_scratch(self.index, votes)
        clicked = indices("item indices", clicks, 0, known, remedy).astype(np.int32)
        prefix = Prefixes.of([clicked], self._end_of_training())
        numbers, similarities = nearest_sessions(self.index, votes, prefix, scratch)
        order = np.lexsort((numbers, -similarities.astype(np.float32)))
        return numbers[order], similarities[order]

    def _votes(self) -> Votes:
        return Votes(self.k, self.sample_size, SAMPLINGS.index(self.sampling), SIMILARITIES.index(self.similarity))

    def _learn(self, sessions: Sessions) -> None:
        most = math.ceil(self.sample_size * self.share) if self.sampling == "recent" else 0
        self.index = build_index(sessions, self._idf, most)

    @property
    def _idf(self) -> float:
        """λ in the factor 1 + λ · idf of every vote."""
        return 0.0

    def _add_unclicked(self, ids: pl.Series) -> None:
        super()._add_unclicked(ids)
        index, none = self.index, np.zeros(len(ids))
        self.index = index._replace(
            item_offsets=np.append(index.item_offsets, np.full(len(ids), index.item_offsets[-1])),
            item_weights=np.append(index.item_weights, none + 1.0),
            idf=np.append(index.idf, none),
        )

    def _state(self) -> State:
        return index_arrays(self.index)

    def _restore(self, state: State) -> None:
        self.index = stored_index(state, len(self.vocabulary))

    def _end_of_training(self) -> int:
        return int(self.index.ends[0])

    def _ranker(self) -> RankChunk:
        index, votes = self.index, self._votes()
        scratch = make_scratch(index, votes)
        served = 0

        def rank_chunk(prefixes: Prefixes, request: Request, items: IndexArray, scores: ScoreArray) -> IndexArray:
            nonlocal served
            own = np.zeros(len(prefixes), dtype=np.int32)
            asked = prefixes.items, prefixes.starts, prefixes.ends, prefixes.times
            allowed = request.admissible, request.exclude_seen
            rank_by_neighbours(index, votes, *asked, *allowed, scratch, served, items, scores, own)
            served += len(prefixes)
            return own

        return rank_chunk


@dataclass(eq=False)
class SKNN(SessionNeighbours):
    """SKNN: items of the k sessions nearest to the current one, each voting with its similarity.

    Its options are those of `SessionNeighbours`. Of equal similarities the more recent session is nearer.

    Paper: §5.1. Reference: Jannach & Ludewig 2017; session-rec ``ContextKNN`` (its cosine multiplies by the current
    session's length, which changes no ranking).

    >>> sknn = SKNN(k=2).fit(Sessions.of([["a", "b"], ["a", "c"], ["d", "c"]]))
    >>> sknn.recommend([["d"]], k=2)[0].items
    ['c', 'd']
    """

    name: ClassVar[str] = "sknn"

    sampling: Annotated[Sampling, Search(why="all that there are")] = "recent"


@dataclass(eq=False)
class VSKNN(SessionNeighbours):
    """VSKNN: SKNN in which recent clicks weigh more, in the similarity and in the votes.

    Further options are those of `SessionNeighbours`.

    Attributes:
        similarity: vec (session-rec's default: weight of the shared clicks per click), cosine, jaccard, dice or binary,
            of the weighted current session and a set of items.
        weighting: decay of a click's weight towards the beginning of the current session.
        weighting_score: decay of a neighbour's vote with the distance of the most recent shared click (1: the last).
        idf_weighting: λ in the factor 1 + λ · idf of every vote; 0 switches it off.
        idf_weighting_session: weigh the current session's clicks by idf instead of by position.
        last_n_clicks: use only the last clicks of the current session, 0 for all.
        remind: whether items of the current session may be recommended again.
        seed: of the random sampling.

    The defaults are the options published for RSC15/64. Reference: Ludewig & Jannach 2018, §3; session-rec
    ``VMContextKNN``, whose idf is log(sessions / clicks).

    >>> vsknn = VSKNN(k=2).fit(Sessions.of([["a", "b"], ["a", "c"], ["d", "c"]]))
    >>> vsknn.recommend([["a", "d"]], k=1, exclude_seen=True)[0].items
    ['c']
    """

    name: ClassVar[str] = "vsknn"

    similarity: Annotated[
        Similarity, Search(choices=("vec", "cosine"), why="the published one, and one that heeds the length")
    ] = "vec"
    weighting: Annotated[Decay, Search(why="how fast old clicks are forgotten: all that there are")] = "log"
    weighting_score: Annotated[Decay, Search(why="how fast the votes of old clicks are: all that there are")] = (
        "quadratic"
    )
    idf_weighting: Annotated[
        NonNegative, Search(0.0, 10.0, why="how much rare items gain; published choices: 0-10")
    ] = 2.0
    idf_weighting_session: bool = False
    last_n_clicks: Natural = 0
    remind: bool = True
    seed: Natural = 0

    @property
    def _idf(self) -> float:
        return self.idf_weighting

    def _votes(self) -> Votes:
        votes = super()._votes()
        return votes._replace(
            decay=DECAYS.index(self.weighting),
            score_decay=DECAYS.index(self.weighting_score),
            weigh_by_idf=self.idf_weighting_session,
            remind=self.remind,
            last_n_clicks=self.last_n_clicks,
            seed=self.seed,
        )


def _decay_length(of_what: str, longest: float = 100.0) -> Search:
    return Search(0.1, longest, log=True, why=f"decay of {of_what}; at the upper end it hardly decays")


@dataclass(eq=False)
class VSTAN(SessionNeighbours):
    """VSTAN: VSKNN with the exponential decays of STAN, over click positions, session age and positions in neighbours.

    Further options are those of `SessionNeighbours`.

    Attributes:
        lambda_spw: λ of the click's weight exp(−(distance from the last click) / λ), clicks; 0 switches it off.
        lambda_snh: λ of the neighbour's weight exp(−age / λ), days; 0 switches it off.
        lambda_inh: λ of the item's weight exp(−|its position − the last shared position in the neighbour| / λ), clicks;
            0 switches it off.
        lambda_ipw: λ of the vote's weight exp(−(distance of the most recent shared click) / λ), clicks; 0 switches it
            off.
        lambda_idf: λ in the factor 1 + λ · idf of every vote; 0 switches it off.
        remind: whether items of the current session may be recommended again.

    The defaults are the options published for Retailrocket (highest MRR). Reference: Garg et al., STAN, SIGIR 2019, and
    Ludewig et al. 2021 for VSTAN; session-rec ``VSKNN_STAN``, which always uses cosine.

    >>> vstan = VSTAN(k=2).fit(Sessions.of([["a", "b"], ["a", "c"], ["d", "c"]]))
    >>> vstan.recommend([["a", "d"]], k=1, exclude_seen=True)[0].items
    ['c']
    """

    name: ClassVar[str] = "vstan"

    sample_size: int = 2500
    lambda_spw: Annotated[NonNegative, _decay_length("old clicks, in clicks; published choices: 1.81-4")] = 3.62
    lambda_snh: Annotated[
        NonNegative, _decay_length("old sessions, in days; published choices: 5-100", longest=400.0)
    ] = 100.0
    lambda_inh: Annotated[
        NonNegative, _decay_length("items far from the shared one, in clicks; published choices: 0.4525-4")
    ] = 0.4525
    lambda_ipw: Annotated[
        NonNegative, _decay_length("votes of old clicks, in clicks; published choices: 0.00001-3.62")
    ] = 3.62
    lambda_idf: Annotated[NonNegative, Search(0.0, 10.0, why="how much rare items gain; published choices: 0-10")] = 1.0
    remind: bool = True

    @property
    def _idf(self) -> float:
        return self.lambda_idf

    def _votes(self) -> Votes:
        votes = super()._votes()
        return votes._replace(
            decay=EXPONENTIAL if self.lambda_spw else DECAYS.index("same"),
            decay_scale=float(self.lambda_spw or 1.0),
            score_scale=float(self.lambda_ipw),
            time_scale=float(self.lambda_snh) * 86_400 * MICROSECONDS,
            gap_scale=float(self.lambda_inh),
            remind=self.remind,
        )


def prepare_neighbour_positives(
    sessions: Sessions, *, n_items: int = 20, k: int = 100, sample_size: int = 1000, threads: int | None = None
) -> NeighbourPositives:
    """Candidate positives of each session: the items that SKNN ranks highest after the whole session, best first.

    None is one of the session's own clicks; a session that shares no item with another has none. As many as an
    example has positives gives the best ones every epoch, more gives variety. ``k`` neighbours vote, the session
    itself not counted.

    Paper: §4.5.
    """
    k = checked("k", k, Count)
    # The session itself is its own nearest neighbour and adds no item: one more makes up for it.
    method = SKNN(k=k + 1, sample_size=sample_size + 1 if sample_size else 0).fit(sessions)
    clicks = sessions.with_vocabulary(method.vocabulary).items
    whole = Prefixes(clicks, sessions.offsets[:-1], sessions.offsets[1:], sessions.ends)
    with track("neighbour positives", total=sessions.n_sessions, unit="sessions") as advance:
        ranking = method.rank(whole, n_items, exclude_seen=True, threads=threads, advance=advance)
    from_neighbours = np.arange(n_items) < ranking.own[:, None]
    offsets = np.concatenate([[0], np.cumsum(ranking.own)]).astype(np.int64)
    # A method may number items in its own way.
    known = sessions.vocabulary.encode(method.vocabulary.ids)
    return NeighbourPositives(offsets, known[ranking.items[from_neighbours] - 1])
