"""Why an item is recommended to a session, for any method: what does not exist for one is left out with a reason."""

import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any, TypeVar

from nearnext.errors import ConfigError
from nearnext.explanation.near_sessions import Evidence, near_sessions
from nearnext.options import Count, checked
from nearnext.recommenders.base import Recommender
from nearnext.recommenders.ranking import Recommendation
from nearnext.recommenders.space import index_of_item, similar_items, unlisted_note
from nearnext.types import RawId

T = TypeVar("T")

DEPTH = 1000
"""Length of the list in which the item is looked for."""

LAST_CLICKS = 50
"""Clicks at the end of a session that are left out in turn: each costs one more list."""


@dataclass(frozen=True)
class Rank:
    """Rank from 1 and score of an item for one session; None: not listed, not scored."""

    rank: int | None
    score: float | None


@dataclass(frozen=True)
class Pull:
    """What one click does for an item.

    Attributes:
        position: of the click in the session, from 1.
        item: raw id of what was clicked.
        without: score of the explained item for the session without this click; None: it has none then, or is not
            among the first 1,000 of a method whose scores are shares among the listed items.
        effect: score minus score without the click: positive where the click pulled the item nearer; None where one
            of the two does not exist.
        rank_without: rank of the explained item without this click; None: not among the first 1,000.
    """

    position: int
    item: RawId
    without: float | None
    effect: float | None
    rank_without: int | None


def pulls(recommender: Recommender, session: Sequence[RawId], item: RawId) -> tuple[Rank, list[Pull]]:
    """Rank and score of an item for a session, and the effect of each of its last 50 clicks, in their order."""
    first = max(0, len(session) - LAST_CLICKS)
    shorter = [[*session[:left], *session[left + 1 :]] for left in range(first, len(session))]
    whole, *others = _ranks(recommender, [list(session), *shorter], item)
    found: list[Pull] = []
    for position, (clicked, other) in enumerate(zip(session[first:], others, strict=True), start=first + 1):
        effect = None if whole.score is None or other.score is None else whole.score - other.score
        found.append(Pull(position, clicked, other.score, effect, other.rank))
    return whole, found


def _ranks(recommender: Recommender, sessions: Sequence[Sequence[RawId]], item: RawId) -> list[Rank]:
    stored = recommender.vocabulary.as_stored([item])[0]
    depth = min(DEPTH, len(recommender.vocabulary))
    answers = recommender.recommend(sessions, depth)
    ranks = [_rank(answer, stored) for answer in answers]
    missing = [row for row, found in enumerate(ranks) if found.rank is None]
    missing = [row for row in missing if _scores_alone(recommender, sessions[row], answers[row])]
    alone = recommender.recommend([sessions[row] for row in missing], 1, allow=[item])
    for row, answer in zip(missing, alone, strict=True):
        ranks[row] = Rank(None, _rank(answer, stored).score)
    return ranks


def _scores_alone(recommender: Recommender, session: Sequence[RawId], answer: Recommendation) -> bool:
    """Whether an item has the same score where no other may be listed; a share among candidates would be 1."""
    if not answer.own:
        return True
    last = answer.own - 1
    (alone,) = recommender.recommend([session], 1, allow=[answer.items[last]])
    return math.isclose(alone.scores[0], answer.scores[last], rel_tol=1e-3)


def _rank(answer: Recommendation, item: RawId) -> Rank:
    if item not in answer.items:
        return Rank(None, None)
    at = answer.items.index(item)
    return Rank(at + 1, answer.scores[at] if at < answer.own else None)


@dataclass(frozen=True)
class Explanation:
    """Why an item has its rank for a session.

    Attributes:
        method: name of the recommender.
        item: raw id of the explained item.
        rank: its rank in the list, from 1; None: not among the first 1,000.
        score: what the method gives it, higher is better; None: the method itself does not score it.
        popularity: clicks on it in training.
        popularity_rank: its rank among all items by clicks in training, from 1.
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
        return {**asdict(self), "similar": [{"item": item, "score": score} for item, score in self.similar]}


def explain(recommender: Recommender, session: Sequence[RawId], item: RawId, *, n: int = 5) -> Explanation:
    """Why an item has its rank in a session's list.

    Args:
        recommender: fitted.
        session: raw ids, oldest click first; empty: the popular items.
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
            f"no click of the session occurs in what {recommender.name} was fitted on; give one that does"
        )
    left_out: dict[str, str] = {}
    found, pulled = pulls(recommender, session, item)
    if found.rank is None:
        reason = "" if recommender.popularity[index] else unlisted_note(recommender)
        left_out["rank"] = "; ".join(filter(None, (f"not among the first {DEPTH:,}", reason)))
    if found.score is None:
        left_out["score"] = f"{recommender.name} itself does not score it for this session"
    if len(session) > LAST_CLICKS:
        left_out["clicks"] = f"only the last {LAST_CLICKS} of {len(session)} clicks"
    similar = _part("similar", left_out, partial(similar_items, recommender, item, n))
    evidence = _part("evidence", left_out, partial(near_sessions, recommender, clicks, index, n))
    return Explanation(
        method=recommender.name,
        item=recommender.vocabulary.as_stored([item])[0],
        rank=found.rank,
        score=found.score,
        popularity=int(recommender.popularity[index]),
        popularity_rank=index,
        clicks=pulled,
        similar=similar or [],
        evidence=evidence,
        unknown=unknown,
        left_out=left_out,
    )


def _part(name: str, left_out: dict[str, str], find: Callable[[], T]) -> T | None:
    """A part of an explanation; where there is none, the reason goes to ``left_out``."""
    try:
        return find()
    except ConfigError as error:
        left_out[name] = str(error)
        return None
