"""The index that a fitted recommender searches its items by: chosen, built and measured."""

import numpy as np

from nearnext.data.prefixes import Prefixes
from nearnext.data.sessions import Sessions
from nearnext.errors import ConfigError
from nearnext.recommenders.base import Recommender
from nearnext.recommenders.session_index import SessionMemory
from nearnext.recommenders.space import embedded, learned_space, space_of
from nearnext.retrieval import ApproximateIndex, ExactIndex
from nearnext.retrieval.building import HELD_OUT, RECALL_FLOOR, TRIAL, IndexKind, IndexReport, build_index
from nearnext.types import ScoreArray

MOST = TRIAL + HELD_OUT
"""Sessions that recall is measured on, at most."""


def reindex(
    recommender: Recommender,
    *,
    kind: IndexKind = "auto",
    recall_floor: float = RECALL_FLOOR,
    sessions: Sessions | None = None,
    threads: int = 1,
) -> IndexReport:
    """Build the index of a recommender that has a metric space, and search by it; options as in `build_index`.

    Recall is measured on the most recent sessions, by default of those that the recommender remembers; where it
    remembers none, on perturbed items.
    """
    searching, space = embedded(recommender), learned_space(recommender)
    exact = space.index.exact if isinstance(space.index, ApproximateIndex) else space.index
    if not isinstance(exact, ExactIndex):
        raise ConfigError(f"{recommender.name} searches by {type(exact).__name__}, which cannot be rebuilt")
    index, report = build_index(
        exact,
        lambda: _session_embeddings(recommender, sessions),
        kind=kind,
        recall_floor=recall_floor,
        listed=space.informed,
        threads=threads,
    )
    searching.search_by(index)
    return report


def _session_embeddings(recommender: Recommender, sessions: Sessions | None) -> ScoreArray | None:
    """Embeddings of the most recent sessions, each without its last click; None: there are too few."""
    memory, space = recommender.memory, space_of(recommender)
    if sessions is not None:
        memory = SessionMemory.of(sessions.with_vocabulary(recommender.vocabulary), MOST)
    if memory is None or space is None:
        return None
    recent = memory.sessions
    chosen = np.flatnonzero(recent.lengths > 1)[-MOST:]
    ends = recent.offsets[chosen + 1] - 1
    vectors, known = space.sessions(Prefixes(recent.items, recent.offsets[chosen], ends, recent.times[ends - 1]))
    somewhere = np.random.default_rng(0).permutation(np.flatnonzero(known))
    return vectors[somewhere] if len(somewhere) > 1 else None
