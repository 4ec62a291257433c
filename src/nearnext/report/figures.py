"""Figures as SVG text: equal numbers give equal bytes; matplotlib's global state stays as it is."""

import re
import warnings
from collections.abc import Callable, Collection, Mapping, Sequence
from importlib import import_module
from io import StringIO
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nearnext.data.statistics import RECURRING_BINS
from nearnext.extras import needed
from nearnext.types import FloatArray, Int64Array

Axes = Any  # matplotlib's own stubs leave its keyword arguments unknown

# Okabe and Ito's palette, distinct with every kind of colour vision; markers repeat the difference for print.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#1f2933", "#8c564b")
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*")
INK, GREY, PALE, GRID, BAND = "#1f2933", "#9aa5b1", "#dbe7f3", "#e4e7eb", "#fbe6d8"
PAGE = {INK: "ink", GREY: "axis", PALE: "pale", GRID: "line", BAND: "band"}
"""Colours that a page may replace, by a variable of its style: they differ between light and dark."""

STYLE: dict[str, Any] = {
    "axes.axisbelow": True,
    "axes.edgecolor": GREY,
    "axes.grid": True,
    "axes.labelcolor": INK,
    "axes.labelsize": 10,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.facecolor": "none",
    "figure.facecolor": "none",
    "font.family": "DejaVu Sans",
    "font.size": 10,
    "grid.color": GRID,
    "grid.linewidth": 0.7,
    "legend.fontsize": 9.5,
    "legend.frameon": False,
    "svg.fonttype": "none",  # text stays text: small, searchable, and set in the page's font
    "svg.hashsalt": "nearnext",
    "text.color": INK,
    "text.parse_math": False,  # a "$" in a name is a "$"
    "xtick.color": INK,
    "xtick.labelsize": 9.5,
    "ytick.color": INK,
    "ytick.labelsize": 9.5,
}
WIDTH, HEIGHT = 4.8, 3.1  # inches; narrow, so that text stays readable on a phone
CROWDED_TICKS = 10  # more labels than that need a smaller type
LONGEST_NAME, LONGEST_TICK = 27, 6  # characters
LEGEND_CHARACTERS, LEGEND_MARK_CHARACTERS = 58, 6  # that fit side by side; as wide as a mark and its space
LEGEND_ROW = 0.2  # inches
LONGEST_DIRECT, LABEL_HEIGHT = 13, 0.075  # characters of a name beside its mark; its share of the height of a plot


def length_figure(shares: Mapping[str, FloatArray], longest: int = 12) -> str:
    """Session lengths as bars, one colour per log; ``longest`` and more clicks share the last bar. Paper: Figure 1."""
    reached = max((len(each) - 1 for each in shares.values()), default=1)
    last = max(1, min(longest, reached))
    labels = [str(length) for length in range(1, last)] + [f"{last}+" if reached > last else str(last)]
    bars = {name: np.append(np.pad(each, (0, last))[1:last], each[last:].sum()) for name, each in shares.items()}
    return _draw(lambda axes: _bars(axes, labels, bars, "clicks per session"))


def recurring_figure(shares: Mapping[str, FloatArray]) -> str:
    """Recurring items as bars: the share of sessions per class of ``RECURRING_BINS``. Paper: Figure 1, right."""

    def paint(axes: Axes) -> None:
        _bars(axes, RECURRING_BINS, shares, "share of a session's clicks that return to an item")
        axes.tick_params("x", labelrotation=45)

    return _draw(paint)


def daily_figure(days: NDArray[np.datetime64], clicks: Int64Array) -> str:
    """Clicks per day: days [n], clicks [n].

    >>> daily_figure(np.array(["2025-01-01"], "datetime64[D]"), np.array([3]))[:4]
    '<svg'
    """

    def paint(axes: Axes) -> None:
        dates: Any = import_module("matplotlib.dates")
        axes.fill_between(days, clicks, step="mid", color=PALE)
        axes.step(days, clicks, where="mid", color=COLOURS[0], linewidth=1.4)
        locator = dates.AutoDateLocator(minticks=2, maxticks=7)
        axes.xaxis.set_major_locator(locator)
        axes.xaxis.set_major_formatter(dates.ConciseDateFormatter(locator))
        axes.yaxis.set_major_formatter("{x:,.0f}")
        axes.set_ylim(bottom=0)
        axes.set_ylabel("clicks per day")

    return _draw(paint)


def popularity_figure(counts: Int64Array) -> str:
    """The share of all clicks on the most clicked items, by share of items: counts [I], without items of no clicks."""
    clicked = np.sort(counts[counts > 0])[::-1]
    reached = np.cumsum(clicked) / max(clicked.sum(), 1)
    # Points at equal steps of the logarithmic axis: a large catalogue draws no more than a small one.
    tops = np.unique(np.round(np.geomspace(1, max(len(clicked), 1), 150)).astype(np.int64))

    def paint(axes: Axes) -> None:
        if len(clicked):
            axes.plot(100 * tops / len(clicked), 100 * reached[tops - 1], color=COLOURS[0], linewidth=2)
        for percent in (1, 10):
            top = round(percent / 100 * len(clicked))
            if top >= 1:
                share = 100 * reached[top - 1]
                axes.plot([percent], [share], marker="o", color=COLOURS[1])
                text = f"top {percent}%: {share:.0f}% of clicks"
                # Into the half of the logarithmic axis that has room.
                side, offset = ("right", (-7, 5)) if percent > 100 / len(clicked) ** 0.5 else ("left", (7, -11))
                axes.annotate(text, (percent, share), xytext=offset, textcoords="offset points", ha=side)
        _logarithmic(axes, "{x:g}%", steps=(1,))
        axes.yaxis.set_major_formatter("{x:g}%")
        axes.set_ylim(0, 105)
        axes.set_xlabel("most clicked items, share of the catalogue")
        axes.set_ylabel("share of clicks")

    return _draw(paint)


def interval_figure(metric: str, values: Mapping[str, tuple[float, float | None, float | None]]) -> str:
    """Methods on one metric, the best on top: a dot and its interval; the best one's interval runs down as a band."""
    order = sorted((name for name in values if np.isfinite(values[name][0])), key=lambda name: -values[name][0])

    def paint(axes: Axes) -> None:
        for row, name in enumerate(order):
            value, low, high = values[name]
            colour = COLOURS[1] if row == 0 else COLOURS[0]
            if low is not None and high is not None:
                if row == 0:
                    axes.axvspan(low, high, color=BAND, linewidth=0)
                axes.plot([low, high], [row, row], color=colour, linewidth=2.2)
            axes.plot([value], [row], marker="o", markersize=6, color=colour)
        axes.set_yticks(range(len(order)), [_short(name) for name in order])
        axes.set_ylim(len(order) - 0.4, -0.6)
        axes.grid(axis="y", visible=False)
        axes.set_xlabel(f"{metric}, 95% interval")

    return _draw(paint, height=1.0 + 0.27 * len(order))


def prefix_figure(
    metric: str, values: Mapping[str, Mapping[str, tuple[float, float, float]]], cases: Mapping[str, int]
) -> str:
    """Methods on one metric by prefix length, with intervals: value, low, high; after the first eight they are grey.

    Cases of each length stand below it.
    """
    lengths = list(dict.fromkeys(length for line in values.values() for length in line))
    step = 0.5 / max(min(len(values), len(COLOURS)), 5)

    def paint(axes: Axes) -> None:
        for number, (name, line) in enumerate(values.items()):
            heights, lows, highs = np.array([line.get(length, (np.nan,) * 3) for length in lengths]).T
            at = np.arange(len(lengths)) + (number - (min(len(values), len(COLOURS)) - 1) / 2) * step
            look = _look(number)
            if number < len(COLOURS):
                axes.vlines(at, lows, highs, color=look["color"], linewidth=1, alpha=0.55)
            else:
                at = np.arange(len(lengths))
            axes.plot(at, heights, label=_label(number, name, len(values)), linewidth=1.3, **(look | {"markersize": 4}))
        ticker: Any = import_module("matplotlib.ticker")
        rounded = ticker.EngFormatter(places=0, sep="")
        labels = [f"{_short(length, LONGEST_TICK)}\n{rounded(cases.get(length, 0))}" for length in lengths]
        axes.set_xticks(range(len(lengths)), labels)
        axes.tick_params(axis="x", labelsize="small" if len(lengths) <= CROWDED_TICKS else "xx-small")
        axes.set_xlabel("clicks given (prefix length), and number of cases")
        axes.set_ylabel(metric)
        axes.set_xlim(-0.5, max(len(lengths), 1) - 0.5)
        axes.set_ylim(bottom=0)
        if _direct(values):
            marks = {line.get_label(): line.get_xydata()[~np.isnan(line.get_ydata())] for line in axes.get_lines()}
            ends = {name: points[-1] for name, points in marks.items() if len(points)}
            _name_beside(axes, ends, len(lengths) - 0.5, "left")

    return _draw(paint, legend=() if _direct(values) else values)


def speed_figure(metric: str, values: Mapping[str, tuple[float, float]]) -> str:
    """Accuracy against speed, a mark per method; fast and accurate is top right."""

    def paint(axes: Axes) -> None:
        for number, (name, (speed, value)) in enumerate(values.items()):
            axes.plot([speed], [value], label=_label(number, name, len(values)), linestyle="", **_look(number))
        speeds = [speed for speed, _ in values.values()]
        few = max(speeds, default=1) < 100 * min(speeds, default=1)  # fewer than two powers of ten
        ticker: Any = import_module("matplotlib.ticker")
        _logarithmic(axes, ticker.EngFormatter(sep=""), steps=(1, 2, 5) if few else (1,))
        axes.margins(0.3 if _direct(values) else 0.12, 0.12)
        axes.set_xlabel("cases per second (logarithmic)")
        axes.set_ylabel(metric)
        if _direct(values):
            low, high = axes.get_xlim()
            step, middle = (high / low) ** 0.03, (high * low) ** 0.5
            marks = {line.get_label(): line.get_xydata()[0] for line in axes.get_lines()}
            slow = {name: mark for name, mark in marks.items() if mark[0] < middle}
            fast = {name: mark for name, mark in marks.items() if name not in slow}
            # Names outside of all marks cover none of them, nor each other.
            _name_beside(axes, slow, min(speeds, default=low) / step, "right")
            _name_beside(axes, fast, max(speeds, default=high) * step, "left")

    return _draw(paint, legend=() if _direct(values) else values)


def _draw(paint: Callable[[Axes], None], *, height: float = HEIGHT, legend: Collection[str] = ()) -> str:
    """An SVG of one plot; ``legend``: the names in a legend below it."""
    columns, rows = _legend_shape(legend)
    mpl = needed("matplotlib", "report", "a figure")
    figure = needed("matplotlib.figure", "report", "a figure").Figure
    with mpl.rc_context(), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing")  # the reader's fonts draw the text, not ours
        mpl.rcdefaults()
        mpl.rcParams.update(STYLE)
        drawn = figure(figsize=(WIDTH, height + LEGEND_ROW * rows), layout="constrained")
        axes = drawn.add_subplot()
        paint(axes)
        if axes.get_legend_handles_labels()[1] and legend:
            drawn.legend(loc="outside lower center", ncols=columns, handletextpad=0.4, columnspacing=1.2)
        text = StringIO()
        drawn.savefig(text, format="svg", metadata=dict.fromkeys(("Date", "Creator", "Format", "Type")))
    svg = text.getvalue()
    # The element alone; ids of groups would repeat from figure to figure.
    svg = re.sub(r'<g id="[^"]*"', "<g", svg[svg.index("<svg") :].rstrip())
    return re.sub("|".join(PAGE), lambda found: f"var(--{PAGE[found[0]]}, {found[0]})", svg)


def _bars(axes: Axes, labels: Sequence[str], shares: Mapping[str, FloatArray], what: str) -> None:
    width = 0.8 / max(len(shares), 1)
    for number, (name, each) in enumerate(shares.items()):
        centres = np.arange(len(labels)) + (number - (len(shares) - 1) / 2) * width
        axes.bar(centres, 100 * each, width, label=_short(name), color=COLOURS[number % len(COLOURS)])
    axes.set_xticks(range(len(labels)), labels)
    axes.yaxis.set_major_formatter("{x:g}%")
    axes.grid(axis="x", visible=False)
    axes.set_xlabel(what)
    axes.set_ylabel("share of sessions")
    if len(shares) > 1:
        # Where few sessions are; the best place is a search, which warns where it is slow.
        axes.legend(loc="upper right")


def _logarithmic(axes: Axes, labels: Any, steps: Sequence[int]) -> None:
    ticker: Any = import_module("matplotlib.ticker")
    axes.set_xscale("log")
    axes.xaxis.set_major_locator(ticker.LogLocator(subs=steps, numticks=7))
    axes.xaxis.set_major_formatter(labels)
    axes.xaxis.set_minor_formatter(ticker.NullFormatter())


def _look(number: int) -> dict[str, Any]:
    if number >= len(COLOURS):
        return {"color": GREY, "marker": ".", "zorder": 1}
    return {"color": COLOURS[number], "marker": MARKERS[number], "markersize": 5, "zorder": 3}


def _label(number: int, name: str, n_names: int) -> str:
    """The name for the legend; several grey ones share one entry, as matplotlib hides a label that begins with _."""
    if number < len(COLOURS) or n_names == len(COLOURS) + 1:
        return _short(name).replace("_", "\u200b_", 1)
    return "others" if number == len(COLOURS) else "_others"


def _direct(names: Collection[str]) -> bool:
    """Whether names stand beside their marks: few and short ones do, others are in a legend below the plot."""
    return len(names) <= len(COLOURS) and max(map(len, names), default=0) <= LONGEST_DIRECT


def _name_beside(axes: Axes, marks: Mapping[str, FloatArray], at: float, side: str) -> None:
    """Names ``at`` an x, each tied to its mark (x, y) by a line, and far enough apart."""
    bottom, top = axes.get_ylim()
    names = sorted(marks, key=lambda name: float(marks[name][1]))
    heights, least = np.array([marks[name][1] for name in names]), LABEL_HEIGHT * (top - bottom)
    for row in range(1, len(names)):
        heights[row] = max(heights[row], heights[row - 1] + least)
    heights[-1:] = np.minimum(heights[-1:], top)
    for row in range(len(names) - 2, -1, -1):
        heights[row] = min(heights[row], heights[row + 1] - least)
    colours = {line.get_label(): line.get_color() for line in axes.get_lines()}
    for name, height in zip(names, heights.tolist(), strict=True):
        axes.annotate(
            name,
            marks[name],
            (at, height),
            ha=side,
            va="center",
            fontsize="small",
            annotation_clip=False,
            arrowprops={"arrowstyle": "-", "color": colours[name], "linewidth": 0.8, "alpha": 0.6, "shrinkA": 1},
        )


def _legend_shape(names: Collection[str]) -> tuple[int, int]:
    """Columns and rows of a legend that is no wider than the figure."""
    entries = min(len(names), len(COLOURS) + 1)
    widest = max((len(_short(name)) for name in names), default=0)
    columns = max(1, min(3, LEGEND_CHARACTERS // (widest + LEGEND_MARK_CHARACTERS)))
    return columns, -(-entries // columns)


def _short(name: str, longest: int = LONGEST_NAME) -> str:
    return name if len(name) <= longest else name[: longest - 1] + "…"
