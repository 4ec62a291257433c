import re
import sys
import xml.etree.ElementTree as ET
from collections.abc import Callable

import matplotlib as mpl
import numpy as np
import pytest

from nearnext.errors import ConfigError
from nearnext.report.figures import (
    daily_figure,
    interval_figure,
    length_figure,
    popularity_figure,
    prefix_figure,
    recurring_figure,
    speed_figure,
)

DAYS = np.array(["2025-01-30", "2025-01-31", "2025-02-01"], dtype="datetime64[D]")


def at(value: float) -> tuple[float, float, float]:
    """A value with an interval."""
    return value, value - 0.01, value + 0.02


FIGURES: dict[str, Callable[[], str]] = {
    "lengths": lambda: length_figure({"before": np.array([0, 0.5, 0.5]), "after": np.array([0, 0, 1.0])}),
    "recurring": lambda: recurring_figure({"log": np.full(11, 1 / 11)}),
    "daily": lambda: daily_figure(DAYS, np.array([3, 0, 12_000])),
    "popularity": lambda: popularity_figure(np.arange(1_000)),
    "interval": lambda: interval_figure("MRR@20", {"pop": (0.1, 0.05, 0.15), "sknn": (0.3, None, None)}),
    "prefix": lambda: prefix_figure("MRR@20", {"pop": {"1": at(0.1), "2+": at(0.2)}, "sknn": {"1": at(0.3)}}, {"1": 7}),
    "speed": lambda: speed_figure("MRR@20", {"pop": (1e6, 0.1), "sknn": (900.0, 0.3)}),
}


def words(svg: str) -> list[str]:
    """The texts of a figure; parsing proves that it is well-formed on its own."""
    return [text for text in ET.fromstring(svg).itertext() if text.strip()]


@pytest.mark.slow
@pytest.mark.parametrize("name", FIGURES)
def test_figures_are_deterministic_self_contained_elements(name: str) -> None:
    first, second = FIGURES[name](), FIGURES[name]()
    assert first == second
    assert first.startswith("<svg")
    assert first.endswith("</svg>")
    assert "viewBox" in first
    assert "<image" not in first
    assert '<g id="' not in first
    assert "<metadata" not in first
    assert words(first)


@pytest.mark.slow
@pytest.mark.parametrize("name", FIGURES)
def test_global_settings_of_matplotlib_are_neither_used_nor_changed(name: str) -> None:
    with mpl.rc_context({"font.size": 33.0, "axes.facecolor": "red"}):
        theirs = dict(mpl.rcParams)
        figure = FIGURES[name]()
        assert dict(mpl.rcParams) == theirs
    assert figure == FIGURES[name]()


def test_names_are_shown_as_they_are_whatever_they_hold() -> None:
    name = "<script>$x^2$ & _é商"
    for svg in (
        interval_figure("MRR@20", {name: (0.1, None, None)}),
        prefix_figure("MRR@20", {name: {"1": at(0.1)}, "_hidden": {"1": at(0.2)}}, {}),
        speed_figure("MRR@20", {name: (10.0, 0.1)}),
        length_figure({name: np.array([0, 1.0]), "other": np.array([0, 1.0])}),
    ):
        assert "<script" not in svg
        assert any("<script>$x^2$ &" in text for text in words(svg))
    assert any("hidden" in text for text in words(prefix_figure("MRR@20", {"_hidden": {"1": at(0.2)}}, {})))


def test_long_sessions_share_the_last_bar() -> None:
    shares = np.zeros(101)
    shares[[1, 3, 100]] = 0.25, 0.5, 0.25
    assert "3+" in words(length_figure({"log": shares}, longest=3))
    short = words(length_figure({"log": np.array([0, 0.5, 0.5])}, longest=3))
    assert "2" in short
    assert not any("+" in text for text in short)


def test_methods_are_ranked_from_the_top() -> None:
    svg = interval_figure(
        "MRR@20", {"low": (0.1, 0.0, 0.2), "high": (0.3, 0.2, 0.4), "unknown": (float("nan"), None, None)}
    )
    rows = [text for text in words(svg) if text in ("low", "high", "unknown")]
    assert rows == ["high", "low"]


def test_many_methods_share_one_grey_entry_of_the_legend() -> None:
    values = {f"method {number}": {"1": at(0.1), "2": at(0.2)} for number in range(12)}
    found = words(prefix_figure("MRR@20", values, {"1": 1234, "2": 5}))
    assert [text for text in found if text.startswith("method")] == [f"method {number}" for number in range(8)]
    assert found.count("others") == 1


def test_the_number_of_cases_stands_below_each_prefix_length() -> None:
    line = {"1": at(0.2), "2": at(0.1)}
    found = words(prefix_figure("MRR@20", {"pop": line}, {"1": 14_548, "2": 400}))
    assert found.index("1") + 1 == found.index("15k")
    assert "400" in found


@pytest.mark.parametrize(
    "draw",
    [
        lambda: length_figure({"log": np.array([], dtype=np.float64)}),
        lambda: recurring_figure({"log": np.zeros(11)}),
        lambda: popularity_figure(np.array([], dtype=np.int64)),
        lambda: popularity_figure(np.array([5])),
        lambda: daily_figure(DAYS[:1], np.array([0])),
        lambda: interval_figure("MRR@20", {}),
        lambda: prefix_figure("MRR@20", {}, {}),
        lambda: speed_figure("MRR@20", {}),
        lambda: speed_figure("MRR@20", {"pop": (5.0, 0.0)}),
    ],
)
def test_little_or_nothing_to_draw_is_still_a_figure(draw: Callable[[], str]) -> None:
    assert draw().startswith("<svg")


def test_missing_matplotlib_is_one_clear_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(
        ConfigError, match=r"a figure needs the package matplotlib; install it with: pip install 'nearnext\[report\]'"
    ):
        FIGURES["prefix"]()


def test_a_figure_takes_the_colours_of_its_page_and_has_its_own_elsewhere() -> None:
    svg = interval_figure("MRR@20", {"pop": (0.02, 0.01, 0.03)})
    assert "fill: var(--ink, #1f2933)" in svg
    assert "var(--band, #fbe6d8)" in svg
    assert not re.findall(r"(?<!, )#(?:1f2933|9aa5b1|e4e7eb|fbe6d8|ffffff)", svg)


SVG = "{http://www.w3.org/2000/svg}"


def heights_of(svg: str, names: list[str]) -> list[float]:
    """The heights of these texts in a figure, from the top, in points."""
    found = {text.text: text for text in ET.fromstring(svg).iter(f"{SVG}text")}
    return sorted(float(found[name].attrib["y"]) for name in names)


def test_few_short_names_stand_beside_their_marks_and_apart() -> None:
    names = ["metric-fast", "vstan", "vsknn", "sknn", "sr", "markov-1", "spop", "pop"]
    line = {"1": at(0.5), "2": at(0.5)}
    for svg in (
        prefix_figure("MRR@20", dict.fromkeys(names, line), {"1": 3, "2": 2}),
        speed_figure("MRR@20", {name: (1000.0 + number, 0.5) for number, name in enumerate(names)}),
    ):
        assert sorted(text for text in words(svg) if text in names) == sorted(names)
    lines = prefix_figure("MRR@20", dict.fromkeys(names, line), {"1": 3, "2": 2})
    assert np.diff(heights_of(lines, names)).min() >= 9
    longer = [*names[:7], "sml-maxpool-triplet"]
    assert "sml-maxpool-triplet" in words(prefix_figure("MRR@20", dict.fromkeys(longer, line), {}))
    assert words(prefix_figure("MRR@20", {"pop": {"1": at(float("nan"))}}, {})).count("pop") == 0


def test_names_cover_no_mark_where_methods_are_alike() -> None:
    values = {"metric-fast": (3e3, 0.27), "vstan": (8e4, 0.258), "vsknn": (1.7e5, 0.255), "sr": (4e6, 0.17)}
    texts = {one.text: one for one in ET.fromstring(speed_figure("HitRate@20", values)).iter(f"{SVG}text")}
    found = [(texts[name].attrib["style"], float(texts[name].attrib["x"])) for name in values]
    ends = [x for style, x in found if "text-anchor: end" in style]  # left of the slowest
    starts = [x for style, x in found if "text-anchor: end" not in style]  # right of the fastest
    assert (len(ends), len(starts)) == (2, 2)
    assert max(ends) < min(starts)
    assert np.ptp(ends) < 1e-3
    assert np.ptp(starts) < 1e-3


def test_no_place_of_a_legend_is_searched_for(monkeypatch: pytest.MonkeyPatch) -> None:
    def searched(*_: object) -> None:
        raise AssertionError("the search warns on a busy machine")

    monkeypatch.setattr("matplotlib.legend.Legend._find_best_position", searched)
    for draw in FIGURES.values():
        draw()
