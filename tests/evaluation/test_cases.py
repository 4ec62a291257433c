"""Cases: every proper prefix, what follows it, and which items are still to come."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nearnext.data.sessions import Sessions
from nearnext.data.vocabulary import Vocabulary
from nearnext.errors import ConfigError, DataError
from nearnext.evaluation.cases import Cases

CLICKS = st.lists(st.lists(st.sampled_from("abcxy"), min_size=1, max_size=8), min_size=1, max_size=6)


def known_abc(clicks: list[str] | list[list[str]]) -> Sessions:
    """Sessions in the vocabulary a, b, c (items 1, 2, 3); every other id is unknown."""
    return Sessions.of([list(session) for session in clicks]).with_vocabulary(Vocabulary.of(list("abc")))


def test_every_proper_prefix_is_a_case_in_order() -> None:
    cases = Cases.of(known_abc(["abac", "b", "ca"]))
    assert len(cases) == 3 + 0 + 1
    assert cases.n_sessions == 3
    assert cases.n_items == 3
    assert cases.session.tolist() == [0, 0, 0, 2]
    assert cases.prefix_lengths.tolist() == [1, 2, 3, 1]
    assert cases.targets.tolist() == [2, 1, 3, 1]
    assert cases.remaining.tolist() == [3, 2, 1, 1]
    assert cases.distinct.tolist() == [3, 2, 1, 1]


def test_repeats_count_as_clicks_but_once_as_items() -> None:
    cases = Cases.of(known_abc(["abbab"]))
    assert cases.remaining.tolist() == [4, 3, 2, 1]
    assert cases.distinct.tolist() == [2, 2, 2, 1]


def test_each_unknown_click_counts_as_one_item_of_its_own() -> None:
    cases = Cases.of(known_abc(["axbxx"]))
    assert cases.targets.tolist() == [0, 2, 0, 0]
    assert cases.remaining.tolist() == [4, 3, 2, 1]
    assert cases.distinct.tolist() == [4, 3, 2, 1]


def test_an_item_remains_until_its_last_click() -> None:
    cases = Cases.of(known_abc(["abac", "ca"]))
    asked = np.tile(np.array([1, 2, 3, 0], np.int32), (4, 1))
    assert cases.remain(asked).tolist() == [
        [True, True, True, False],
        [True, False, True, False],
        [False, False, True, False],
        [True, False, False, False],
    ]


def test_nothing_remains_where_all_items_are_unknown() -> None:
    cases = Cases.of(known_abc(["xyx"]))
    assert cases.remain(np.ones((2, 3), np.int32)).tolist() == [[False] * 3] * 2


def test_a_longest_prefix_cuts_what_is_seen_and_nothing_else() -> None:
    whole, cut = Cases.of(known_abc(["abacb", "ca"])), Cases.of(known_abc(["abacb", "ca"]), max_prefix=2)
    assert cut.prefixes.lengths.tolist() == [1, 2, 2, 2, 1]
    assert cut.prefixes.ends.tolist() == whole.prefixes.ends.tolist()
    for name in ("session", "prefix_lengths", "targets", "remaining", "distinct"):
        assert getattr(cut, name).tolist() == getattr(whole, name).tolist()
    seen = [cut.prefixes.items[b:e].tolist() for b, e in zip(cut.prefixes.starts, cut.prefixes.ends, strict=True)]
    assert seen == [[1], [1, 2], [2, 1], [1, 3], [3]]


@pytest.mark.parametrize("max_prefix", [0, -1])
def test_a_longest_prefix_below_one_is_refused(max_prefix: int) -> None:
    with pytest.raises(ConfigError, match="max_prefix must be a whole number of at least 1"):
        Cases.of(known_abc(["ab"]), max_prefix=max_prefix)


@pytest.mark.parametrize("clicks", [["a", "b"], []])
def test_sessions_without_a_second_click_are_refused(clicks: list[str]) -> None:
    with pytest.raises(DataError, match="2 or more clicks"):
        Cases.of(known_abc(clicks))


@given(CLICKS, st.one_of(st.none(), st.integers(1, 5)))
def test_cases_equal_a_walk_over_the_sessions(clicks: list[list[str]], max_prefix: int | None) -> None:
    expected = [
        (session, position, clicks[session][:position], clicks[session][position:])
        for session in range(len(clicks))
        for position in range(1, len(clicks[session]))
    ]
    if not expected:
        return
    cases = Cases.of(known_abc(clicks), max_prefix)
    item_index = {"a": 1, "b": 2, "c": 3}
    remains = cases.remain(np.tile(np.arange(4, dtype=np.int32), (len(cases), 1)))
    assert len(cases) == len(expected)
    for case, (session, position, seen, rest) in enumerate(expected):
        begin, end = cases.prefixes.starts[case], cases.prefixes.ends[case]
        shown = seen if max_prefix is None else seen[-max_prefix:]
        known = {item_index[raw] for raw in rest if raw in item_index}
        unknown = sum(raw not in item_index for raw in rest)
        assert cases.prefixes.items[begin:end].tolist() == [item_index.get(raw, 0) for raw in shown]
        assert cases.session[case] == session
        assert cases.prefix_lengths[case] == position
        assert cases.targets[case] == item_index.get(rest[0], 0)
        assert cases.remaining[case] == len(rest)
        assert cases.distinct[case] == len(known) + unknown
        assert set(np.flatnonzero(remains[case]).tolist()) == known


@given(CLICKS, st.integers(0, 20), st.integers(0, 20))
def test_a_slice_answers_as_the_whole(clicks: list[list[str]], begin: int, size: int) -> None:
    if all(len(session) == 1 for session in clicks):
        return
    whole = Cases.of(known_abc(clicks))
    part = whole.take(slice(begin, begin + size))
    asked = np.tile(np.arange(4, dtype=np.int32), (len(whole), 1))
    assert part.targets.tolist() == whole.targets[begin : begin + size].tolist()
    assert part.remain(asked[: len(part)]).tolist() == whole.remain(asked)[begin : begin + size].tolist()


def test_inputs_stay_as_they_were() -> None:
    sessions = known_abc(["abxa", "cb"])
    before = sessions.fingerprint()
    Cases.of(sessions, max_prefix=1)
    assert sessions.fingerprint() == before
