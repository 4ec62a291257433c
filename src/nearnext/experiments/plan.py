"""How a log is split for an experiment, read from one word such as ``last:0.1``, ``days:2`` or ``authors``."""

import hashlib
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

from nearnext.data import splits
from nearnext.data.filters import Filter
from nearnext.data.leaks import find_leaks
from nearnext.data.sessions import Sessions
from nearnext.data.splits import Split, UnknownRule
from nearnext.errors import ConfigError
from nearnext.options import Count, Natural, Part, Positive, checked

_AMOUNTS: dict[str, tuple[str, Any]] = {
    "last": ("0.1", Part),
    "days": ("1", Positive),
    "windows": ("5", Count),
    "authors": ("7", Natural),
}
"""The default of the number after the colon, and its type."""


@dataclass(frozen=True)
class SplitPlan:
    """A way to split a log: by time, or as the authors of the paper did.

    Attributes:
        kind: ``last``: the last fraction of sessions; ``days``: the last days; ``windows``: equal slices of time,
            each split by its last 10%; ``authors``: a random tenth, which looks into the future (`split_authors`).
        amount: the fraction, the days, the number of windows, or the seed.
        chosen: filters of the training part.
        unknown: what happens to test items that training lacks.

    >>> SplitPlan.parse("days:2").describe()
    'sessions that start in the last 2 days are the test part'
    """

    kind: Literal["last", "days", "windows", "authors"] = "last"
    amount: float = 0.1
    chosen: Filter = field(default_factory=Filter)
    unknown: UnknownRule = "miss"

    @classmethod
    def parse(cls, text: str, *, chosen: Filter | None = None, unknown: UnknownRule = "miss") -> "SplitPlan":
        """A plan from ``kind`` or ``kind:amount``."""
        kind, _, amount = text.partition(":")
        if kind not in _AMOUNTS:
            raise ConfigError(
                f"unknown split '{text}'; expected last:FRACTION, days:N, windows:N or authors:SEED, e.g. last:0.1"
            )
        default, numbers = _AMOUNTS[kind]
        number = checked(f"the number of split '{text}'", amount or default, numbers, text=True)
        return cls(kind, float(number), chosen or Filter(), unknown)  # type: ignore[arg-type]

    @property
    def warnings(self) -> list[str]:
        """What has to be said of the plan before any figure."""
        return [f"not clean: {splits.FUTURE}"] if self.kind == "authors" else []

    def describe(self, with_test_log: bool = False) -> str:
        """The plan in words."""
        if with_test_log:
            return "a log of its own is the test part"
        if self.kind == "last":
            return f"the last {self.amount:.4g} of the sessions by start time is the test part"
        if self.kind == "days":
            return f"sessions that start in the last {self.amount:g} days are the test part"
        if self.kind == "authors":
            return (
                f"a random tenth of the sessions of up to {splits.AUTHORS_LENGTH} clicks is the test part (seed "
                f"{int(self.amount)}): the authors' split, which looks into the future"
            )
        return f"{int(self.amount)} slices of equal duration; the last 0.1 of each one's sessions is its test part"

    def splits(self, log: Sessions, test: Sessions | None = None) -> list["PlannedSplit"]:
        """The splits of a log, one or several; with a log of its own as test part, that one."""
        how: Any = {"chosen": self.chosen, "unknown": self.unknown}
        if test is not None:
            split = splits.split_parts(log, test, **how, leaks=find_leaks(log, test))
            return [PlannedSplit(split, self, log, test)]
        if self.kind == "windows":
            windows = splits.time_windows(log, int(self.amount))
            return [PlannedSplit(splits.split_last(part, **how), self, part) for part in windows]
        if self.kind == "authors":
            train, later = splits.authors_parts(log, int(self.amount))
            split = splits.split_parts(train, later, **how, leaks=splits.authors_leaks(train, later))
        else:
            cut = splits.split_days if self.kind == "days" else splits.split_last
            split = cut(log, self.amount, **how)
        return [PlannedSplit(split, self, log)]


@dataclass(frozen=True, eq=False)
class PlannedSplit:
    """One split of a plan, with the log that it was cut from, so that it can be cut again."""

    split: Split
    plan: SplitPlan
    log: Sessions
    test: Sessions | None = None

    def fingerprint(self) -> str:
        """SHA-256 of both parts and of the plan: equal ones are equal experiments."""
        parts = (self.split.train.fingerprint(), self.split.test.fingerprint(), repr(self.plan))
        return hashlib.sha256("\n".join(parts).encode()).hexdigest()

    def training_log(self) -> Sessions:
        """The sessions that the training part was made of, before its filters; none of the test part is among them."""
        if self.test is not None:
            return self.log
        if self.plan.kind == "authors":
            return splits.authors_parts(self.log, int(self.plan.amount))[0]
        by_start = np.argsort(self.log.starts, kind="stable")
        return self.log.select(by_start[: self.split.raw_train_sessions])

    def again(self, planted: Sessions) -> Split:
        """The same split of the log with later sessions added behind it: the cut stays where it was."""
        how: Any = {"chosen": self.plan.chosen, "unknown": self.plan.unknown}
        if self.test is not None:
            return splits.split_parts(self.log, self.test.followed_by(planted), **how, leaks=self.split.leaks)
        if self.plan.kind == "authors":
            train, later = splits.authors_parts(self.log, int(self.plan.amount))
            return splits.split_parts(train, later.followed_by(planted), **how, leaks=self.split.leaks)
        return splits.split_at(self.log.followed_by(planted), self.split.raw_train_sessions, **how)
