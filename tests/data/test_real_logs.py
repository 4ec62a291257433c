"""The real logs read as their documentation says."""

import os
from pathlib import Path

import pytest

from nearnext.data.events import read_events
from nearnext.data.sessionise import read_sessions, sessionise

LOGS = Path(os.environ.get("NEARNEXT_DATA", "no-real-logs"))
pytestmark = [
    pytest.mark.real_logs,
    pytest.mark.skipif(not LOGS.is_dir(), reason="NEARNEXT_DATA names no folder with the real logs"),
]


@pytest.mark.parametrize(
    ("log", "sessions", "events", "items"),
    [
        ("rsc15_64/train.parquet", 116_167, 486_026, 17_376),
        ("rsc15_64/test.parquet", 15_324, 71_222, 6_751),
        ("retailrocket_tail/clicks.parquet", 58_727, 204_602, 31_756),
        ("diginetica/train.parquet", 186_670, 906_140, 43_097),
        ("diginetica/test.parquet", 15_963, 76_821, 21_131),
        ("rsc15_100k/train.parquet", 17_794, 70_278, 2_933),
    ],
)
def test_sizes_are_those_documented(log: str, sessions: int, events: int, items: int) -> None:
    found = read_sessions(LOGS / log, strict=True)
    assert (found.n_sessions, found.n_events, found.n_items) == (sessions, events, items)


def test_the_raw_retailrocket_log_is_cut_per_visitor() -> None:
    log = read_events(LOGS / "retailrocket_raw_sep2015" / "events.csv", strict=True)
    assert (log.report.layout, log.report.time_unit, log.report.used) == ("Retailrocket events", "milliseconds", 46_350)
    assert sum(log.report.event_types.values()) == 46_350
    assert sessionise(log).n_events == 43_172  # a view, a cart and a purchase of one item in a row are one click
    sessions = sessionise(log, collapse_repeats=False)
    assert sessions.n_events == 46_350
    assert max(sessions.ends - sessions.starts) > 1800 * 1_000_000
    visitors = log.frame["user_id"].n_unique()
    assert sessions.n_sessions > visitors
