"""One click that a log tells several times: merged by default, the same for a log of one event type."""

import warnings
from pathlib import Path

import polars as pl
import pytest

from nearnext.data.events import read_events
from nearnext.data.prepare import prepare
from nearnext.data.repeats import Repeats
from nearnext.data.sessionise import read_sessions, sessions_of
from nearnext.errors import LogWarning

ROWS = [
    ("s", "a", 1, "view"),
    ("s", "a", 2, "cart"),
    ("s", "b", 3, "view"),
    ("s", "b", 4, "view"),
    ("s", "c", 5, "view"),
    ("s", "c", 6, "view"),
    ("s", "c", 7, "buy"),
    ("s", "a", 8, "buy"),
    ("t", "a", 9, "view"),
    ("t", "b", 10, "view"),
]
FRAME = pl.DataFrame(ROWS, schema=["session", "item", "time", "event"], orient="row")


def clicks(**options: object) -> list[str]:
    return [str(item) for item in read_sessions(FRAME, **options).raw(0)]  # type: ignore[arg-type]


def test_a_run_of_clicks_on_one_item_counts_once_where_its_event_types_differ():
    assert clicks() == ["a", "b", "b", "c", "a"]
    assert clicks(collapse_repeats=True) == ["a", "b", "c", "a"]
    assert clicks(collapse_repeats=False) == ["a", "a", "b", "b", "c", "c", "c", "a"]


def test_python_says_what_the_commands_say_before_any_figure(tmp_path: Path):
    with pytest.warns(LogWarning, match="polars frame: 3 clicks .30.0%. repeat the click before them under another"):
        read_sessions(FRAME)
    again = pl.DataFrame({"session": [1, 1, 2, 2], "item": list("abcd"), "time": [0, 9000, 1, 2]})
    again.write_csv(tmp_path / "log.csv")
    with pytest.warns(
        LogWarning, match=r"log.csv: 1 of 2 sessions go on after a pause longer than gap \(--gap"
    ) as caught:
        read_sessions(tmp_path / "log.csv")
    assert [one.filename for one in caught] == [__file__]
    with pytest.warns(LogWarning, match="1 of 2 session ids have clicks of several users"):
        read_sessions(again.with_columns(user=pl.Series([1, 2, 3, 3])), gap=1e6)
    with pytest.warns(LogWarning, match=r"1 of 4 rows cannot be used .missing item id 1., first polars frame row 4"):
        read_sessions(again.with_columns(item=pl.Series(["a", "b", "c", None])), gap=1e6)
    with warnings.catch_warnings(action="error"):
        read_sessions(again, gap=1e6)


def test_one_event_type_is_counted_row_by_row():
    assert clicks(events=["view"]) == ["a", "b", "b", "c", "c"]
    alone = FRAME.filter(pl.col("event") == "view")
    assert read_sessions(alone).raw(0) == clicks(events=["view"])
    assert read_sessions(alone.drop("event")).raw(0) == clicks(events=["view"])


def test_two_chosen_types_are_merged_and_the_third_is_not_there():
    assert clicks(events=["view", "cart"]) == ["a", "b", "b", "c", "c"]


def test_what_was_found_is_counted_and_said():
    log = read_events(FRAME)
    _, found, _ = sessions_of(log)
    assert found == Repeats(10, 4, 3, 3, sessions=2)
    assert found.note(log.report.event_types) == (
        "3 clicks (30.0%) repeat the click before them under another event type (view, buy, cart): they count as one "
        "click; events=['view'] (--events view) uses one type, collapse_repeats=False (--keep-repeats) counts every row"
    )
    _, kept, _ = sessions_of(log, collapse_repeats=False)
    assert "one click counts several times" in kept.note(log.report.event_types)
    assert sessions_of(read_events(FRAME, events=["view"]))[1].note({}) == ""


def test_rare_repeats_are_not_worth_a_line():
    assert Repeats(clicks=1000, repeats=500, across_types=2, left_out=2).note({"view": 1}) == ""


@pytest.mark.parametrize("partitions", [1, 3])
def test_prepare_merges_as_reading_does(tmp_path: Path, partitions: int):
    report = prepare(FRAME, tmp_path / "p.parquet", partitions=partitions)
    assert (report.repeats.across_types, report.repeats.left_out) == (3, 3)
    assert read_sessions(tmp_path / "p.parquet").raw(0) == clicks()


def test_a_folder_in_which_only_some_files_have_event_types(tmp_path: Path):
    FRAME.head(8).write_csv(tmp_path / "1.csv")
    FRAME.tail(2).drop("event").write_csv(tmp_path / "2.csv")
    sessions = read_sessions(tmp_path)
    assert (sessions.raw(0), sessions.raw(1)) == (clicks(), ["a", "b"])
    report = prepare(tmp_path, tmp_path.parent / "p.parquet", partitions=2)
    assert report.events == sessions.n_events


TWICE = pl.DataFrame({"session": "s", "item": ["a", "b", "a", "c"], "time": [1, 1, 1, 2]})


def test_rows_that_repeat_exactly_are_named_with_the_option_that_mends_them():
    log = read_events(pl.concat([TWICE, TWICE]))
    sessions, found, _ = sessions_of(log)
    assert (sessions.n_events, found.exact, found.left_out) == (8, 5, 0)
    assert found.note({}).startswith("5 clicks (62.5%) repeat an earlier row exactly (same session, item and time)")
    assert found.note({}).endswith(
        "are counted, which makes every figure too high; remove the copies, or read the log with "
        "collapse_repeats=True (--collapse-repeats)"
    )


def test_exact_repeats_are_dropped_wherever_they_stand_in_their_moment():
    merged, found, _ = sessions_of(read_events(pl.concat([TWICE, TWICE])), collapse_repeats=True)
    assert merged.raw(0) == ["a", "b", "c"]
    assert found.left_out == 5
    assert found.note({}).endswith("; they are not counted, as collapse_repeats=True (--collapse-repeats) asks")


def test_rows_of_other_times_sessions_or_event_types_repeat_nothing():
    later = TWICE.unique(maintain_order=True)
    other = later.with_columns(pl.lit("t").alias("session"))
    assert sessions_of(read_events(pl.concat([later, other])))[1].exact == 0
    assert sessions_of(read_events(pl.concat([later, later.with_columns(pl.col("time") + 5)])))[1].exact == 0
    types = pl.concat([later.with_columns(event=pl.lit(kind)) for kind in ("view", "buy")])
    assert sessions_of(read_events(types))[1].exact == 0


def test_prepare_counts_exact_repeats_of_all_partitions(tmp_path: Path):
    rows = pl.DataFrame({"session": ["s", "s", "t", "t"] * 2, "item": ["a", "b"] * 4, "time": [1, 2, 3, 4] * 2})
    done = prepare(rows, tmp_path / "out.parquet", partitions=3, collapse_repeats=True)
    assert (done.repeats.exact, done.events) == (4, 4)
