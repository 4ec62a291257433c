"""Options and columns of a log that are of another kind than expected: read, or refused in one clear line."""

from functools import partial
from pathlib import Path
from typing import Any
from uuid import UUID

import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

from nearnext.data.events import read_events, scan_events
from nearnext.data.prepare import prepare
from nearnext.data.sessionise import read_sessions
from nearnext.errors import ConfigError, DataError

LOG = pl.DataFrame({"session": ["s", "s", "t"], "item": ["a", "b", "c"], "time": [1, 2, 3]})


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"strict": "no"}, "strict must be true or false, found 'no'"),
        ({"quoting": "no"}, "quoting must be true or false, found 'no'"),
        ({"events": [1]}, r"expected a list of event types, found \[1\]"),
        ({"events": [""]}, "expected a list of event types"),
        ({"layout": 3}, "unknown layout '3'"),
        ({"time_unit": 1}, "unknown time unit '1'"),
        ({"rejects": 5}, "expected a path as rejects, found 5"),
    ],
)
def test_options_of_another_type_are_refused_by_name(options: dict[str, Any], message: str):
    for read in (read_events, scan_events, read_sessions, partial(prepare, out="out.parquet")):
        with pytest.raises(ConfigError, match=message):
            read(LOG, **options)


@pytest.mark.parametrize("gap", ["30", None, True, float("nan"), -1])
def test_a_gap_that_is_no_number_of_seconds_is_refused(gap: Any):
    with pytest.raises(ConfigError, match="gap must be a finite number of at least 0"):
        read_sessions(LOG, gap=gap)


def test_rejects_on_a_full_disk_are_one_clear_error():
    log = LOG.with_columns(pl.lit("").alias("item"))
    with pytest.raises(DataError, match="cannot write rejected rows to /dev/full: No space left"):
        read_events(log, rejects="/dev/full")


def test_event_types_that_the_log_lacks_are_named():
    log = LOG.with_columns(pl.Series("event", ["view", "View", "buy"]))
    assert read_events(log, events=["view", "typo"]).report.notes == [
        "no event is of type typo; found types buy, view",
    ]


@pytest.mark.parametrize("asked", ["view", "View", " VIEW "])
def test_event_types_match_without_case_and_blanks(asked: str):
    types = [" View", "view", "buy ", "VIEW", "Buy", "", None]
    log = pl.DataFrame({"session": [1] * 7, "item": list("abcdefg"), "time": range(7), "event": types})
    read = read_events(log)
    assert read.report.event_types == {"View": 3, "(none)": 2, "buy": 2}
    assert read.report.changed == {"other spelling of an event type": 5}  # only those are not that have the first one
    assert read_events(log, events=[asked]).frame["item_id"].to_list() == ["a", "b", "d"]
    chosen = read_events(log, events=[asked, "buy"], target=["BUY"], weights={asked: 2, "Buy": 5})
    assert chosen.targets is not None
    assert chosen.weights is not None
    assert chosen.targets.to_list() == [False, False, True, False, True]
    assert chosen.weights.to_list() == [2, 2, 5, 2, 5]
    with pytest.raises(ConfigError, match="one weight of each event type, found view, View, which only case tells"):
        read_events(log, weights={"view": 1, "View": 2})


def test_one_column_is_not_two_roles():
    with pytest.raises(DataError, match=r"the column session is mapped to (item and session|session and item)"):
        read_events(LOG, columns={"item": "session", "session": "session"})


def test_columns_called_by_numbers_are_never_taken_by_position():
    frame = pd.DataFrame([[1, "a", 5], [1, "b", 6]])
    columns: Any = {"session": 0, "item": 1, "time": 2}
    assert read_events(frame, columns=columns).frame.rows() == [(1, "a", 5_000_000), (1, "b", 6_000_000)]
    with pytest.raises(DataError, match="no column '3' for time; found columns 0, 1, 2"):
        read_events(frame, columns=columns | {"time": 3})


def test_columns_of_one_name_are_distinguished_by_position(tmp_path: Path):
    (tmp_path / "a.csv").write_text("session,item,item,time\n1,2,3,4\n")
    with pytest.raises(DataError, match="2 columns are called item, which is the item; map one by its position"):
        read_events(tmp_path / "a.csv")
    assert read_events(tmp_path / "a.csv", columns={"item": "3"}).frame["item_id"].to_list() == [3]


def test_uuids_wide_integers_and_run_end_encoded_columns_are_read():
    uuids = [UUID(int=number + 2**100) for number in range(3)]
    texts = [str(one) for one in uuids]
    rows = {"session": ["s", "s", "t"], "time": [1, 2, 3]}
    runs: Any = pa.RunEndEncodedArray.from_arrays(pa.array([2, 3], pa.int32()), pa.array(["a", "b"]))
    for source, expected in (
        (pd.DataFrame(rows | {"item": uuids}), texts),
        (LOG.with_columns(pl.Series("item", uuids, dtype=pl.Object)), texts),
        (LOG.with_columns(pl.Series("item", [1, 2, 3], dtype=pl.Int128)), [1, 2, 3]),
        (LOG.with_columns(pl.Series("item", [1, 2, 2**70], dtype=pl.Int128)), ["1", "2", str(2**70)]),
        (pa.table(rows | {"item": runs}), ["a", "a", "b"]),
    ):
        assert read_events(source).frame["item_id"].to_list() == expected
