"""Sessions, vocabulary and prefixes: the frozen arrays everything stands on."""

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nearnext.data.prefixes import Prefixes
from nearnext.data.sessions import Sessions
from nearnext.data.vocabulary import Vocabulary
from nearnext.errors import DataError

logs = st.lists(st.lists(st.sampled_from("abcdef"), min_size=1, max_size=6), min_size=1, max_size=12)


@given(logs)
def test_raw_ids_come_back_in_order(clicks: list[list[str]]):
    sessions = Sessions.of(clicks)
    assert [sessions.raw(s) for s in range(sessions.n_sessions)] == clicks


@given(logs)
def test_indices_follow_falling_popularity_then_first_appearance(clicks: list[list[str]]):
    counts = Sessions.of(clicks).item_counts()
    assert counts[0] == 0
    assert np.all(np.diff(counts[1:]) <= 0)
    flat = [raw for session in clicks for raw in session]
    expected = sorted(dict.fromkeys(flat), key=lambda raw: (-flat.count(raw), flat.index(raw)))
    assert Sessions.of(clicks).vocabulary.ids.to_list() == expected


@given(logs, st.data())
def test_selecting_sessions_keeps_their_clicks_and_times(clicks: list[list[str]], data: st.DataObject):
    sessions = Sessions.of(clicks)
    chosen = data.draw(st.lists(st.sampled_from(range(len(clicks))), unique=True))
    part = sessions.select(np.array(chosen, dtype=np.int64))
    assert [part.raw(s) for s in range(part.n_sessions)] == [clicks[s] for s in chosen]
    assert part.starts.tolist() == sessions.starts[chosen].tolist()


@given(logs, st.sampled_from("abcdef"))
def test_dropping_clicks_drops_emptied_sessions(clicks: list[list[str]], dropped: str):
    sessions = Sessions.of(clicks)
    index = int(sessions.vocabulary.encode([dropped])[0])
    part = sessions.keep_events(sessions.items != index) if index else sessions
    expected = [[raw for raw in session if raw != dropped] for session in clicks]
    assert [part.raw(s) for s in range(part.n_sessions)] == [session for session in expected if session]


@given(logs, logs)
def test_joining_logs_keeps_both(first: list[list[str]], second: list[list[str]]):
    joined = Sessions.of(first).followed_by(Sessions.of(second))
    assert [joined.raw(s) for s in range(joined.n_sessions)] == first + second


@given(logs)
def test_every_prefix_ends_before_the_session_does(clicks: list[list[str]]):
    sessions = Sessions.of(clicks)
    prefixes = Prefixes.every(sessions)
    found = [
        sessions.vocabulary.decode(prefixes.items[start:end])
        for start, end in zip(prefixes.starts, prefixes.ends, strict=True)
    ]
    assert found == [session[:n] for session in clicks for n in range(1, len(session))]
    assert prefixes.times.tolist() == [sessions.times[end - 1] for end in prefixes.ends]


def test_arrays_cannot_be_written():
    with pytest.raises(ValueError, match="read-only"):
        Sessions.of([["a", "b"]]).items[0] = 5


def test_items_of_another_vocabulary_become_unknown():
    sessions = Sessions.of([["a", "b", "c"]]).with_vocabulary(Vocabulary.of(["c", "z", "a"]))
    assert sessions.items.tolist() == [3, 0, 1]


def test_unknown_items_have_no_raw_id_to_reindex():
    with pytest.raises(DataError, match="drop them before reindexing"):
        Sessions.of([["a", "b"]]).with_vocabulary(Vocabulary.of(["a"])).reindexed()


def test_fingerprints_tell_clicks_times_and_ids_apart():
    base = Sessions.of([["a", "b"], ["a", "c"]])
    others = [
        Sessions.of([["a", "b"], ["a", "d"]]),
        Sessions.of([["a", "b"], ["a", "c"]], starts=[0.0, 1.0]),
        Sessions.of([["a", "b", "a"], ["c"]]),
    ]
    assert base.fingerprint() == Sessions.of([["a", "b"], ["a", "c"]]).fingerprint()
    assert len({base.fingerprint(), *(other.fingerprint() for other in others)}) == 4


@pytest.mark.parametrize(
    ("offsets", "items", "reason"),
    [([0, 2], [1, 9], "item indices in 0..1"), ([0, 1], [1, 1], "offsets that rise"), ([0, 0, 2], [1, 1], "one more")],
)
def test_arrays_that_do_not_fit_are_refused(offsets: list[int], items: list[int], reason: str):
    with pytest.raises(DataError, match=reason):
        Sessions(
            np.array(items, dtype=np.int32),
            np.array(offsets, dtype=np.int64),
            np.zeros(len(items), dtype=np.int64),
            Vocabulary.of(["a"]),
            pl.Series([1]),
        )


def test_ids_keep_their_type_and_spelling():
    text, numbers = Vocabulary.of(["007", "7", "a,b", "ü\x00"]), Vocabulary.of([7, 70])
    assert text.encode(["7", "007", "ü\x00", "0007"]).tolist() == [2, 1, 4, 0]
    assert numbers.encode(["7", 70, "070", " 7", "x", ""]).tolist() == [1, 2, 0, 1, 0, 0]
    assert numbers.decode([2]) == [70]


def test_series_and_lists_encode_alike():
    vocabulary = Vocabulary.of([5, 3, 9])
    assert vocabulary.encode(pl.Series([9, 4, 5])).tolist() == vocabulary.encode([9, 4, 5]).tolist() == [3, 0, 1]


def test_a_vocabulary_holds_each_id_once():
    with pytest.raises(DataError, match="distinct item ids"):
        Vocabulary(pl.Series(["a", "a"]))
