"""The split behind the paper's Table 2: a random tenth of the sessions. It looks into the future."""

from dataclasses import replace

import numpy as np

from nearnext.data.filters import Filter
from nearnext.data.leaks import warn_of
from nearnext.data.sessions import Sessions
from nearnext.data.splits import Split, UnknownRule, join_parts
from nearnext.errors import DataError
from nearnext.options import Natural, checked

AUTHORS_LENGTH = 15
"""Sessions of more clicks are left out."""

SHARE = 0.1

FUTURE = (
    "the authors' split: the test part is a random tenth, so that training looks into the future of the cases; compare "
    "these figures with the paper's only"
)
"""What is said of the split before any figure."""


def split_authors(
    sessions: Sessions, seed: int = 7, *, chosen: Filter | None = None, unknown: UnknownRule = "miss"
) -> Split:
    """Sessions of up to 15 clicks, a random tenth of them as test part: how the paper's Table 2 was made.

    Its text says "the last 10% of sessions" (§5), and takes the last by session id; in RSC15 these are not in order of
    time. Training then sees clicks of the same hours as the cases and later ones, and no figure is that of a
    prediction: ``leaks`` says so, and a `LeakWarning`. To compare methods, use `split_last`.

    Args:
        sessions: the log.
        seed: of the choice, at least 0.
        chosen: filters of the training part, by default none but the length of at least 2 clicks.
        unknown: what happens to test items that training lacks, see `Split`.

    Raises:
        ConfigError: the seed is no whole number of at least 0.
        DataError: there are fewer than 2 sessions of up to 15 clicks.

    Paper: §5. Deviation: the order of the ids is replaced by a seeded choice, which no log can make a split by time.

    >>> import warnings
    >>> with warnings.catch_warnings(action="ignore"):
    ...     split = split_authors(Sessions.of([["a", "b"]] * 19 + [["a"] * 16]))
    >>> split.train.n_sessions, split.test.n_sessions, split.leaks.clean
    (17, 2, False)
    """
    split = join_authors(*authors_parts(sessions, seed), chosen=chosen, unknown=unknown)
    warn_of(split.leaks)
    return split


def authors_parts(sessions: Sessions, seed: int) -> tuple[Sessions, Sessions]:
    """The training and the test sessions of `split_authors` before any filter, each in the log's order.

    Raises:
        ConfigError: the seed is no whole number of at least 0.
        DataError: there are fewer than 2 sessions of up to 15 clicks.
    """
    seed = checked("seed", seed, Natural)
    short = sessions.select(sessions.lengths <= AUTHORS_LENGTH)
    n_test = int(np.ceil(SHARE * short.n_sessions - 1e-9))
    if n_test == short.n_sessions:
        raise DataError(
            f"expected at least 2 sessions of up to {AUTHORS_LENGTH} clicks for the authors' split, found "
            f"{short.n_sessions} of {sessions.n_sessions}; give a longer log"
        )
    order = np.random.default_rng(seed).permutation(short.n_sessions)
    n_train = short.n_sessions - n_test
    return short.select(np.sort(order[:n_train])), short.select(np.sort(order[n_train:]))


def join_authors(
    train: Sessions, test: Sessions, *, chosen: Filter | None = None, unknown: UnknownRule = "miss"
) -> Split:
    """As `split_authors`, of the two parts that it chose, without a warning; it is never called clean."""
    split = join_parts(train, test, chosen=chosen, unknown=unknown)
    return replace(split, leaks=replace(split.leaks, found=(FUTURE, *split.leaks.found)))
