"""What `metric` learns from when it starts from another model; docs/retraining.md has times and accuracy."""

import numpy as np

from nearnext.data.imprint import Imprint
from nearnext.data.sessions import Sessions

EPOCHS = 2
MANY_NEW = 0.1
"""Share of new clicks from which one epoch is enough, if it has the new sessions twice."""


def relearned(sessions: Sessions, known: Imprint | None) -> tuple[Sessions, int]:
    """Sessions to learn from, and epochs; ``known`` is of the sessions that the other model learned from.

    Two epochs of all sessions; one, with the sessions twice that begin after all known ones, where these have a tenth
    of the clicks or more.

    >>> log = Sessions.of([["a", "b"]] * 10)
    >>> few, many = (Imprint.of(log.select(range(n))) for n in (10, 5))
    >>> [(chosen.n_sessions, epochs) for chosen, epochs in (relearned(log, few), relearned(log, many))]
    [(10, 2), (15, 1)]
    """
    if known is None:
        return sessions, EPOCHS
    new = sessions.starts > known.last_end
    if sessions.lengths[new].sum() < MANY_NEW * sessions.n_events:
        return sessions, EPOCHS
    return sessions.select(np.repeat(np.arange(sessions.n_sessions), 1 + new)), 1
