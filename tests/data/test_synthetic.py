from collections import Counter, defaultdict
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from polars.testing import assert_frame_equal

from nearnext.data.synthetic import (
    Catalogue,
    SyntheticShop,
    best_hit_rate,
    generate,
    generate_chunks,
    write_log,
)
from nearnext.errors import ConfigError, DataError

SMALL = SyntheticShop(sessions=4_000, items=300, categories=5, days=10, successors=8)
OPENING = 1_735_689_600


def successors(shop: SyntheticShop) -> pl.DataFrame:
    """Each item, its successors and their probabilities, the likeliest first."""
    catalogue = Catalogue.of(shop)
    return pl.DataFrame(
        {
            "item_id": catalogue.ids.gather(np.repeat(np.arange(shop.items), shop.successors)),
            "successor_id": catalogue.ids.gather(catalogue.successors.ravel()),
            "probability": catalogue.probabilities.ravel(),
        }
    )


@pytest.fixture(scope="module")
def truth() -> pl.DataFrame:
    """The log of SMALL with each click's branch and the item of the click before."""
    previous = pl.col("item_id").shift(1).over("session_id")
    return generate(SMALL, truth=True).with_columns(previous=previous)


@pytest.fixture(scope="module")
def oracle() -> dict[str, list[str]]:
    """Each item's successors, the likeliest first."""
    lists: dict[str, list[str]] = defaultdict(list)
    for item, successor, _ in successors(SMALL).iter_rows():
        lists[item].append(successor)
    return lists


def markov_clicks(truth: pl.DataFrame) -> list[tuple[str, str]]:
    """(item before, item) of each click that the Markov branch drew, in the log's order."""
    return truth.filter(pl.col("branch") == "markov").select("previous", "item_id").rows()


def test_same_config_same_log_other_seed_other_log() -> None:
    assert_frame_equal(generate(SMALL), generate(SMALL))
    assert not generate(SMALL).equals(generate(replace(SMALL, seed=8)))


def test_chunks_put_together_are_the_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    chunks = list(generate_chunks(SMALL))
    assert len(chunks) == 10
    assert_frame_equal(pl.concat(chunks), generate(SMALL))
    monkeypatch.setattr("nearnext.data.synthetic.BATCH_SESSIONS", 100)
    parts = pl.concat(generate_chunks(SMALL))
    assert parts["session_id"].n_unique() == 4_000
    assert parts.filter(pl.col("session_id").diff() != 0)["timestamp"].is_sorted()


def test_truth_adds_a_column_and_changes_nothing(truth: pl.DataFrame) -> None:
    assert_frame_equal(truth.drop("branch", "previous"), generate(SMALL))


def test_sessions_are_numbered_by_start_and_have_two_clicks_or_more(truth: pl.DataFrame) -> None:
    assert truth["session_id"].is_sorted()
    sessions = truth.group_by("session_id", maintain_order=True).agg(pl.len(), pl.col("timestamp").first())
    assert sessions.height == 4_000
    assert sessions["len"].min() == 2
    assert sessions["len"].cast(pl.Float64).mean() == pytest.approx(4.0, abs=0.2)  # 5 standard errors
    assert sessions["timestamp"].is_sorted()
    assert sessions["timestamp"][0] >= OPENING
    assert sessions["timestamp"][-1] < OPENING + 10 * 86_400


def test_time_never_falls_and_gaps_stay_below_thirty_minutes(truth: pl.DataFrame) -> None:
    gaps = truth.select(pl.col("timestamp").diff().over("session_id"))["timestamp"].drop_nulls()
    assert gaps.is_between(1, 1500).all()


def test_branches_are_drawn_with_the_configured_probabilities(truth: pl.DataFrame) -> None:
    later = truth.filter(pl.col("branch") != "start")
    assert later.height == truth.height - 4_000
    share = Counter(later["branch"].to_list())
    assert share["markov"] / later.height == pytest.approx(0.5, abs=0.025)  # 5 standard errors
    assert share["repeat"] / later.height == pytest.approx(0.15, abs=0.02)


def test_markov_clicks_are_listed_successors(truth: pl.DataFrame, oracle: dict[str, list[str]]) -> None:
    assert all(item in oracle[before] for before, item in markov_clicks(truth))


def test_successor_lists_are_distinct_and_their_probabilities_fall() -> None:
    for _, rows in successors(SMALL).group_by("item_id"):
        assert rows["successor_id"].n_unique() == 8
        assert rows["item_id"][0] not in rows["successor_id"].to_list()
        assert rows["probability"].sum() == pytest.approx(1)
        assert rows["probability"].is_sorted(descending=True)


def test_repeats_return_to_an_earlier_click_of_the_session(truth: pl.DataFrame) -> None:
    sessions = truth.group_by("session_id").agg("item_id", "branch")
    for items, branches in sessions.select("item_id", "branch").iter_rows():
        assert branches[0] == "start"
        assert all(items[j] in items[:j] for j in range(len(items)) if branches[j] == "repeat")


def test_an_oracle_reaches_the_best_hit_rate(truth: pl.DataFrame, oracle: dict[str, list[str]]) -> None:
    clicks = markov_clicks(truth)
    for k in (1, 3):
        hits = sum(item in oracle[before][:k] for before, item in clicks)
        assert hits / len(clicks) == pytest.approx(best_hit_rate(SMALL, k), abs=0.03)  # 5 standard errors
    assert best_hit_rate(SMALL, 8) == best_hit_rate(SMALL, 100) == pytest.approx(1)


def test_best_hit_rate_is_the_mean_over_the_items_that_were_visited(truth: pl.DataFrame) -> None:
    top2 = successors(SMALL).group_by("item_id").agg(pl.col("probability").head(2).sum())
    reachable = dict(top2.iter_rows())
    clicks = markov_clicks(truth)
    assert best_hit_rate(SMALL, 2) == pytest.approx(sum(reachable[before] for before, _ in clicks) / len(clicks))


def test_counting_transitions_comes_near_the_best_hit_rate_from_below(truth: pl.DataFrame) -> None:
    k = 3
    is_late = pl.col("session_id") >= 3_200
    counts: dict[str, Counter[str]] = defaultdict(Counter)
    for before, item in truth.filter(~is_late).drop_nulls("previous").select("previous", "item_id").iter_rows():
        counts[before][item] += 1
    clicks = markov_clicks(truth.filter(is_late))
    hits = sum(item in [other for other, _ in counts[before].most_common(k)] for before, item in clicks)
    assert 0.75 * best_hit_rate(SMALL, k) < hits / len(clicks) < best_hit_rate(SMALL, k)


def test_no_item_is_clicked_before_it_arrives() -> None:
    shop = replace(SMALL, arrivals=0.5, items=600)
    catalogue = Catalogue.of(shop)
    assert np.count_nonzero(catalogue.arrival_days) == 300
    arrival = dict(zip(catalogue.ids.to_list(), catalogue.arrival_days.tolist(), strict=True))
    log = generate(shop)
    # A session belongs to the day of its first click, though its last click may fall after midnight.
    day = (pl.col("timestamp").first().over("session_id") - OPENING) // 86_400
    clicked = log.select("item_id", day=day)
    assert all(arrival[item] <= day for item, day in clicked.iter_rows())
    assert any(arrival[item] > 0 for item in clicked["item_id"])


def test_popularity_is_steep_and_its_tail_cold() -> None:
    flat, steep = (generate(replace(SMALL, zipf=zipf, p_markov=0.0, cold=0.0)) for zipf in (0.0, 1.2))
    top_flat, top_steep = (log["item_id"].value_counts(sort=True)["count"][:10].sum() for log in (flat, steep))
    assert top_steep > 5 * top_flat
    cold = generate(replace(SMALL, zipf=0.0, p_markov=0.0, cold=0.5, arrivals=0.0))
    counts = cold["item_id"].value_counts(sort=True)["count"].to_numpy()
    assert counts[:150].sum() / counts.sum() > 0.97  # half of the items have about 1% of the clicks


def test_popularity_drifts_over_the_days() -> None:
    def movement(drift: float) -> float:
        shop = replace(SMALL, sessions=20_000, drift=drift, p_markov=0.0, p_repeat=0.0, zipf=0.5, arrivals=0.0)
        log = generate(shop).with_columns(late=pl.col("timestamp") >= OPENING + 5 * 86_400)
        counts = log.pivot("late", index="item_id", values="session_id", aggregate_function="len").fill_null(0)
        shares = counts.select((pl.col("true") / pl.col("true").sum() - pl.col("false") / pl.col("false").sum()).abs())
        return float(shares.to_series().sum())

    assert movement(1.0) > 2 * movement(0.0)


def test_category_switches_are_as_rare_as_configured() -> None:
    def switches(p_switch: float) -> float:
        shop = replace(SMALL, p_switch=p_switch)
        catalogue = Catalogue.of(shop)
        row = {item: position for position, item in enumerate(catalogue.ids.to_list())}
        rows = np.array([row[item] for item in generate(shop)["item_id"].to_list()], dtype=np.int32)
        inside = np.diff(generate(shop)["session_id"].to_numpy()) == 0
        begins = catalogue.category_of(rows)[0]
        return float(np.mean(begins[1:][inside] != begins[:-1][inside]))

    assert switches(0.0) == 0.0
    assert switches(1.0) > 0.2  # of the 35% drawn by popularity, about four in five categories are others


@pytest.mark.parametrize("ending", ["parquet", "csv", "tsv"])
def test_written_logs_are_the_generated_ones_byte_for_byte(tmp_path: Path, ending: str) -> None:
    first, second = tmp_path / f"a.{ending}", tmp_path / f"b.{ending}"
    expected = generate(SMALL)
    assert write_log(SMALL, first) == write_log(SMALL, second) == expected.height
    assert first.read_bytes() == second.read_bytes()
    separator = "\t" if ending == "tsv" else ","
    found = pl.read_parquet(first) if ending == "parquet" else pl.read_csv(first, separator=separator)
    assert_frame_equal(found, expected)
    assert sorted(path.name for path in tmp_path.iterdir()) == [f"a.{ending}", f"b.{ending}"]


def test_a_log_that_cannot_be_written_is_one_clear_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"ends in \.parquet, \.csv, \.tsv, found 'log\.xlsx'"):
        write_log(SMALL, tmp_path / "log.xlsx")
    with pytest.raises(DataError, match="No such file or directory; choose a writable folder"):
        write_log(SMALL, tmp_path / "nowhere" / "log.csv")


def test_an_interrupted_log_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "log.csv"
    path.write_text("old")

    def full_disk(*_: Any, **__: Any) -> None:
        raise OSError("No space left on device (os error 28)")

    monkeypatch.setattr(pl.DataFrame, "write_csv", full_disk)
    with pytest.raises(DataError, match="No space left on device"):
        write_log(SMALL, path)
    assert path.read_text() == "old"
    assert [found.name for found in tmp_path.iterdir()] == ["log.csv"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"sessions": 0}, "sessions must be a whole number of at least 1, found 0"),
        ({"mean_length": 1.5}, "mean_length must be a finite number of at least 2, found 1.5"),
        ({"zipf": float("nan")}, "zipf must be a finite number of at least 0, found nan"),
        ({"seed": -1}, "seed must be a whole number of at least 0"),
        ({"p_switch": 1.5}, "p_switch must be a finite number of at least 0 and at most 1, found 1.5"),
        ({"cold": 1.0}, "cold must be a finite number of at least 0 and below 1"),
        ({"p_markov": 0.9, "p_repeat": 0.2}, "must add up to at most 1, found 0.9 \\+ 0.2"),
    ],
)
def test_numbers_out_of_range_are_refused(change: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        replace(SMALL, **change)


def test_categories_too_small_for_the_successor_lists_are_refused() -> None:
    with pytest.raises(ConfigError, match="more than 8 items that are neither new nor cold, found a category with 0"):
        generate(replace(SMALL, items=3))
    with pytest.raises(ConfigError, match="raise items or lower categories"):
        generate(replace(SMALL, items=40, arrivals=0.0, cold=0.0))


def test_the_smallest_possible_category_works() -> None:
    shop = replace(SMALL, items=45, arrivals=0.0, cold=0.0)
    assert successors(shop).group_by("item_id").agg(pl.col("successor_id").n_unique())[
        "successor_id"
    ].unique().to_list() == [8]


def test_best_hit_rate_needs_markov_clicks_and_a_positive_k() -> None:
    with pytest.raises(ConfigError, match="no click of this log was drawn by the Markov branch"):
        best_hit_rate(replace(SMALL, p_markov=0.0), 5)
    with pytest.raises(ConfigError, match="k must be a whole number of at least 1, found 0"):
        best_hit_rate(SMALL, 0)


def test_shortest_log_is_one_session_of_two_clicks() -> None:
    assert generate(replace(SMALL, sessions=1, days=1, mean_length=2)).height == 2
