"""How large and how long the default model is, from the size of the log: stated rules instead of search.

A log gives its number of examples (clicks that follow another one) and of items. The rules were chosen on validation
periods of public logs; docs/decisions/0014-flagship.md has the figures.
"""

from dataclasses import dataclass

from nearnext.data.sessions import Sessions

__all__ = ["Size", "size_for"]

FEW_EXAMPLES, MANY_EXAMPLES = 20_000, 3_000_000
LARGE_CATALOGUE = 300_000


@dataclass(frozen=True)
class Size:
    """What follows from the log.

    Attributes:
        dim: dimension D of the metric space.
        epochs: passes over the training sessions.
        batch_size: sessions in a step.
        negatives: items drawn for a step.
    """

    dim: int
    epochs: int
    batch_size: int
    negatives: int


def size_for(sessions: Sessions) -> Size:
    """The size of the default model for a log.

    - ``dim`` 160; 96 from 300,000 items on, where the table is what memory goes to.
    - ``epochs`` 4; 8 below 20,000 examples, 1 from 3,000,000 on: about as many updates as the model needs.
    - ``batch_size`` 96, 32 below 20,000 examples and 512 from 3,000,000 on.
    - ``negatives`` 2,048, or the number of items where that is smaller.

    >>> size_for(Sessions.of([["a", "b", "c"]] * 5))
    Size(dim=160, epochs=8, batch_size=32, negatives=3)
    """
    n_examples = sessions.n_events - sessions.n_sessions
    few, many = n_examples < FEW_EXAMPLES, n_examples >= MANY_EXAMPLES
    return Size(
        dim=96 if sessions.n_items >= LARGE_CATALOGUE else 160,
        epochs=8 if few else 1 if many else 4,
        batch_size=32 if few else 512 if many else 96,
        negatives=max(1, min(2048, sessions.n_items)),
    )
