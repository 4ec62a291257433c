"""Where `metric` starts from another model, and what it learns from; docs/retraining.md has times and accuracy."""

import numpy as np
import torch
from torch import nn

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


def halfway(network: nn.Module, fresh: nn.Module) -> None:
    """Move the weights of a trained network halfway to those of one that is not.

    From there a short training gives better lists than from the trained weights themselves.

    Reference: Ash & Adams, On warm-starting neural network training, NeurIPS 2020 (shrink and perturb).

    >>> trained, fresh = nn.Linear(1, 1, bias=False), nn.Linear(1, 1, bias=False)
    >>> with torch.no_grad():
    ...     _ = trained.weight.fill_(3.0), fresh.weight.fill_(1.0)
    >>> halfway(trained, fresh)
    >>> trained.weight.item()
    2.0
    """
    with torch.no_grad():
        for weight, start in zip(network.parameters(), fresh.parameters(), strict=True):
            weight.lerp_(start, 0.5)
