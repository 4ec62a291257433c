"""Calls from Python in every form that a notebook has: they work, or one error says what to write instead."""

# pyright: reportArgumentType=false, reportCallIssue=false

from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pytest

import nearnext
from nearnext import Comparison, Filter, NearnextError, Sessions, SyntheticShop, Tuning
from nearnext.data.prefixes import Prefixes
from nearnext.experiments.store import RunStore
from nearnext.model.encoders import GRU
from nearnext.model.losses import NCAS
from nearnext.recommenders.named import make_recommender
from nearnext.registry import RECOMMENDERS
from nearnext.training.config import TrainingConfig

WORDS = Sessions.of([["a", "b"], ["b", "c"], ["a", "b", "c"]] * 5)
NUMBERS = Sessions.of([[1, 2], [2, 3], [1, 2, 3]] * 5)
MODEL = nearnext.VSKNN().fit(WORDS)
INTEGER_MODEL = nearnext.VSKNN().fit(NUMBERS)


def generator(*values: object) -> Iterator[object]:
    yield from values


@pytest.mark.parametrize(
    "sessions",
    [
        (("a",),),
        generator(generator("a")),
        np.array([["a"]]),
        [np.array(["a"], dtype=object)],
        pd.Series([["a"]]),
        [pd.Series(["a"], dtype="category")],
        [pl.Series(["a"])],
        pl.Series([["a"]]),
        {"s": ["a"]}.values(),
        [np.array(["a"])[:1]],
    ],
)
def test_sessions_come_in_any_collection(sessions: Any):
    assert MODEL.recommend(sessions, k=2) == MODEL.recommend([["a"]], k=2)


@pytest.mark.parametrize(
    "click", [1, np.int64(1), np.uint8(1), 1.0, np.float64(1), "1", np.str_("1"), pd.Series([1])[0]]
)
def test_ids_come_in_any_type_of_numbers_and_texts(click: Any):
    answer = INTEGER_MODEL.recommend([[click]], k=3)[0]
    assert answer == INTEGER_MODEL.recommend([[1]], k=3)[0]
    assert INTEGER_MODEL.recommend([[2]], k=3, exclude=[click], allow=np.array([1, 3]))[0].items == [3]


@pytest.mark.parametrize(
    "sessions",
    [
        "a",
        b"a",
        ["a", "b"],
        [1, 2],
        np.array([1, 2]),
        7,
        None,
        {"a": ["b"]},
        pd.DataFrame({"a": [1]}),
        pl.DataFrame({"a": [1]}),
        WORDS,
    ]
    + [[[click]] for click in (None, True, float("nan"), 1.5, ["a"], b"a", date(2024, 1, 1), pd.NA, np.nan, ("a",))]
    + [[{"a", "b"}], [None], [["a"], "b"]],
)
def test_what_are_no_sessions_of_ids_is_refused_with_a_remedy(sessions: Any):
    for call in (MODEL.recommend, Sessions.of):
        with pytest.raises(nearnext.DataError, match="expected"):
            call(sessions)


def test_text_is_no_list_of_ids_to_exclude_or_allow():
    for option in ("exclude", "allow"):
        with pytest.raises(nearnext.DataError, match=rf"as {option}, found 'sku-1'; write \['sku-1'\]"):
            MODEL.recommend([["a"]], **{option: "sku-1"})


def test_excluded_and_allowed_ids_that_name_no_item_are_reported():
    (answer,) = MODEL.recommend([["a"]], k=1, exclude={"z"}, allow=generator("b", 8))
    assert (answer.items, sorted(answer.unmatched, key=str)) == (["b"], [8, "z"])
    assert MODEL.recommend([["a"]], exclude=["b"])[0].unmatched == []


@pytest.mark.parametrize(
    "moment",
    [
        1_704_067_200,
        1_704_067_200.0,
        np.float32(1_704_067_200),
        datetime(2024, 1, 1),
        datetime(2024, 1, 1, tzinfo=UTC),
        date(2024, 1, 1),
        pd.Timestamp("2024-01-01"),
        pd.Timestamp("2024-01-01", tz="UTC"),
        pd.Timestamp("2024-01-01T02:00", tz="Etc/GMT-2"),
        np.datetime64("2024-01-01"),
        np.datetime64("2024-01-01", "ns"),
        "2024-01-01",
        "2024-01-01T00:00:00Z",
    ],
    ids=repr,
)
def test_a_time_is_seconds_a_datetime_or_its_text(moment: Any):
    assert MODEL.asked_at(moment) == pytest.approx(1_704_067_200_000_000, abs=64_000_000)
    assert Sessions.of([["a"]], starts=[moment]).times[0] == MODEL.asked_at(moment)


@pytest.mark.parametrize(
    "moment",
    [float("nan"), float("inf"), "tomorrow", "", True, [1], pd.NaT, np.datetime64("NaT"), 1.7e12, 10**30],
    ids=repr,
)
def test_what_is_no_time_is_refused(moment: Any):
    with pytest.raises(nearnext.ConfigError, match="expected seconds since 1970"):
        MODEL.recommend([["a"]], time=moment)
    with pytest.raises(nearnext.ConfigError, match="start of session 0"):
        Sessions.of([["a"]], starts=[moment])


def test_starts_come_in_any_collection():
    days = pd.to_datetime(["2024-01-01", "2024-01-02"])
    wanted = [int(day.timestamp()) * 1_000_000 for day in days]
    for starts in (
        days,
        days.to_numpy(),
        days.to_series(),
        list(days),
        pl.Series(days),
        generator(*days),
        days.astype(str),
    ):
        assert Sessions.of([["a"], ["b"]], starts=starts).times.tolist() == wanted
    for wrong in ([1], "2024", 7, [1, 2, 3]):
        with pytest.raises(nearnext.ConfigError):
            Sessions.of([["a"], ["b"]], starts=wrong)


def test_where_an_id_is_a_text_all_ids_of_the_log_are():
    assert Sessions.of([[1, "A7"], ["1"]]).vocabulary.ids.to_list() == ["1", "A7"]
    assert Sessions.of([[2**70, 1]]).vocabulary.ids.to_list() == [str(2**70), "1"]
    assert Sessions.of([]).n_sessions == 0
    assert MODEL.recommend([]) == []


@pytest.mark.parametrize("k", [2.0, True, "5", None, 0, -1, float("nan"), np.float64(2), [5]], ids=repr)
def test_a_list_length_is_a_whole_number(k: Any):
    with pytest.raises(nearnext.ConfigError, match="k must be a whole number of at least 1"):
        MODEL.recommend([["a"]], k=k)
    assert len(MODEL.recommend([["a"]], k=np.int32(2))[0].items) == 2


def option_objects() -> list[tuple[str, Callable[..., Any], dict[str, Any]]]:
    made = [(name, make_recommender(name)) for name in RECOMMENDERS if name != "metric-fast"]
    found: list[tuple[str, Callable[..., Any], dict[str, Any]]] = [
        (name, type(recommender), recommender.params()) for name, recommender in made
    ]
    return found + [(kind.__name__, kind, vars(kind())) for kind in (Filter, SyntheticShop, Tuning, TrainingConfig)]


@pytest.mark.parametrize(
    ("name", "make", "options"), option_objects(), ids=lambda value: value if isinstance(value, str) else ""
)
def test_no_option_takes_a_value_of_another_type_or_a_number_that_is_none(
    name: str, make: Callable[..., Any], options: dict[str, Any]
):
    for option, value in options.items():
        wrong: list[Any] = [float("nan"), float("inf"), [float("nan")], {}, b"1", object()]
        if value is not None and not isinstance(value, str):
            wrong += ["five", None]
        if isinstance(value, int) and not isinstance(value, bool):
            wrong += [1.5, 2.0, True]
        for one in wrong:
            with pytest.raises(NearnextError) as caught:
                make(**{option: one})
            assert option.split("_")[0] in str(caught.value) or "budget" in str(caught.value), (name, option, one)


def test_options_may_be_numbers_of_numpy():
    model = nearnext.VSKNN(k=np.int64(5), idf_weighting=np.float32(1), remind=np.bool_(False))
    assert [type(model.params()[option]) for option in ("k", "idf_weighting", "remind")] == [int, float, bool]


def test_an_unknown_option_names_the_one_that_was_meant():
    with pytest.raises(nearnext.ConfigError, match="did you mean 'sample_size'"):
        make_recommender("vsknn", {"samplesize": 5})
    with pytest.raises(nearnext.ConfigError, match="did you mean 'vsknn'"):
        make_recommender("vskn")
    with pytest.raises(nearnext.ConfigError, match="did you mean 'epochs'"):
        make_recommender("sml-gru-ncas", {"epoch": 5})


@pytest.mark.parametrize(
    "call",
    [
        lambda: nearnext.VSKNN().fit([["a", "b"]]),
        lambda: nearnext.VSKNN().fit(nearnext.split_last(WORDS)),
        lambda: nearnext.VSKNN().recommend([["a"]]),
        lambda: nearnext.VSKNN().remember(WORDS),
        lambda: nearnext.evaluate(nearnext.VSKNN(), WORDS),
        lambda: nearnext.evaluate("vsknn", WORDS),
        lambda: nearnext.evaluate(MODEL, [["a", "b"]]),
        lambda: nearnext.evaluate(MODEL, WORDS, k=2.5),
        lambda: nearnext.evaluate(MODEL, WORDS, k=[]),
        lambda: nearnext.evaluate(MODEL, WORDS, max_prefix=0),
        lambda: nearnext.evaluate(MODEL, WORDS, threads=1.5),
        *(
            lambda wrong=wrong: nearnext.split_last(WORDS, wrong)
            for wrong in (0, 1, -0.1, 1.5, float("nan"), "0.1", True)
        ),
        *(lambda wrong=wrong: nearnext.split_days(WORDS, wrong) for wrong in (0, -1, float("nan"), float("inf"), "1")),
        *(lambda wrong=wrong: nearnext.split_windows(WORDS, wrong) for wrong in (0, 2.0, "5", None)),
        lambda: nearnext.split_last([["a", "b"]]),
        lambda: nearnext.split_parts(WORDS, [["a"]]),
        lambda: nearnext.describe([["a"]]),
        lambda: nearnext.apply_filter(WORDS, 5),
        lambda: nearnext.compare([["a"]]),
        lambda: nearnext.tune([["a"]], "sr"),
        lambda: nearnext.load_artifact(None),
        lambda: nearnext.save_artifact("vsknn", "model", {}),
        lambda: nearnext.save_artifact(MODEL, 5, {}),
        lambda: nearnext.sessionise(WORDS),
        lambda: nearnext.generate(5),
        lambda: nearnext.write_log(5, "log.csv"),
        lambda: nearnext.best_hit_rate(SyntheticShop(), 2.5),
        lambda: nearnext.Vocabulary.of("abc"),
        lambda: nearnext.Vocabulary.of([True]),
        lambda: nearnext.Vocabulary.of([None]),
        lambda: nearnext.Vocabulary(["a"]),
        lambda: nearnext.compare(WORDS, comparison={}),
        lambda: nearnext.tune(WORDS, "sr", {}),
        lambda: Comparison(ks=5),
        lambda: Comparison(labels=5),
        lambda: Comparison(options={"vsknn": 5}),
        lambda: Comparison(threads=1.5),
        lambda: make_recommender(7),
        lambda: make_recommender("vsknn", [5]),
        lambda: Comparison(methods=7),
        lambda: Comparison(replicates=0),
        lambda: MODEL.recommend([["a"]], exclude_seen="no"),
        *(lambda wrong=wrong: WORDS.vocabulary.decode(wrong) for wrong in ([9], [0], ["a"], [1.5], [True], 1, "a")),
        *(lambda wrong=wrong: WORDS.vocabulary.encode(wrong) for wrong in ("ab", 7, None, [None], [["a"]])),
        *(lambda wrong=wrong: WORDS.raw(wrong) for wrong in (99, -1, "a", 1.5, None)),
        *(
            lambda wrong=wrong: WORDS.select(wrong)
            for wrong in ([99], np.array([-1]), ["a"], 0, [1.5], np.ones(3, np.bool_))
        ),
        lambda: WORDS.keep_events(np.arange(WORDS.n_events)),
        lambda: WORDS.keep_events([True]),
        lambda: WORDS.with_vocabulary(["a"]),
        lambda: WORDS.followed_by([["a"]]),
        *(lambda wrong=wrong: MODEL.neighbours(wrong) for wrong in (["a"], "a", [99], [-1], 1)),
        lambda: nearnext.VSKNN().neighbours([1]),
        *(lambda wrong=wrong: Prefixes.of(wrong) for wrong in ([["a"]], [1, 2], [[-1]], [np.array(["a"])])),
        lambda: Prefixes.every([["a"]]),
        *(lambda wrong=wrong: nearnext.SML(encoder=wrong) for wrong in ("gru", GRU, None)),
        *(lambda wrong=wrong: nearnext.SML(loss=wrong) for wrong in ("ncas", NCAS, 1)),
        lambda: nearnext.SML(sampler="positive-negative"),
        lambda: nearnext.SML(training={"epochs": 1}),
        *(lambda wrong=wrong: Comparison(methods=wrong) for wrong in ("vsknn", None, [1])),
        lambda: Comparison(tuning=3),
        lambda: Comparison(held=["k"]),
    ],
)
def test_a_wrong_argument_is_one_error_of_ours(call: Callable[[], object]):
    with pytest.raises(NearnextError, match=r"expected|must be|not fitted|found"):
        call()


@pytest.mark.parametrize("which", [[1, 0], (1, 0), np.array([1, 0]), np.array([1, 0], np.uint8), pd.Series([1, 0])])
def test_sessions_are_chosen_by_positions_in_any_collection(which: Any):
    assert WORDS.select(which).session_ids.to_list() == [1, 0]


def test_sessions_are_chosen_by_a_mask():
    assert WORDS.select(np.arange(WORDS.n_sessions) == 2).raw(np.int64(0)) == ["a", "b", "c"]


def test_neighbours_are_found_for_item_indices_in_any_collection():
    expected = MODEL.neighbours(WORDS.vocabulary.encode(["a"]))[0].tolist()
    assert expected
    for clicks in (WORDS.vocabulary.encode(["a"]).tolist(), WORDS.vocabulary.encode(pd.Series(["a"]))):
        assert MODEL.neighbours(clicks)[0].tolist() == expected


def refuses_what_is_no_path(write: Callable[[Any], object]) -> None:
    for path in (5, ""):
        with pytest.raises(NearnextError, match=f"expected a path as [a-z ]+, found {path!r}"):
            write(path)


def test_what_is_no_path_is_refused_wherever_something_is_written():
    refuses_what_is_no_path(lambda path: nearnext.write_report(path, "<p>"))
    refuses_what_is_no_path(lambda path: nearnext.write_log(SyntheticShop(sessions=10), path))
    refuses_what_is_no_path(lambda path: nearnext.compare(WORDS, comparison=Comparison(["pop"]), lists=path))
    refuses_what_is_no_path(RunStore)
    refuses_what_is_no_path(MODEL.save)
