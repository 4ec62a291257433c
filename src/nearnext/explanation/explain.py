"""Why an item is recommended to a session, for any method: what does not exist for one is left out with a reason."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from nearnext.errors import ConfigError
from nearnext.explanation.near_sessions import Evidence, near_sessions
from nearnext.explanation.pull import DEPTH, LAST_CLICKS, Pull, pulls
from nearnext.explanation.similar import index_of_item, similar_items
from nearnext.options import Count, checked
from nearnext.recommenders.base import Recommender
from nearnext.types import RawId

__all__ = ["Explanation", "explain"]


@dataclass(frozen=True)
class Explanation:
    """Why an item stands where it stands for a session.

    Attributes:
        method: name of the recommender.
        item: raw id of the explained item.
        rank: its place in the list, from 1; None: not among the first 1,000.
        score: what the method gives it, higher is better; None: the method itself does not score it.
        popularity: clicks on it in training.
        popularity_rank: its place among all items by clicks in training, from 1.
        clicks: what each click of the session does for it, in order.
        similar: the items most like it, best first: raw ids and scores.
        evidence: training sessions like this one, and how many of them clicked it; None: see ``left_out``.
        unknown: clicks that training never saw; they were ignored.
        left_out: for each part that does not exist here, why.
    """

    method: str
    item: RawId
    rank: int | None
    score: float | None
    popularity: int
    popularity_rank: int
    clicks: list[Pull]
    similar: list[tuple[RawId, float]]
    evidence: Evidence | None
    unknown: list[RawId]
    left_out: dict[str, str]

    def as_dict(self) -> dict[str, Any]:
        """The same as plain lists and dictionaries, ready for JSON."""
        return {
            **asdict(self),
            "similar": [{"item": item, "score": score} for item, score in self.similar],
        }


def explain(recommender: Recommender, session: Sequence[RawId], item: RawId, *, n: int = 5) -> Explanation:
    """Why an item stands where it stands in a session's list.

    Args:
        recommender: fitted.
        session: raw ids, oldest click first; empty: what everybody is recommended.
        item: raw id of the item to explain; whether it is in the list or not.
        n: how many similar items and how many training sessions are given at most.

    Raises:
        ConfigError: an unknown item, none of the clicks known, n below 1, or a recommender that is not fitted.

    >>> from nearnext.data.sessions import Sessions
    >>> from nearnext.recommenders.neighbours import SKNN
    >>> log = Sessions.of([["a", "b"], ["c", "b"], ["c", "d"]])
    >>> why = explain(SKNN().fit(log).remember(log), ["a"], "b")
    >>> why.rank, [round(click.effect or 0, 4) for click in why.clicks], why.evidence.containing
    (1, [0], 1)
    """
    n = checked("n", n, Count)
    index = index_of_item(recommender, item)
    clicks = recommender.vocabulary.encode(session)
    unknown = [raw for raw, known in zip(session, clicks, strict=True) if known == 0]
    if len(session) == len(unknown) > 0:
        raise ConfigError(
            f"none of the {len(session)} clicks occurs in what {recommender.name} was fitted on; give one that does"
        )
    left_out: dict[str, str] = {}
    place, pulled = pulls(recommender, session, item)
    if place.rank is None:
        left_out["rank"] = f"not among the first {DEPTH:,}"
    if place.score is None:
        left_out["score"] = f"{recommender.name} itself does not score it for this session"
    if len(session) > LAST_CLICKS:
        left_out["clicks"] = f"only the last {LAST_CLICKS} of {len(session)} clicks"
    similar: list[tuple[RawId, float]] = []
    try:
        similar = similar_items(recommender, item, n)
    except ConfigError as error:
        left_out["similar"] = str(error)
    evidence = None
    try:
        evidence = near_sessions(recommender, clicks, index, n)
    except ConfigError as error:
        left_out["evidence"] = str(error)
    return Explanation(
        method=recommender.name,
        item=recommender.vocabulary.as_stored(item),
        rank=place.rank,
        score=place.score,
        popularity=int(recommender.popularity[index]),
        popularity_rank=index,
        clicks=pulled,
        similar=similar,
        evidence=evidence,
        unknown=unknown,
        left_out=left_out,
    )
