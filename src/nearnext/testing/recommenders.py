"""The laws of recommenders, from the fit to a saved model."""

from collections.abc import Mapping, Sequence
from copy import deepcopy
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from nearnext.artifact import load_artifact, save_artifact
from nearnext.data.prefixes import Prefixes
from nearnext.data.sessions import Sessions
from nearnext.options import require_type
from nearnext.recommenders.agreement import ROUNDING, difference, list_of
from nearnext.recommenders.base import Recommender
from nearnext.recommenders.laws import check_lists, check_parts
from nearnext.recommenders.ranking import Ranking, Recommendation
from nearnext.registration import Laws, require_lawful

Answer = Mapping[str, Any]
Lists = Ranking | Recommendation | Answer | Sequence[Recommendation | Answer]


def assert_same_lists(found: Lists, expected: Lists, rtol: float = ROUNDING) -> None:
    """Pass where two sets of lists are the same up to rounding.

    Scores may differ by ``rtol`` of a list's largest score, and items may be in another order only where their scores
    are that close. How many items the method itself scored, and what was filled in from popularity, must be equal.

    Args:
        found: a `Ranking`, one or several `Recommendation` objects, or answers of the service as parsed JSON with
            ``items``, ``scores`` and ``own``.
        expected: the same in any of these forms, list by list.
        rtol: largest difference of two scores, as a share of the list's largest one.

    Raises:
        AssertionError: a list differs; the message names the list, the item, both scores and both ranks.

    >>> from nearnext.recommenders.ranking import Recommendation
    >>> one = Recommendation(["a", "b"], [0.5, 0.25], own=2, unknown=[])
    >>> assert_same_lists({"items": ["a", "b"], "scores": [0.5000001, 0.25], "own": 2}, one)
    >>> assert_same_lists(Recommendation(["b", "a"], [0.5, 0.25], own=2, unknown=[]), one)
    Traceback (most recent call last):
    AssertionError: list 0: item 'a' has score 0.25 at rank 2, expected 0.5 at rank 1
    """
    ours, theirs = _scored_lists(found), _scored_lists(expected)
    if len(ours) != len(theirs):
        raise AssertionError(f"{len(ours)} lists, expected {len(theirs)}")
    for number, (one, other) in enumerate(zip(ours, theirs, strict=True)):
        reason = difference(other, one, rtol)
        if reason is not None:
            raise AssertionError(f"list {number}: {reason}")


def _scored_lists(lists: Lists) -> list[Recommendation]:
    if isinstance(lists, Ranking):
        return [list_of(lists, row) for row in range(len(lists))]
    several = lists if isinstance(lists, Sequence) else [lists]
    return [
        Recommendation(one["items"], one["scores"], one["own"], []) if isinstance(one, Mapping) else one
        for one in several
    ]


TRAIN = [[f"i{(s * 7 + j * j) % 23}" for j in range(2 + s % 5)] for s in range(60)] + [["i1", "i1", "i2"]] * 3
TEST = [[f"i{(s * 5 + j * 3) % 23}" for j in range(2 + s % 6)] for s in range(40)]


def check_recommender(recommender: Recommender) -> None:
    """A check that a method keeps the laws of recommenders, fitted on a small log; its own parts are checked too.

    Args:
        recommender: unfitted, with options that make a fit quick; it stays as it is.

    Raises:
        ConfigError: no recommender, for example the class instead of an object of it.
        ContractError: it breaks a law; the message names it and an example.

    >>> from nearnext.recommenders.rules import Markov
    >>> check_recommender(Markov())
    """
    require_type("recommender", recommender, Recommender, "make one, for example Markov()")
    check_parts(recommender)
    require_lawful(recommender, LAWS, f"method {recommender.name}")


def _fitted(recommender: Recommender, sessions: Sessions | None = None) -> Recommender:
    return deepcopy(recommender).fit(Sessions.of(TRAIN) if sessions is None else sessions)


def _lists(fitted: Recommender, *, k: int = 10) -> Ranking:
    test = Sessions.of(TEST).with_vocabulary(fitted.vocabulary)
    return fitted.rank(Prefixes.every(test), k=k, threads=1)


def _lawful_lists(recommender: Recommender) -> str | None:
    check_lists(_fitted(recommender), Sessions.of(TEST))
    return None


def _seeded(recommender: Recommender) -> str | None:
    return _differing(_lists(_fitted(recommender)), _lists(_fitted(recommender)))


def _unmodified(recommender: Recommender) -> str | None:
    sessions = Sessions.of(TRAIN)
    before = sessions.fingerprint()
    fitted = _fitted(recommender, sessions)
    prefixes = Prefixes.every(sessions.with_vocabulary(fitted.vocabulary))
    items = prefixes.items.copy()
    fitted.rank(prefixes, k=5)
    same = sessions.fingerprint() == before and bool((prefixes.items == items).all())
    return None if same else "sessions or prefixes were changed in place; work on a copy"


def _saved(recommender: Recommender) -> str | None:
    fitted = _fitted(recommender)
    with TemporaryDirectory() as folder:
        loaded = load_artifact(save_artifact(fitted, Path(folder) / "model", {})).recommender
    if loaded.params() != fitted.params():
        return f"it was saved with options {fitted.params()}, and has {loaded.params()}"
    return _differing(_lists(loaded), _lists(fitted))


def _excluded(recommender: Recommender) -> str | None:
    fitted = _fitted(recommender)
    for options, refused in (
        ({"exclude": ["i1", "i3"]}, {"i1", "i3"}),
        ({"exclude_seen": True}, {"i1", "i2"}),
        ({"allow": ["i4", "i5"]}, set(map(str, fitted.vocabulary.ids)) - {"i4", "i5"}),
    ):
        answer = fitted.recommend([["i1", "i2"]], k=10, **options)[0]  # pyright: ignore[reportArgumentType]
        if wrong := refused & set(answer.items):
            return f"with {options} the list has {min(map(str, wrong))}"
        expected = min(10, len(fitted.vocabulary) - len(refused))
        if len(answer.items) != expected:
            return f"with {options} the list has {len(answer.items)} items, expected {expected}"
    return None


def _unknown(recommender: Recommender) -> str | None:
    fitted = _fitted(recommender)
    popular = fitted.vocabulary.decode([1, 2, 3])
    for session in ([], ["never-seen"]):
        answer = fitted.recommend([session], k=3)[0]
        if answer.items != popular or answer.unknown != session:
            return f"after {session} it lists {answer.items}, and reports {answer.unknown} as unknown"
    return None


def _smallest(recommender: Recommender) -> str | None:
    found = _fitted(recommender, Sessions.of([["only", "only"]])).recommend([["only"]], k=2)[0].items
    return None if found == ["only"] else f"it lists {found}"


LAWS: Laws[Recommender] = {
    "its lists keep the laws of lists": _lawful_lists,
    "the same seed gives the same lists": _seeded,
    "inputs are not modified": _unmodified,
    "a saved model gives the same lists": _saved,
    "excluded items never come back, and lists stay full": _excluded,
    "a session without known items gets the popular ones, and unknown items are reported": _unknown,
    "one item and one session are enough": _smallest,
}


def _differing(found: Ranking, expected: Ranking) -> str | None:
    for row in range(len(expected)):
        if reason := difference(list_of(expected, row), list_of(found, row)):
            return f"list {row}: {reason}"
    return None
