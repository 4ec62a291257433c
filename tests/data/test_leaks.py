"""Leaks that users bring along, kind by kind; honest splits stay clean."""

from hashlib import blake2b

import numpy as np
import polars as pl
import pytest

from nearnext.data.imprint import NONE, Imprint, content_digests, id_digests
from nearnext.data.leaks import Leaks, find_leaks
from nearnext.data.sessionise import read_sessions
from nearnext.data.sessions import Sessions
from nearnext.data.splits import Split, split_days, split_last, split_parts, split_windows
from nearnext.errors import LeakWarning

RNG = np.random.default_rng(5)
CLICKS = [(f"v{s}", f"i{RNG.integers(30)}", 1_600_000_000 + 400 * s + 20 * j) for s in range(200) for j in range(3)]
FRAME = pl.DataFrame(CLICKS, schema=["session", "item", "time"], orient="row")
CUT = 1_600_000_000 + 400 * 150


def renamed(frame: pl.DataFrame) -> pl.DataFrame:
    return frame.with_columns(("copy-" + pl.col("session")).alias("session"))


def leaks(train: pl.DataFrame, test: pl.DataFrame) -> Leaks:
    return find_leaks(Imprint.of(read_sessions(train)), read_sessions(test))


EARLY, LATE = FRAME.filter(pl.col("time") < CUT), FRAME.filter(pl.col("time") >= CUT)


def test_two_honest_logs_are_clean():
    found = leaks(EARLY, LATE)
    assert found.clean
    assert (found.verdict, found.lines()) == ("clean", [])
    assert found.compared_sessions == 50


def test_every_split_of_one_log_is_clean():
    log = read_sessions(FRAME)
    for split in (split_last(log, 0.2), split_days(log, 0.3), *split_windows(log, 3)):
        assert split.leaks.clean, split.leaks
        assert split.leaks.lines() == []


def test_a_test_log_equal_to_the_training_log_is_named():
    found = leaks(FRAME, FRAME)
    assert not found.clean
    assert found.copied_sessions == 200
    assert found.verdict == (
        "not clean: all 200 test sessions are training sessions (same clicks at the same times): "
        "the test log is the training log"
    )


def test_copies_are_found_under_other_ids_and_in_other_units_and_types():
    dated = FRAME.with_columns(pl.from_epoch("time", "s").dt.offset_by("123ms"))
    numbers = FRAME.with_columns(pl.col("item").str.slice(1).cast(pl.Int64))
    spelled = numbers.with_columns(pl.col("item").cast(pl.String))
    assert leaks(FRAME, renamed(FRAME.tail(90))).copied_sessions == 30
    assert leaks(numbers, renamed(spelled)).copied_sessions == 200
    assert leaks(dated, renamed(FRAME)).copied_sessions == 200


def test_a_test_log_with_some_sessions_of_training_counts_them():
    found = leaks(EARLY, pl.concat([renamed(EARLY.tail(30)), LATE]))
    assert (found.copied_sessions, found.test_sessions) == (10, 60)
    assert "10 of 60 test sessions are training sessions" in found.verdict


def test_overlap_in_time_is_counted():
    train = FRAME.filter(pl.col("session").str.slice(1).cast(pl.Int64) % 2 == 0)
    test = FRAME.filter(pl.col("session").str.slice(1).cast(pl.Int64) % 2 == 1)
    found = leaks(train, test)
    assert (found.early_sessions, found.copied_sessions) == (99, 0)
    assert "overlaps with the training log: 99 of 100 test sessions start before" in found.verdict


def test_an_earlier_test_log_is_named_with_its_period():
    found = leaks(LATE, EARLY)
    assert found.early_sessions == 150
    assert "the test log (2020-09-13 12:26 to 2020-09-14 05:00) is earlier than the training log" in found.verdict


def test_a_session_id_in_both_parts_is_a_leak_and_a_session_cut_by_the_split_is_not():
    later = LATE.with_columns(pl.col("session").replace({"v160": "v3", "v161": "v4"}))
    found = leaks(EARLY, later)
    assert (found.same_ids, found.cut_sessions) == (2, 0)
    assert "2 of 50 test sessions have the id of a training session" in found.verdict
    moment = 1_600_000_000 + 400 * 150 + 30
    cut = leaks(FRAME.filter(pl.col("time") < moment), FRAME.filter(pl.col("time") >= moment))
    assert cut.clean
    assert (cut.same_ids, cut.cut_sessions) == (0, 1)
    assert cut.lines() == ["1 of 50 test sessions go on with a training session: the split cuts them in two"]


def test_users_who_come_back_are_no_leak_and_a_user_cut_by_the_split_is_counted():
    users = FRAME.with_columns(user=pl.col("session").str.slice(1).cast(pl.Int64) % 40).drop("session")
    moment = 1_600_000_000 + 400 * 150 + 30
    found = leaks(users.filter(pl.col("time") < moment), users.filter(pl.col("time") >= moment))
    assert found.clean
    assert (found.same_ids, found.cut_sessions) == (0, 1)


def test_logs_that_number_their_sessions_each_from_the_start_are_taken_for_different_sessions():
    first = Sessions.of([["a", "b"]] * 20)
    second = Sessions.of([["b", "a"]] * 10, starts=[10_000_000 + 60 * s for s in range(10)])
    found = find_leaks(Imprint.of(first), second)
    assert found.clean
    assert found.lines() == [
        "10 session numbers are in both logs: taken for different sessions, as each log counts from 0 or 1"
    ]


def test_sessions_split_by_their_last_click_are_clean():
    """As GRU4Rec splits: a test session may begin before training ends, but none ends before it does."""
    train = Sessions.of([["a", "b"], ["b", "c"]], starts=[0, 1000])
    test = Sessions.of([["x", "y", *"z" * 4000]], starts=[500])
    assert find_leaks(Imprint.of(train), test).early_sessions == 0


def test_python_warns_and_keeps_what_was_found():
    train, test = read_sessions(LATE), read_sessions(EARLY)
    with pytest.warns(LeakWarning, match="earlier than the training log"):
        split = split_parts(train, test)
    assert isinstance(split, Split)
    assert str(split).startswith("not clean: the test log")
    assert str(split_last(train)) == "45 training sessions, 5 test sessions; clean"


def test_times_without_information_are_not_compared():
    """Dates without a time of day: equal sessions of one day are no copies."""
    day = Sessions.of([["a", "b"], ["a", "b"]], starts=[0, 0])
    flat = Sessions(day.items, day.offsets, np.zeros(4, np.int64), day.vocabulary, day.session_ids)
    assert content_digests(flat).tolist() == [NONE, NONE]
    assert find_leaks(Imprint.of(flat), flat).compared_sessions == 0


def test_a_sample_of_digests_finds_copies_and_says_that_it_is_one():
    log = Sessions.of([["a", f"i{s}"] for s in range(5000)])
    imprint = Imprint.of(log, limit=500)
    assert (len(imprint.contents), len(imprint.ids)) == (500, 500)
    found = find_leaks(imprint, log)
    assert (found.compared_sessions, found.copied_sessions) == (500, 500)
    later = log.select(np.arange(3000, 5000))
    assert 100 < find_leaks(imprint, later).copied_sessions < 300
    assert "of 5" not in find_leaks(imprint, later).verdict


def test_an_imprint_survives_as_arrays():
    imprint = Imprint.of(read_sessions(FRAME), limit=50)
    again = Imprint.from_arrays(imprint.arrays())
    assert again.bounds == imprint.bounds
    assert find_leaks(again, read_sessions(FRAME)) == find_leaks(imprint, read_sessions(FRAME))
    assert "v1" not in str(imprint.arrays())


def test_what_is_not_known_is_not_called_clean():
    found = find_leaks(None, read_sessions(FRAME))
    assert not found.clean
    assert found.verdict == "not checked"
    assert "fit it again" in found.lines()[0]


def test_digests_of_ids_are_the_same_in_every_process():
    seven = 7191089600892374487  # the first number of SplitMix64 with seed 7
    assert id_digests(pl.Series([7])).tolist() == id_digests(pl.Series(["7"])).tolist() == [seven]
    text = [int.from_bytes(blake2b(word, digest_size=8).digest(), "little") for word in (b"sku-1", b"007")]
    assert id_digests(pl.Series(["sku-1", "007", "7"])).tolist() == [*text, seven]


@pytest.mark.parametrize("shift", [86_400 * 30, 3_600, -86_400 * 365, 7])
def test_a_copy_of_the_training_log_at_other_times_is_named(shift: int):
    copy = renamed(FRAME).with_columns(pl.col("time") + shift)
    found = leaks(FRAME, copy)
    assert not found.clean
    assert "are training sessions with other times" in found.verdict


def test_a_shifted_copy_is_named_in_part_under_other_spellings_and_by_a_saved_imprint():
    later = 86_400 * 90
    copy = renamed(EARLY).with_columns(pl.col("time") + later)
    honest = LATE.with_columns(pl.col("time") + later + 86_400 * 30)
    mixed = read_sessions(pl.concat([copy, honest]).with_columns((pl.col("time") * 1000 + 1).alias("time")))
    imprint = Imprint.of(read_sessions(EARLY), limit=100_000)
    assert "with other times" in find_leaks(Imprint.from_arrays(imprint.arrays()), mixed).verdict
    assert find_leaks(imprint, read_sessions(honest)).clean


def test_logs_of_few_items_whose_sessions_look_alike_by_chance_stay_clean():
    few = FRAME.with_columns(("i" + (pl.col("item").str.slice(1).cast(pl.Int64) % 3).cast(pl.String)).alias("item"))
    later = few.with_columns((pl.col("time") + 86_400 * 30).alias("time"))
    assert leaks(few, renamed(later)).clean
