"""Sessions from events, against a plain-Python oracle."""

from collections import defaultdict

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nearnext.data.events import EventLog, ReadReport
from nearnext.data.sessionise import read_sessions, sessionise
from nearnext.data.sessions import Sessions
from nearnext.errors import ConfigError, DataError

REPORT = ReadReport("test", "frame", {}, "seconds", 0, 0, {}, {})
Event = tuple[int, str, int]
EVENTS = st.lists(st.tuples(st.integers(0, 4), st.sampled_from("abc"), st.integers(0, 12)), min_size=1, max_size=40)


def log_of(events: list[Event], key: str) -> EventLog:
    """Events (session or user, item, seconds)."""
    frame = pl.DataFrame(events, schema={key: pl.Int64, "item_id": pl.String, "time": pl.Int64}, orient="row")
    return EventLog(frame.with_columns(pl.col("time") * 1_000_000), REPORT)


def oracle(events: list[Event], gap: int | None, collapse: bool = False) -> list[tuple[object, list[tuple[str, int]]]]:
    """Sessions as (id, clicks), in order: the definition, one event at a time."""
    owners: defaultdict[int, list[tuple[int, int, str]]] = defaultdict(list)
    for position, (owner, item, time) in enumerate(events):
        owners[owner].append((time, position, item))
    found: list[tuple[int, int, object, list[tuple[str, int]]]] = []
    for owner, clicks in owners.items():
        sessions: list[list[tuple[int, int, str]]] = []
        for click in sorted(clicks):
            if not sessions or (gap is not None and click[0] - sessions[-1][-1][0] > gap):
                sessions.append([])
            sessions[-1].append(click)
        for number, session in enumerate(sessions, 1):
            name = owner if gap is None else f"{owner}:{number}"
            first_seen = min(position for _, position, _ in session)
            counted = session
            if collapse:  # rows that repeat exactly, then clicks on the item of the click before
                counted = list({(time, item): (time, 0, item) for time, _, item in session}.values())
            kept = [
                now
                for before, now in zip([None, *counted], counted, strict=False)
                if not collapse or before is None or before[2] != now[2]
            ]
            found.append((session[0][0], first_seen, name, [(item, time) for time, _, item in kept]))
    return [(name, clicks) for _, _, name, clicks in sorted(found, key=lambda session: session[:2])]


def plain(sessions: Sessions) -> list[tuple[object, list[tuple[str, int]]]]:
    clicks = list(zip(sessions.vocabulary.decode(sessions.items), (sessions.times // 1_000_000).tolist(), strict=True))
    bounds = zip(sessions.session_ids, sessions.offsets[:-1], sessions.offsets[1:], strict=True)
    return [(name, [(str(item), time) for item, time in clicks[begin:end]]) for name, begin, end in bounds]


@given(events=EVENTS, collapse=st.booleans())
def test_sessions_by_id_equal_the_definition(events: list[Event], collapse: bool) -> None:
    assert plain(sessionise(log_of(events, "session_id"), collapse_repeats=collapse)) == oracle(events, None, collapse)


@given(events=EVENTS, gap=st.integers(0, 5), collapse=st.booleans())
def test_sessions_cut_per_user_equal_the_definition(events: list[Event], gap: int, collapse: bool) -> None:
    assert plain(sessionise(log_of(events, "user_id"), gap=gap, collapse_repeats=collapse)) == oracle(
        events, gap, collapse
    )


@given(events=EVENTS, data=st.data())
def test_shuffled_rows_give_the_same_sessions_when_times_are_distinct(events: list[Event], data: st.DataObject) -> None:
    distinct = [(owner, item, 100 * second) for second, (owner, item, _) in enumerate(events)]
    shuffled = data.draw(st.permutations(distinct))
    for key in ("session_id", "user_id"):
        one, other = (sessionise(log_of(rows, key), gap=250) for rows in (distinct, shuffled))
        assert one.fingerprint() == other.fingerprint()


@given(events=EVENTS)
def test_the_vocabulary_is_that_of_the_log_the_most_clicked_first(events: list[Event]) -> None:
    sessions = sessionise(log_of(events, "session_id"))
    assert set(sessions.vocabulary.ids) == {item for _, item, _ in events}
    assert sessions.reindexed().vocabulary.ids.to_list() == sessions.vocabulary.ids.to_list()
    assert np.all(np.diff(sessions.item_counts()[1:]) <= 0)


def test_a_pause_as_long_as_the_gap_does_not_cut() -> None:
    events = [(1, "a", 0), (1, "b", 1800), (1, "c", 3601)]
    assert plain(sessionise(log_of(events, "user_id"))) == [("1:1", [("a", 0), ("b", 1800)]), ("1:2", [("c", 3601)])]


def test_ties_keep_the_order_of_the_log_and_repeated_rows_stay() -> None:
    events = [(1, "b", 5), (1, "a", 5), (2, "c", 5), (1, "b", 5), (1, "b", 5)]
    assert plain(sessionise(log_of(events, "session_id"))) == [
        (1, [("b", 5), ("a", 5), ("b", 5), ("b", 5)]),
        (2, [("c", 5)]),
    ]


def test_ids_of_text_stay_text() -> None:
    frame = pl.DataFrame({"user": ["a:1", "007"], "item": ["07", "7"], "ts": [0, 0]})
    sessions = read_sessions(frame)
    assert sessions.session_ids.to_list() == ["a:1:1", "007:1"]
    assert [sessions.raw(0), sessions.raw(1)] == [["07"], ["7"]]


def test_a_session_of_a_million_clicks() -> None:
    items = np.arange(1_000_000) % 1000
    frame = pl.DataFrame({"session_id": np.zeros(1_000_000, np.int64), "item_id": items, "time": items[::-1].copy()})
    sessions = sessionise(EventLog(frame, REPORT))
    assert sessions.lengths.tolist() == [1_000_000]
    assert np.all(np.diff(sessions.times) >= 0)
    assert sessions.item_counts()[1:].tolist() == [1000] * 1000


def test_an_impossible_gap_and_an_empty_log_are_refused() -> None:
    with pytest.raises(ConfigError, match="gap must be a finite number of at least 0, found -1"):
        sessionise(log_of([(1, "a", 0)], "user_id"), gap=-1)
    with pytest.raises(DataError, match="the log has no events"):
        sessionise(
            EventLog(pl.DataFrame(schema={"session_id": pl.Int64, "item_id": pl.Int64, "time": pl.Int64}), REPORT)
        )


def test_the_frame_is_not_modified() -> None:
    log = log_of([(2, "b", 5), (1, "a", 4), (2, "b", 3)], "user_id")
    before = log.frame.clone()
    sessionise(log, collapse_repeats=True)
    assert log.frame.equals(before)
