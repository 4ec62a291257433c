"""Which clicks of a session pulled an item: its score with all of them, and without each one."""

from collections.abc import Sequence
from dataclasses import dataclass

from nearnext.recommenders.base import Recommender
from nearnext.recommenders.recommendation import Recommendation
from nearnext.types import RawId

__all__ = ["DEPTH", "LAST_CLICKS", "Place", "Pull", "pulls"]

DEPTH = 1000
"""Places of a list in which the item is looked for."""

LAST_CLICKS = 50
"""Clicks at the end of a session that are left out in turn: each costs one more list."""


@dataclass(frozen=True)
class Place:
    """Where an item stands for one session.

    Attributes:
        rank: its place in the list, from 1; None: not among the first 1,000.
        score: what the method gives it, higher is better; None: the method itself does not score it for this session.
    """

    rank: int | None
    score: float | None


@dataclass(frozen=True)
class Pull:
    """What one click does for an item.

    Attributes:
        position: of the click in the session, from 1.
        item: raw id of what was clicked.
        without: score of the explained item for the session without this click; None: it has none then.
        effect: score minus score without the click: positive where the click pulled the item nearer; None where one
            of the two does not exist.
        rank_without: place of the explained item without this click; None: not among the first 1,000.
    """

    position: int
    item: RawId
    without: float | None
    effect: float | None
    rank_without: int | None


def pulls(recommender: Recommender, session: Sequence[RawId], item: RawId) -> tuple[Place, list[Pull]]:
    """Where an item stands for a session, and what each of its last 50 clicks does for that, in their order.

    Args:
        recommender: fitted.
        session: raw ids, oldest click first.
        item: raw id of a known item.
    """
    first = max(0, len(session) - LAST_CLICKS)
    shorter = [[*session[:left], *session[left + 1 :]] for left in range(first, len(session))]
    whole, *others = _places(recommender, [list(session), *shorter], item)
    found: list[Pull] = []
    for position, (clicked, other) in enumerate(zip(session[first:], others, strict=True), start=first + 1):
        effect = None if whole.score is None or other.score is None else whole.score - other.score
        found.append(Pull(position, clicked, other.score, effect, other.rank))
    return whole, found


def _places(recommender: Recommender, sessions: Sequence[Sequence[RawId]], item: RawId) -> list[Place]:
    stored = recommender.vocabulary.as_stored(item)
    depth = min(DEPTH, len(recommender.vocabulary))
    places = [_place(answer, stored) for answer in recommender.recommend(sessions, depth)]
    missing = [row for row, place in enumerate(places) if place.rank is None]
    alone = recommender.recommend([sessions[row] for row in missing], 1, allow=[item])
    for row, answer in zip(missing, alone, strict=True):
        places[row] = Place(None, _place(answer, stored).score)
    return places


def _place(answer: Recommendation, item: RawId) -> Place:
    if item not in answer.items:
        return Place(None, None)
    at = answer.items.index(item)
    return Place(at + 1, answer.scores[at] if at < answer.own else None)
