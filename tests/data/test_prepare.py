"""The way for logs larger than memory gives what the way in memory gives."""

import os
import random
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from executor_support import SideBySide
from nearnext.data import prepare as prepare_module
from nearnext.data.filters import Filter, apply_filter
from nearnext.data.prepare import prepare
from nearnext.data.sessionise import read_sessions
from nearnext.errors import ConfigError, DataError

FILTERS = st.builds(
    Filter,
    min_length=st.integers(1, 3),
    min_support=st.integers(1, 4),
    mode=st.sampled_from(["paper", "iterated"]),
    max_length=st.none() | st.integers(2, 4),
)
EVENTS = st.lists(st.tuples(st.integers(0, 9), st.integers(0, 6), st.integers(0, 50)), min_size=1, max_size=80)


@settings(max_examples=40)
@given(
    events=EVENTS, chosen=FILTERS, key=st.sampled_from(["session", "user"]), collapse=st.booleans(), text=st.booleans()
)
def test_prepared_logs_equal_filtered_logs(
    tmp_path_factory: pytest.TempPathFactory,
    events: list[tuple[int, int, int]],
    chosen: Filter,
    key: str,
    collapse: bool,
    text: bool,
) -> None:
    folder = tmp_path_factory.mktemp("prepare")
    frame = pl.DataFrame(events, schema=[key, "item", "ts"], orient="row")
    frame = frame.with_columns(pl.col("item").cast(pl.String) + "é") if text else frame
    whole = read_sessions(frame, gap=10, collapse_repeats=collapse)
    expected, report = apply_filter(whole, chosen)
    if expected.n_sessions == 0:
        with pytest.raises(DataError, match="no sessions are left"):
            prepare(frame, folder / "out.parquet", chosen=chosen, gap=10, collapse_repeats=collapse, partitions=3)
    else:
        for name, partitions in (("out.parquet", 3), ("out", 1), ("out", 3)):
            done = prepare(
                frame, folder / name, chosen=chosen, gap=10, collapse_repeats=collapse, partitions=partitions
            )
            found = read_sessions(done.out)
            assert found.fingerprint() == expected.reindexed().fingerprint()
            assert done.filtered == report
            assert (done.sessions, done.events, done.items) == (found.n_sessions, found.n_events, found.n_items)
    assert sorted(path.name for path in folder.iterdir()) in ([], ["out", "out.parquet"])


def test_event_types_are_kept_by_folders_in_the_order_of_the_whole_log(tmp_path: Path) -> None:
    draw = random.Random(4)
    clicks = [(n % 40, draw.randint(0, 5), n, draw.choice("vvvvccp")) for n in range(400)]
    frame = pl.DataFrame(
        [*clicks, (99, 1, 500, "p"), (99, 2, 501, "p")], schema=["session", "item", "ts", "event"], orient="row"
    )
    expected = apply_filter(read_sessions(frame), Filter())[0].reindexed()
    assert expected.types is not None
    for partitions in (1, 9):
        found = read_sessions(prepare(frame, tmp_path / f"out{partitions}", partitions=partitions).out)
        assert found.types is not None
        assert (found.event_types, found.types.tolist()) == (("v", "c", "p"), expected.types.tolist())
        assert found.fingerprint() == expected.fingerprint()
    assert read_sessions(prepare(frame, tmp_path / "out.parquet").out).types is None
    assert read_sessions(prepare(frame, tmp_path / "views", events=["v"]).out).event_types == ()


def test_ids_that_turn_out_to_be_text_stay_in_one_partition(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("session_id,item_id,time\n" + "".join(f"{n},{n},{n}\n" for n in range(50)))
    (tmp_path / "b.csv").write_text("session_id,item_id,time\n" + "".join(f"{n},0{n},{n + 50}\n" for n in range(50)))
    (tmp_path / "c.csv").write_text(
        "session_id,item_id,time\nx,1,1\n" + "".join(f"{n},{n},{n + 99}\n" for n in range(50))
    )
    expected = read_sessions(tmp_path)
    done = prepare(tmp_path, tmp_path / "out.pq", chosen=Filter(min_length=1), partitions=4)
    found = read_sessions(done.out)
    assert found.fingerprint() == expected.fingerprint()
    assert found.session_ids.dtype == pl.String
    assert sorted(found.session_ids) == sorted([*(str(n) for n in range(50)), "x"])


def test_many_chunks_and_partitions_of_a_shuffled_log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("nearnext.data.delimited.BLOCK", 4096)
    monkeypatch.setattr("nearnext.data.stored.BLOCK", 100)
    draw = random.Random(7)
    rows = [
        f"u{draw.randrange(200)},i{int(draw.paretovariate(0.7)) % 300},{draw.randrange(10**6)}" for _ in range(5000)
    ]
    (tmp_path / "log.csv").write_text("user_id,item_id,time\n" + "\n".join(rows))
    chosen = Filter(min_length=2, min_support=5, mode="iterated", max_length=20)
    done = prepare(tmp_path / "log.csv", tmp_path / "out.parquet", chosen=chosen, gap=20_000, partitions=7)
    expected, report = apply_filter(read_sessions(tmp_path / "log.csv", gap=20_000), chosen)
    assert read_sessions(done.out).fingerprint() == expected.reindexed().fingerprint()
    assert (done.filtered, done.partitions, done.read.rows) == (report, 7, 5000)


def test_two_workers_write_what_one_writes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("nearnext.data.prepare.PROCESSES_PAY", 0)
    monkeypatch.setattr("nearnext.data.delimited.BLOCK", 512)
    draw = random.Random(7)
    rows = [f"u{draw.randrange(50)},i{draw.randrange(30)},{draw.randrange(10**6)}" for _ in range(1000)]
    (tmp_path / "log.csv").write_text("user_id,item_id,time\n" + "\n".join(rows))
    for workers in (1, 2):
        done = prepare(tmp_path / "log.csv", tmp_path / f"by{workers}", gap=20_000, partitions=4, workers=workers)
        assert done.sessions > 0
    one, two = ({file.name: file.read_bytes() for file in (tmp_path / f"by{n}").iterdir()} for n in (1, 2))
    assert one == two


def clicks(name: str, n: int, begin: int, apart: int = 60) -> list[str]:
    return [f"{name},i{(click * click) % 97},{1_600_000_000 + begin + click * apart}" for click in range(n)]


ODD_LOGS = {
    "fewer sessions than partitions": [clicks("1", 3, 0) + clicks("2", 3, 50)],
    "one giant session": [clicks("1", 20_000, 500, 1) + [row for s in range(2, 40) for row in clicks(f"{s}", 3, s)]],
    "a file before the one that it follows": [clicks("1", 4, 90_000) + clicks("2", 4, 90_030), clicks("2", 4, 89_000)],
    "milliseconds in one file": [clicks("1", 4, 0), [f"{row}000" for row in clicks("2", 4, 100)]],
    "a clock that is a day ahead": [clicks("1", 30, 0) + clicks("2", 30, 0), clicks("1", 30, 86_400)],
}


@pytest.mark.parametrize("odd", ODD_LOGS)
@pytest.mark.parametrize("key", ["session_id", "user_id"])
def test_skewed_partitions_and_clocks_that_disagree_change_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, odd: str, key: str
) -> None:
    monkeypatch.setattr("nearnext.data.prepare.PROCESSES_PAY", 0)
    (tmp_path / "log").mkdir()
    for number, rows in enumerate(ODD_LOGS[odd]):
        (tmp_path / "log" / f"{number:03}.csv").write_text(f"{key},item_id,time\n" + "\n".join(rows) + "\n", "utf-8")
    chosen = Filter(min_length=2, min_support=2, max_length=1000)
    expected, report = apply_filter(read_sessions(tmp_path / "log"), chosen)
    for partitions, workers in ((1, 1), (7, 3), (2, 9)):
        done = prepare(
            tmp_path / "log", tmp_path / "out", chosen=chosen, partitions=partitions, workers=SideBySide(workers)
        )
        assert read_sessions(done.out).fingerprint() == expected.reindexed().fingerprint()
        assert (done.filtered, done.partitions) == (report, partitions)


def test_the_file_holds_whole_sessions_in_order_of_time(tmp_path: Path) -> None:
    frame = pl.DataFrame({"session": [1, 2, 1, 2], "item": ["b", "c", "a", "d"], "ts": [20, 1, 10, 5]})
    prepare(frame, tmp_path / "out.parquet", partitions=1)
    written = pl.read_parquet(tmp_path / "out.parquet")
    assert written.schema == {"session_id": pl.Int64, "item_id": pl.String, "timestamp": pl.Datetime("us", "UTC")}
    assert written["session_id"].to_list() == [2, 2, 1, 1]
    assert written["item_id"].to_list() == ["c", "d", "a", "b"]


def test_an_interrupted_run_leaves_nothing_and_keeps_the_old_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out.parquet"
    out.write_text("old")

    def interrupt(*_args: object) -> int:
        raise KeyboardInterrupt

    monkeypatch.setattr(prepare_module, "_write_parquet", interrupt)
    with pytest.raises(KeyboardInterrupt):
        prepare(pl.DataFrame({"session": [1, 1], "item": [1, 2], "ts": [1, 2]}), out)
    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [("out.parquet", "old")]


def test_a_run_removes_what_a_killed_one_left(tmp_path: Path) -> None:
    left = tmp_path / ".out.parquet.a1b2c3d4" / "new"
    left.mkdir(parents=True)
    (left / "events-0-.arrow").write_text("half")
    prepare(pl.DataFrame({"session": [1, 1], "item": [1, 2], "ts": [1, 2]}), tmp_path / "out.parquet")
    assert [path.name for path in tmp_path.iterdir()] == ["out.parquet"]


def test_a_full_disk_is_one_clear_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_args: object) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(prepare_module.StoredSessions, "store", full)
    with pytest.raises(DataError, match=r"cannot write .*out.parquet: No space left on device; free some space"):
        prepare(pl.DataFrame({"session": [1, 1], "item": [1, 2], "ts": [1, 2]}), tmp_path / "out.parquet")
    assert list(tmp_path.iterdir()) == []


def test_impossible_targets_and_options_are_refused(tmp_path: Path) -> None:
    log = tmp_path / "log.csv"
    log.write_text("session_id,item_id,time\n1,1,1\n1,2,2\n")
    with pytest.raises(DataError, match="is the log itself"):
        prepare(log, log)
    with pytest.raises(DataError, match="it is a folder"):
        prepare(log, tmp_path)
    with pytest.raises(DataError, match="there is no folder"):
        prepare(log, tmp_path / "none" / "out.parquet")
    with pytest.raises(DataError, match="File name too long"):
        prepare(log, tmp_path / ("x" * 300))
    with pytest.raises(ConfigError, match="partitions must be a whole number of at least 1, found 0"):
        prepare(log, tmp_path / "out.parquet", partitions=0)
    assert [path.name for path in tmp_path.iterdir()] == ["log.csv"]


@pytest.mark.parametrize("name", ["notes.csv", "pipe", "pipe.parquet"])
def test_a_file_or_a_pipe_is_not_replaced(tmp_path: Path, name: str) -> None:
    log, out = tmp_path / "log.csv", tmp_path / name
    log.write_text("session_id,item_id,time\n1,1,1\n1,2,2\n")
    os.mkfifo(out) if name.startswith("pipe") else out.write_text("mine")
    before = out.stat().st_ino
    with pytest.raises(DataError, match=r"it is no folder; name a new one, or a file that ends in \.parquet"):
        prepare(log, out)
    assert out.stat().st_ino == before
    assert len(list(tmp_path.iterdir())) == 2


@pytest.mark.parametrize(("events", "expected"), [(10, 1), (1_000_001, 2)])
def test_partitions_follow_the_size_of_the_log(tmp_path: Path, events: int, expected: int) -> None:
    path = tmp_path / "log.parquet"
    columns = {"session_id": pl.int_range(events, eager=True) // 2, "item_id": pl.repeat(1, events, eager=True)}
    pl.DataFrame(columns).with_columns(time=pl.lit(2)).write_parquet(path)
    assert prepare(path, tmp_path / "out").partitions == expected
