"""Leaks that the data bring along: test sessions that are earlier than training, or part of it."""

import warnings
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from nearnext.data.imprint import (
    KEPT,
    NONE,
    Imprint,
    content_digests,
    cut_by_pauses,
    id_digests,
    lone_shapes,
    numbered,
    session_keys,
)
from nearnext.data.sessionise import GAP
from nearnext.data.sessions import MICROSECONDS, Sessions
from nearnext.errors import LeakWarning
from nearnext.forks import polars_is_lost

SHIFTED, FEWEST_SHIFTED = 0.3, 20
"""Share and number of test sessions of the shape of a training session; honest logs have 4% or fewer."""

FORKED = "whether test sessions were learned from was not checked: this process was forked after a log was read"
NOT_CHECKED = (
    "leaks are not checked: it is not known when and on which sessions the recommender was fitted; fit it again"
)


@dataclass(frozen=True)
class Leaks:
    """How test sessions touch the sessions that were learned from.

    Attributes:
        test_sessions: how many test sessions were looked at.
        early_sessions: those that start before the training period ends; 0 where one moment divides the two parts.
        compared_sessions: those whose clicks and times can be compared with training.
        copied_sessions: those of them that are in training, under the same id or another.
        same_ids: those whose id is in training as well, other than ``cut_sessions``.
        cut_sessions: those that go on with a training session within 30 minutes: cut in two where training ends.
        found: what is wrong, a line each.
        notes: what should be known, and is no fault; or why something could not be checked.
        checked: whether contents and ids of the training sessions were known.

    >>> train = Sessions.of([["a", "b"], ["b", "c"]])
    >>> find_leaks(Imprint.of(train), train).verdict[:50]
    'not clean: all 2 test sessions are training sessio'
    >>> find_leaks(Imprint.of(train), Sessions.of([["a", "b"]], starts=[86_400])).clean
    True
    """

    test_sessions: int
    early_sessions: int = 0
    compared_sessions: int = 0
    copied_sessions: int = 0
    same_ids: int = 0
    cut_sessions: int = 0
    found: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    checked: bool = True

    @property
    def clean(self) -> bool:
        """Whether all of it was checked and nothing wrong was found."""
        return self.checked and not self.found

    @property
    def verdict(self) -> str:
        """``clean``, ``not clean`` and why, or ``not checked``."""
        return f"not clean: {'; '.join(self.found)}" if self.found else "clean" if self.checked else "not checked"

    def __str__(self) -> str:
        return "; ".join([self.verdict, *self.notes])

    def lines(self) -> list[str]:
        """What has to be read before any figure: the verdict where something was found, and each note."""
        return [*([self.verdict] if self.found else []), *self.notes]

    def facts(self) -> dict[str, Any]:
        """All of it as plain data, the verdict first."""
        return {"clean": self.clean, "verdict": self.verdict, **asdict(self)}

    def plus(self, other: "Leaks") -> "Leaks":
        """Both together, for the windows of one comparison; each line once."""
        counts = {name: getattr(self, name) + getattr(other, name) for name in COUNTS}
        found, notes = (tuple(dict.fromkeys(lines)) for lines in (self.found + other.found, self.notes + other.notes))
        return Leaks(**counts, found=found, notes=notes, checked=self.checked and other.checked)


COUNTS = ("test_sessions", "early_sessions", "compared_sessions", "copied_sessions", "same_ids", "cut_sessions")


def find_leaks(train: Imprint | Sessions | None, test: Sessions) -> Leaks:
    """The leaks between what was learned from and sessions to predict, found by times, ids, and digests of clicks.

    A split by time is one that some moment divides: every training session starts before every test session does, or
    every training session ends before every test session does. Where nothing is known of training, nothing is checked.

    >>> train = Imprint.of(Sessions.of([["a", "b"], ["b", "c"]], starts=[86_400, 90_000]))
    >>> find_leaks(train, Sessions.of([["b", "a"]], starts=[87_000])).verdict[:52]
    'not clean: the test log overlaps with the training l'
    """
    if polars_is_lost():
        return Leaks(test.n_sessions, notes=(FORKED,), checked=False)
    if isinstance(train, Sessions):
        train = Imprint.of(train) if train.n_sessions else None
    if train is None or not test.n_sessions:
        return Leaks(test.n_sessions, notes=(NOT_CHECKED,), checked=False)
    n_compared, n_copied = _compared(train, test)
    n_cut, n_same = _shared_ids(train, test)
    # None are early where one moment divides the ends.
    n_early = int((test.starts < train.last_start).sum()) if np.any(test.ends < train.last_end) else 0
    smaller = min(train.sessions, test.n_sessions)
    renumbered = 2 * n_same >= smaller > 0 and train.numbered and numbered(test.session_ids)
    of = f"of {test.n_sessions:,} test sessions"
    found: list[str] = []
    if n_copied:
        found.append(_copies(train, test, n_compared, n_copied))
    if n_early and not n_copied == n_compared > 0:
        found.append(_times(train, test, n_early))
    if not n_copied:
        found += _shifted(train, test)
    if n_same and not n_copied and not renumbered:
        found.append(f"{n_same:,} {of} have the id of a training session, and do not go on with it")
    notes: list[str] = []
    if n_cut:
        notes.append(f"{n_cut:,} {of} go on with a training session: the split cuts them in two")
    if renumbered and not found:
        notes.append(
            f"{n_same:,} session numbers are in both logs: taken for different sessions, as each log counts from 0 or 1"
        )
    counts = (test.n_sessions, n_early, n_compared, n_copied, n_same, n_cut)
    return Leaks(*counts, found=tuple(found), notes=tuple(notes))


def boundary_leaks(train: Sessions, test: Sessions) -> Leaks:
    """The leaks of one log that is split by the start of its sessions: of training only what ends late is looked at."""
    if polars_is_lost():
        return Leaks(test.n_sessions, notes=(FORKED,), checked=False)
    late = train.select(train.ends >= test.starts.min())
    if not late.n_sessions:
        return Leaks(test.n_sessions, compared_sessions=test.n_sessions)
    imprint = Imprint.of(late)
    n_copied = _compared(imprint, test.select(test.starts <= late.ends.max()))[1]
    found = (_copies(imprint, test, test.n_sessions, n_copied),) if n_copied else ()
    return Leaks(test.n_sessions, compared_sessions=test.n_sessions, copied_sessions=n_copied, found=found)


def _compared(train: Imprint, test: Sessions) -> tuple[int, int]:
    """How many test sessions can be compared with training by their clicks, and how many are in it."""
    digests = content_digests(test)
    digests = digests[(digests <= np.uint64(train.bounds[0])) & (digests < NONE)]
    return len(digests), int(np.isin(digests, train.contents).sum())


def warn_of(leaks: Leaks) -> None:
    """A `LeakWarning` where something was found."""
    if leaks.found:
        warnings.warn(leaks.verdict, LeakWarning, stacklevel=3)


def _shared_ids(train: Imprint, test: Sessions) -> tuple[int, int]:
    """How many test sessions go on with a training session soon after it ends, and how many others have its id."""
    by_user = cut_by_pauses(test.session_ids)
    if by_user != train.by_user or not len(train.ids):
        return 0, 0
    digests = id_digests(session_keys(test.session_ids, by_user))
    at = np.minimum(np.searchsorted(train.ids, digests), len(train.ids) - 1)
    known = train.ids[at] == digests
    pause = test.starts // MICROSECONDS - train.ends[at]
    cut = known & (pause >= 0) & (pause <= GAP)
    return int(cut.sum()), 0 if by_user else int((known & ~cut).sum())


def _copies(train: Imprint, test: Sessions, n_compared: int, n_copied: int) -> str:
    of = f"{n_copied:,} of {test.n_sessions:,} test sessions"
    if n_copied == n_compared == test.n_sessions:
        of = f"all {n_copied:,} test sessions"
    elif train.bounds[0] < int(NONE):
        of = f"{n_copied:,} of {n_compared:,} test sessions that could be compared"
    line = f"{of} are training sessions (same clicks at the same times)"
    equal = n_copied == n_compared and (train.sessions, train.last_end) == (test.n_sessions, int(test.ends.max()))
    return f"{line}: the test log is the training log" if equal else line


def _shifted(train: Imprint, test: Sessions) -> list[str]:
    """A line on test sessions that are training sessions with other times; none if only a few look alike."""
    if not len(train.shapes):
        return []
    shapes, _ = lone_shapes(test)
    shapes = shapes[shapes <= train.shapes[-1]] if len(train.shapes) >= KEPT else shapes
    alike = int(np.isin(shapes, train.shapes, assume_unique=True).sum())
    if alike < max(FEWEST_SHIFTED, SHIFTED * len(shapes)):
        return []
    return [
        f"{alike:,} of {len(shapes):,} test sessions with three clicks or more are training sessions with other times "
        "(same last items, same pauses)"
    ]


def _times(train: Imprint, test: Sessions, n_early: int) -> str:
    if int(test.ends.max()) <= train.first_start:
        period = f"{_moment(int(test.starts.min()))} to {_moment(int(test.ends.max()))}"
        return f"the test log ({period}) is earlier than the training log (from {_moment(train.first_start)})"
    return (
        f"the test log overlaps with the training log: {n_early:,} of {test.n_sessions:,} test sessions start before "
        f"its last session does ({_moment(train.last_start)})"
    )


def _moment(time: int) -> str:
    return str(np.datetime64(time // (60 * MICROSECONDS), "m")).replace("T", " ")
