"""More positives by session-kNN: for each training session, the items of the training sessions nearest to it."""

import numpy as np

from nearnext.data.prefixes import Prefixes
from nearnext.data.sessions import Sessions
from nearnext.options import Count, checked
from nearnext.progress import track
from nearnext.recommenders.neighbours import SKNN
from nearnext.sampling.positives import NeighbourPositives


def prepare_neighbour_positives(
    sessions: Sessions, *, n_items: int = 20, k: int = 100, sample_size: int = 1000, threads: int | None = None
) -> NeighbourPositives:
    """Candidate positives of each session: the items that SKNN ranks highest after the whole session, best first.

    None is one of the session's own clicks; a session that shares no item with another has none.

    Args:
        sessions: the training sessions; nothing else is looked at.
        n_items: most candidates of a session; as many as an example has positives gives the best ones every epoch,
            more gives variety.
        k: neighbours that vote, the session itself not counted.
        sample_size: most recent sessions sharing an item that are compared at all, 0 for every one.
        threads: worker threads, by default one per core; they change nothing but the time.

    Paper: §4.5.

    >>> log = Sessions.of([["a", "b"], ["a", "b", "c"], ["d", "e"]])
    >>> prepared = prepare_neighbour_positives(log)
    >>> [log.vocabulary.decode(prepared.items[begin:end]) for begin, end in [(0, 1), (1, 1), (1, 1)]]
    [['c'], [], []]
    >>> prepared.offsets.tolist()
    [0, 1, 1, 1]
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
