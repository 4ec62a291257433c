"""Splits that follow time, where what is learned from ends before what is predicted begins; and the authors' own."""

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from nearnext.data.filters import Filter, FilterReport, apply_filter
from nearnext.data.leaks import Leaks, boundary_leaks, find_leaks, warn_of
from nearnext.data.prefixes import Prefixes
from nearnext.data.sessions import MICROSECONDS, Sessions, require_sessions
from nearnext.data.vocabulary import Vocabulary
from nearnext.errors import DataError
from nearnext.options import Count, Natural, Part, Positive, checked, require_known

UnknownRule = Literal["miss", "drop"]
DAY = 86_400 * MICROSECONDS

AUTHORS_LENGTH = 15
"""Sessions of more clicks are left out."""

AUTHORS_SHARE = 0.1

FUTURE = (
    "the authors' split: the test part is a random tenth, so that training looks into the future of the cases; compare "
    "these figures with the paper's only"
)
"""A warning about the split, printed before any metric."""


@dataclass(frozen=True, eq=False)
class Split:
    """A training part and a later test part, in the vocabulary of the training part alone.

    Attributes:
        train: sessions to learn from; their vocabulary holds the items of this part only.
        test: sessions to predict, in the same vocabulary; 0 where an item is unknown to training.
        cut_time: start of the first test session before any filter, microseconds since 1970 UTC.
        unknown: ``miss``: an unknown item stays, and as a target counts as a miss; ``drop``: such clicks leave the
            test sessions, then sessions shorter than 2.
        raw_train_sessions: sessions of the training part before any filter.
        train_filter: what the filter took from the training part.
        unknown_clicks: test clicks on items unknown to training.
        short_test_sessions: test sessions left out because fewer than 2 clicks remain.
        overlapping_sessions: training sessions whose last click is later than ``cut_time``.
        leaks: whether the test part is later than the training part, and none of its sessions is in it.

    >>> train, test = split_last(Sessions.of([["a", "b"], ["b", "a"], ["a", "c"]]), fraction=0.3)
    >>> train.n_sessions, test.n_sessions, test.items.tolist()
    (2, 1, [1, 0])
    """

    train: Sessions
    test: Sessions
    cut_time: int
    unknown: UnknownRule
    raw_train_sessions: int
    train_filter: FilterReport
    unknown_clicks: int
    short_test_sessions: int
    overlapping_sessions: int
    leaks: Leaks

    def __str__(self) -> str:
        parts = f"{self.train.n_sessions:,} training sessions, {self.test.n_sessions:,} test sessions"
        return "\n".join([*self.leaks.lines(), f"{parts}; {self.leaks.verdict}"])

    def __iter__(self) -> Iterator[Sessions]:
        yield self.train
        yield self.test

    def validation(self, fraction: float = 0.05) -> "Split":
        """The end of the training part held out in the same way (Paper: §5.2, 5%); the test part is not touched."""
        return split_last(self.train, fraction, unknown=self.unknown)


def split_parts(
    train: Sessions,
    test: Sessions,
    *,
    chosen: Filter | None = None,
    unknown: UnknownRule = "miss",
    leaks: Leaks | None = None,
) -> Split:
    """A split from two logs: filters and vocabulary come from ``train`` alone.

    A `LeakWarning` says, and the split's ``leaks`` hold, what is wrong where ``test`` is earlier than ``train``,
    overlaps with it, or has sessions of it; nothing is compared, and no warning given, where ``leaks`` are known.

    Raises:
        DataError: nothing is left to learn from or to predict.
        ConfigError: unknown rule.

    >>> split = split_parts(Sessions.of([["a", "b"]]), Sessions.of([["b", "x", "a"]], starts=[9999.0]), unknown="drop")
    >>> split.test.raw(0), split.unknown_clicks, split.leaks.clean
    (['b', 'a'], 1, True)
    """
    require_sessions("training sessions", train)
    require_sessions("test sessions", test)
    chosen = chosen or Filter()
    if test.n_sessions == 0:
        raise DataError("no test sessions; choose a larger test part or give a longer log")
    cut_time = int(test.starts.min())
    found = leaks or find_leaks(train, test)
    kept, train_filter = apply_filter(train, chosen)
    if kept.n_sessions == 0:
        raise DataError(
            f"no training sessions left of {train.n_sessions}: {train_filter.short_sessions} were shorter than "
            f"{chosen.min_length} clicks; lower the filters or give a longer log"
        )
    kept = kept.reindexed()
    future, _ = apply_filter(test, Filter(min_length=1, max_length=chosen.max_length))
    future, unknown_clicks = predicted_sessions(future, kept.vocabulary, unknown, max(chosen.min_length, 2))
    if future.n_sessions == 0:
        raise DataError(
            f"no test sessions of 2 or more clicks left of {test.n_sessions} ({unknown_clicks} clicks were on items "
            "that training lacks); choose a larger test part or give a longer log"
        )
    if future.targets is not None and not len(Prefixes.every(future)):
        raise DataError(
            f"expected clicks to predict after others in {future.n_sessions} test sessions, found none; choose a "
            "larger test part, other event types, or give a longer log"
        )
    split = Split(
        train=kept,
        test=future,
        cut_time=cut_time,
        unknown=unknown,
        raw_train_sessions=train.n_sessions,
        train_filter=train_filter,
        unknown_clicks=unknown_clicks,
        short_test_sessions=test.n_sessions - future.n_sessions,
        overlapping_sessions=int(np.count_nonzero(kept.ends > cut_time)),
        leaks=found,
    )
    if leaks is None:
        warn_of(found)
    return split


def predicted_sessions(
    test: Sessions, vocabulary: Vocabulary, unknown: str, min_length: int = 2
) -> tuple[Sessions, int]:
    """Test sessions in the vocabulary of training, short ones left out, and how many clicks are on unknown items."""
    require_known("rule for unknown items", unknown, ("miss", "drop"))
    test = test.with_vocabulary(vocabulary)
    unknown_clicks = int(np.count_nonzero(test.items == 0))
    if unknown == "drop" and unknown_clicks:
        test = test.keep_events(test.items > 0)
    return test.select(test.lengths >= min_length), unknown_clicks


def split_at(sessions: Sessions, n_train: int, *, chosen: Filter | None = None, unknown: UnknownRule = "miss") -> Split:
    """The first ``n_train`` sessions by start time (equal starts keep the log's order) against all later ones."""
    require_sessions("sessions", sessions)
    n_train = checked("n_train", n_train, Natural)
    if not 0 < n_train < sessions.n_sessions:
        raise DataError(
            f"cannot split {sessions.n_sessions} session(s) into {n_train} for training and "
            f"{sessions.n_sessions - n_train} for testing; both need at least one"
        )
    order = np.argsort(sessions.starts, kind="stable")
    train, test = sessions.select(order[:n_train]), sessions.select(order[n_train:])
    return split_parts(train, test, chosen=chosen, unknown=unknown, leaks=boundary_leaks(train, test))


def split_last(
    sessions: Sessions, fraction: float = 0.1, *, chosen: Filter | None = None, unknown: UnknownRule = "miss"
) -> Split:
    """The last fraction of the sessions by start time as test part (Paper: §5, 10%); at least one session.

    Raises:
        ConfigError: fraction outside (0, 1).
        DataError: one of the two parts is empty.

    >>> train, test = split_last(Sessions.of([["a", "b"]] * 10), fraction=0.25)
    >>> train.n_sessions, test.n_sessions
    (7, 3)
    """
    require_sessions("sessions", sessions)
    n_test = math.ceil(sessions.n_sessions * checked("the test fraction", fraction, Part) - 1e-9)
    return split_at(sessions, sessions.n_sessions - n_test, chosen=chosen, unknown=unknown)


def split_days(
    sessions: Sessions, days: float = 1.0, *, chosen: Filter | None = None, unknown: UnknownRule = "miss"
) -> Split:
    """Sessions that start in the last ``days`` before the log's last click, against all earlier ones.

    Raises:
        ConfigError: days not positive.
        DataError: the log is not longer than that.

    >>> split_days(Sessions.of([["a", "b"]] * 48), days=1).test.n_sessions
    24
    """
    require_sessions("sessions", sessions)
    days = checked("the number of test days", days, Positive)
    last = int(sessions.times.max()) if sessions.n_events else 0
    n_train = int(np.count_nonzero(sessions.starts <= last - days * DAY))
    if n_train == 0:
        span = (last - int(sessions.starts.min())) / DAY if sessions.n_events else 0.0
        raise DataError(f"the log spans {span:.2f} days, not more than the {days:g} test days; ask for fewer days")
    return split_at(sessions, n_train, chosen=chosen, unknown=unknown)


def split_windows(
    sessions: Sessions,
    windows: int = 5,
    fraction: float = 0.1,
    *,
    chosen: Filter | None = None,
    unknown: UnknownRule = "miss",
) -> list[Split]:
    """Consecutive slices of equal duration, each split by ``fraction`` (Paper: §5, five slices).

    Raises:
        ConfigError: fewer than one window.
        DataError: a slice has too few sessions to be split.

    >>> [split.test.n_sessions for split in split_windows(Sessions.of([["a", "b"]] * 50), windows=5)]
    [1, 1, 1, 1, 1]
    """
    return [split_last(part, fraction, chosen=chosen, unknown=unknown) for part in time_windows(sessions, windows)]


def time_windows(sessions: Sessions, windows: int) -> list[Sessions]:
    """Consecutive slices of equal duration, by the start of the sessions; a DataError where one has fewer than 2."""
    require_sessions("sessions", sessions)
    windows = checked("the number of windows", windows, Count)
    starts = sessions.starts
    first, last = (float(starts.min()), float(starts.max())) if len(starts) else (0.0, 0.0)
    edges = np.linspace(first, last, windows + 1)
    slice_of = np.clip(np.searchsorted(edges, starts, side="right") - 1, 0, windows - 1)
    parts = [sessions.select(slice_of == window) for window in range(windows)]
    for number, part in enumerate(parts, start=1):
        if part.n_sessions < 2:  # noqa: PLR2004 - one session to learn from, one to predict
            raise DataError(f"window {number} of {windows} has fewer than 2 sessions; ask for fewer windows")
    return parts


def split_authors(
    sessions: Sessions, seed: int = 7, *, chosen: Filter | None = None, unknown: UnknownRule = "miss"
) -> Split:
    """Sessions of up to 15 clicks, a random tenth of them as test part: how the paper's Table 2 was made.

    Its text says "the last 10% of sessions" (§5), and takes the last by session id; in RSC15 these are not in order of
    time. Training then sees clicks of the same hours as the cases and later, so the metrics do not measure
    prediction: ``leaks`` and a `LeakWarning` say so. To compare methods, use `split_last`.

    Raises:
        ConfigError: the seed is no whole number of at least 0.
        DataError: there are fewer than 2 sessions of up to 15 clicks.

    Paper: §5. Deviation: a seeded random choice replaces the order of the ids, so that it is never a split by time.

    >>> import warnings
    >>> with warnings.catch_warnings(action="ignore"):
    ...     split = split_authors(Sessions.of([["a", "b"]] * 19 + [["a"] * 16]))
    >>> split.train.n_sessions, split.test.n_sessions, split.leaks.clean
    (17, 2, False)
    """
    train, test = authors_parts(sessions, seed)
    split = split_parts(train, test, chosen=chosen, unknown=unknown, leaks=authors_leaks(train, test))
    warn_of(split.leaks)
    return split


def authors_parts(sessions: Sessions, seed: int) -> tuple[Sessions, Sessions]:
    """The training and the test sessions of `split_authors` before any filter, each in the log's order."""
    seed = checked("seed", seed, Natural)
    short = sessions.select(sessions.lengths <= AUTHORS_LENGTH)
    n_test = int(np.ceil(AUTHORS_SHARE * short.n_sessions - 1e-9))
    if n_test == short.n_sessions:
        raise DataError(
            f"expected at least 2 sessions of up to {AUTHORS_LENGTH} clicks for the authors' split, found "
            f"{short.n_sessions} of {sessions.n_sessions}; give a longer log"
        )
    order = np.random.default_rng(seed).permutation(short.n_sessions)
    n_train = short.n_sessions - n_test
    return short.select(np.sort(order[:n_train])), short.select(np.sort(order[n_train:]))


def authors_leaks(train: Sessions, test: Sessions) -> Leaks:
    """The leaks of the two parts of `split_authors`, which are never called clean."""
    leaks = find_leaks(train, test)
    return replace(leaks, found=(FUTURE, *leaks.found))
