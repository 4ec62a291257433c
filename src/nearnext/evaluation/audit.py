"""Leak audit: sessions planted in the future must change nothing; planted in the past they must change something."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import polars as pl

from nearnext.data.leaks import Leaks
from nearnext.data.prefixes import Prefixes
from nearnext.data.sessions import MICROSECONDS, Sessions
from nearnext.data.splits import Split
from nearnext.data.vocabulary import Vocabulary
from nearnext.recommenders.agreement import differing_lists
from nearnext.recommenders.base import Recommender
from nearnext.recommenders.ranking import Ranking
from nearnext.types import IndexArray

Resplit = Callable[[Sessions], Split]
Fit = Callable[[Sessions], Recommender]

SAMPLE = 200
"""Number of test prefixes that the audit ranks."""

RANKED = 15 * SAMPLE
"""Lists of one method's audit: of these prefixes four times, and once with ten times as many others."""

REFIT_SECONDS = 30.0
"""A method that took longer to fit is not fitted again; its training data are still compared."""

HOUR = 3600 * MICROSECONDS
LIST_LENGTH = 20
RUSH_LENGTH = 100


@dataclass(frozen=True)
class AuditCheck:
    """One check, whether it passed, and details; ``tried`` is False if it was skipped to save time."""

    name: str
    passed: bool
    detail: str
    tried: bool = True


@dataclass(frozen=True)
class Verdict:
    """The outcome: passed if every check passed; skipped checks are named."""

    checks: tuple[AuditCheck, ...]

    @property
    def passed(self) -> bool:
        """Whether every check passed."""
        return all(check.passed for check in self.checks)

    @property
    def text(self) -> str:
        """``passed`` and what was not tried, or ``not clean`` and every check that failed."""
        failed = [f"{check.name}: {check.detail}" for check in self.checks if not check.passed]
        if failed:
            return f"not clean: {'; '.join(failed)}"
        return f"passed{not_tried([check.name for check in self.checks if not check.tried])}"


def not_tried(names: Sequence[str]) -> str:
    """What a verdict says of checks that were skipped: nothing, the name of one, or how many there are."""
    if len(names) > 1:
        return f"; not tried: {len(names)} checks (of methods that were not fitted again)"
    return f"; not tried: {names[0]}" if names else ""


@dataclass(frozen=True)
class MethodAudit:
    """The audit of one method in plain values, which are stored with its results.

    ``unchanged``: it recommends the same when sessions are planted after the cut, seen as ``detail`` says;
    ``looked_ahead``: its lists changed with the clicks behind a prefix; ``learned_from_tests``: with the cases that are
    ranked with them; ``noticed``: with decoys planted before the cut (None: it was not fitted again).
    """

    name: str
    unchanged: bool
    detail: str
    looked_ahead: bool
    learned_from_tests: bool
    noticed: bool | None


class Audit:
    """Checks on the run itself that nothing later than the cut reaches vocabulary, statistics, neighbours or lists.

    Decoy sessions start with real test prefixes and continue with items that exist nowhere else, so a method that
    sees them must recommend these; other decoys make the rarest item the most popular one. Planted after the cut, they
    must not change the training data, nor the lists beyond rounding. The clicks after a prefix are exchanged, and cases
    are ranked in another order and other batches; neither may change a list. As a control, decoys are planted before
    the cut: lists must change. A test part that is earlier than training or contained in it fails the audit too.

    ``resplit`` makes the run's split again, with sessions added to the log behind its end.
    """

    def __init__(self, split: Split, resplit: Resplit, *, seed: int = 0, leaks: Leaks | None = None) -> None:
        self._split = split
        self._leaks = leaks or split.leaks
        self._probe = _choose(split.test, seed)
        last = max(int(split.test.times.max()), int(split.train.times.max()))
        planted = resplit(_decoys(split, self._probe, last + HOUR)).train
        self._same = _same_training(split.train, planted)
        self._planted = split.train if self._same.passed else planted  # equal sessions are not kept twice

    def of(self, method: Recommender, seconds: float, fit: Fit) -> MethodAudit:
        """The audit of one method fitted on the run's training part; ``fit`` fits a fresh one with equal options."""
        expected = method.rank(self._probe, LIST_LENGTH, threads=1)
        refitted = seconds <= REFIT_SECONDS
        if refitted:
            n_differing = _differing(fit(self._planted).rank(self._probe, LIST_LENGTH, threads=1), expected)
            detail = f"{n_differing} of {len(expected)} lists differ when fitted with sessions planted later"
        else:
            n_differing = 0
            detail = f"not fitted again ({seconds:.0f} s); its training data are the ones compared above"
        return MethodAudit(
            name=method.name,
            unchanged=n_differing == 0,
            detail=detail,
            looked_ahead=_looks_ahead(method, self._split.test, self._probe, expected),
            learned_from_tests=_depends_on_other_cases(method, self._split.test, self._probe, expected),
            noticed=self._notices(fit, expected) if refitted else None,
        )

    def verdict(self, methods: Sequence[MethodAudit]) -> Verdict:
        """All checks: of the split itself, of each method, and of the methods together."""
        return Verdict(
            (
                _parts(self._leaks),
                self._same,
                *(
                    AuditCheck(f"{each.name}: what was learned", each.unchanged, each.detail, each.noticed is not None)
                    for each in methods
                ),
                _together(
                    "no look-ahead inside test sessions",
                    [method.name for method in methods if method.looked_ahead],
                    "no list changed when all clicks behind it were exchanged",
                ),
                _together(
                    "no learning from other test sessions",
                    [method.name for method in methods if method.learned_from_tests],
                    "no list depends on which cases are ranked with it",
                ),
                self._control(methods),
            )
        )

    @cached_property
    def leaking(self) -> Sessions:
        """The training part with decoys planted before the cut."""
        train = self._split.train
        return train.followed_by(_decoys(self._split, self._probe, int(train.ends.max()) + 1)).reindexed()

    def _notices(self, fit: Fit, expected: Ranking) -> bool:
        leaking = self.leaking
        back = self._split.test.with_vocabulary(leaking.vocabulary)
        ranking = fit(leaking).rank(replace(self._probe, items=back.items), LIST_LENGTH, threads=1)
        renamed = np.zeros(leaking.n_items + 1, dtype=np.int32)
        renamed[1:] = self._split.train.vocabulary.encode(leaking.vocabulary.ids)
        renamed[1:][renamed[1:] == 0] = -1  # a decoy in a list is a difference, not the end of the list
        return bool((renamed[ranking.items] != expected.items).any())

    def _control(self, methods: Sequence[MethodAudit]) -> AuditCheck:
        name = "control: the audit notices decoys planted before the cut"
        if self.leaking.fingerprint() == self._split.train.fingerprint():
            return AuditCheck(name, False, "training data with planted sessions look the same")
        if all(method.noticed is None for method in methods):
            return AuditCheck(
                name, True, "the training data changed; no method was fitted on them, each takes too long"
            )
        seen = ", ".join(method.name for method in methods if method.noticed) or "no method"
        blind = ", ".join(method.name for method in methods if method.noticed is False)
        detail = f"lists of {seen} changed" + (f", those of {blind} did not" if blind else "")
        return AuditCheck(name, not blind, detail)


def _choose(test: Sessions, seed: int) -> Prefixes:
    """Some test prefixes, in order, which are ranked again and again."""
    prefixes = Prefixes.every(test)
    size = min(SAMPLE, len(prefixes))
    return prefixes.take(np.sort(np.random.default_rng(seed).choice(len(prefixes), size=size, replace=False)))


def _decoys(split: Split, probe: Prefixes, begin: int) -> Sessions:
    """Sessions that start at ``begin`` or later: each probed prefix and a new item, and a rush on the rarest item."""
    train = split.train
    rarest = train.n_items
    clicks: list[IndexArray] = []
    for row, (start, end) in enumerate(zip(probe.starts, probe.ends, strict=True)):
        prefix = probe.items[start:end]
        known = prefix[prefix > 0][-5:]
        clicks.append(np.append(known if len(known) else [rarest], train.n_items + 1 + row))
    n_rush = int(train.item_counts()[1]) // RUSH_LENGTH + 1
    clicks += [np.full(RUSH_LENGTH, rarest)] * n_rush
    lengths = np.array([len(session) for session in clicks])
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    start = np.repeat(begin + np.arange(len(clicks)) * MICROSECONDS, lengths)
    return Sessions(
        items=np.concatenate(clicks).astype(np.int32),
        offsets=offsets,
        times=(start + np.arange(int(offsets[-1])) - np.repeat(offsets[:-1], lengths)).astype(np.int64),
        vocabulary=Vocabulary(pl.concat([train.vocabulary.ids, _new_ids(train.vocabulary.ids, len(probe))])),
        session_ids=_new_ids(train.session_ids, len(clicks)),
    )


def _new_ids(taken: pl.Series, count: int) -> pl.Series:
    """Ids of the same type that do not occur among the given ones: [count]."""
    if taken.dtype == pl.Int64:
        numbers = taken.to_numpy()
        room_above = int(numbers.max()) < np.iinfo(np.int64).max - count
        begin = int(numbers.max()) + 1 if room_above else int(numbers.min()) - count
        return pl.Series(taken.name, np.arange(begin, begin + count))
    stem = "planted" + "-" * int(taken.str.len_chars().to_numpy().max())  # longer than every id, so none of them
    return pl.Series(taken.name, [f"{stem}{number}" for number in range(count)], dtype=pl.String)


def _parts(leaks: Leaks) -> AuditCheck:
    clean = "test sessions are later than training, and none of them is among the training sessions"
    detail = "; ".join(leaks.found) or ("; ".join([clean, *leaks.notes]) if leaks.checked else "; ".join(leaks.notes))
    return AuditCheck("the test part against the training part", leaks.clean, detail)


def _same_training(train: Sessions, planted: Sessions) -> AuditCheck:
    same = train.fingerprint() == planted.fingerprint()
    seen = "is the same" if same else f"changed: {planted.n_sessions} sessions, {planted.n_items} items"
    return AuditCheck("training data, vocabulary and item counts", same, f"with sessions planted later, it {seen}")


def _differing(one: Ranking, other: Ranking) -> int:
    return int(np.count_nonzero(differing_lists(one, other)))


def _together(name: str, bad: Sequence[str], good: str) -> AuditCheck:
    return AuditCheck(name, not bad, f"lists changed for {', '.join(bad)}" if bad else good)


def _looks_ahead(method: Recommender, test: Sessions, probe: Prefixes, expected: Ranking) -> bool:
    """Each probed prefix in a log of its own, all other clicks replaced by the most popular item."""
    items = np.ones_like(test.items)
    inside = np.zeros(test.n_events, dtype=np.bool_)
    for start, end in zip(probe.starts, probe.ends, strict=True):
        inside[start:end] = True
    items[inside] = test.items[inside]
    # A later probe of the same session would keep clicks behind an earlier one: rank the longest probe of each session.
    longest = np.flatnonzero(np.append(np.diff(probe.starts) != 0, True))
    again = method.rank(replace(probe, items=items).take(longest), LIST_LENGTH, threads=1)
    return _differing(again, expected.take(longest)) > 0


def _depends_on_other_cases(method: Recommender, test: Sessions, probe: Prefixes, expected: Ranking) -> bool:
    """The probes in reverse order among other cases: a method that learns from test sessions would differ."""
    order = np.arange(len(probe))[::-1]
    others, last_first = Prefixes.every(test).slice(0, 10 * SAMPLE), probe.take(order)
    mixed = Prefixes(
        probe.items,
        np.concatenate([others.starts, last_first.starts]),
        np.concatenate([others.ends, last_first.ends]),
        np.concatenate([others.times, last_first.times]),
    )
    return _differing(method.rank(mixed, LIST_LENGTH).take(len(others) + order), expected) > 0
