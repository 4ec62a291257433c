"""The leak audit of several fitted methods in one call."""

from collections.abc import Callable, Sequence
from functools import partial

from nearnext.data.sessions import Sessions
from nearnext.data.splits import Split
from nearnext.evaluation.audit import Audit, Verdict
from nearnext.recommenders.base import Recommender


def audit_split(
    split: Split,
    resplit: Callable[[Sessions], Split],
    methods: Sequence[tuple[Recommender, float]],
    *,
    refit: Callable[[Recommender, Sessions], Recommender],
) -> Verdict:
    """The verdict on fitted methods, each with the seconds that its fit took."""
    audit = Audit(split, resplit)
    return audit.verdict([audit.of(method, seconds, partial(refit, method)) for method, seconds in methods])
