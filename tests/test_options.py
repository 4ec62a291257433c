"""The option system: values as their types have them, one wording for what they cannot be, and search ranges."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Any, ClassVar, Literal

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nearnext.data.sessions import Sessions
from nearnext.errors import ConfigError
from nearnext.options import (
    SOME,
    Count,
    Fraction,
    Natural,
    NonNegative,
    Positive,
    Probability,
    Search,
    at_most,
    check,
    checked,
    make,
    options,
    options_of,
)
from nearnext.recommenders.named import make_recommender, method_options
from nearnext.registry import ENCODERS, LOSSES, RECOMMENDERS

METHODS = [
    *RECOMMENDERS,
    *(f"sml-{encoder}-ncas" for encoder in ENCODERS),
    *(f"sml-gru-{loss}" for loss in LOSSES),
]


@options
class Decay:
    """An example.

    Attributes:
        rate: of the decay,
            for each click.
        shape: of its curve.
    """

    rate: Annotated[Positive, Search(0.01, 1.0, log=True, why="slow to fast")] = 0.1
    shape: Annotated[Literal["linear", "log"], Search(why="all that there are")] = "log"
    widths: tuple[Count, ...] = (3,)

    def __post_init__(self) -> None:
        if self.shape == "log" and self.rate > 10:
            raise ConfigError("a logarithmic decay has a rate of at most 10")


@pytest.mark.parametrize(
    ("kind", "value", "read"),
    [
        (Count, 5, 5),
        (Count, np.int32(5), 5),
        (Count, np.array(5), 5),
        (Count | None, None, None),
        (Positive, 2, 2.0),
        (Positive, np.float32(0.5), 0.5),
        (bool, np.bool_(True), True),
        (tuple[Count, ...], [1, np.int64(2)], (1, 2)),
        (tuple[str, ...], ["sr"], ("sr",)),
        (Sequence[str], ["sr"], ("sr",)),
        (Mapping[str, Any], MappingProxyType({"k": [1]}), {"k": [1]}),
        (tuple[Count, ...], np.array([1, 2]), (1, 2)),
        (tuple[Count, ...], range(1, 3), (1, 2)),
        (tuple[Count, ...], (k for k in (1, 2)), (1, 2)),
        (Literal["a", "b"], "b", "b"),
        (Path, "folder", Path("folder")),
        (Path | None, None, None),
    ],
)
def test_values_become_those_of_the_type(kind: Any, value: Any, read: Any):
    found = checked("option", value, kind)
    assert found == read
    assert type(found) is type(read)


@pytest.mark.parametrize(
    ("kind", "value", "message"),
    [
        (Count, 0, "option must be a whole number of at least 1, found 0"),
        (Count, True, "option must be a whole number of at least 1, found True"),
        (Count, 5.0, "option must be a whole number of at least 1, found 5.0"),
        (Count, "5", "option must be a whole number of at least 1, found '5'"),
        (Count, None, "option must be a whole number of at least 1, found None"),
        (Count | None, 0, "option must be a whole number of at least 1, found 0"),
        (Count, np.array([1, 2]), "option must be a whole number of at least 1, found a ndarray"),
        (Natural, -1, "option must be a whole number of at least 0, found -1"),
        (Positive, 0, "option must be a finite number above 0, found 0"),
        (Positive, float("inf"), "option must be a finite number above 0, found inf"),
        (float, float("nan"), "option must be a finite number, found nan"),
        (NonNegative, True, "option must be a finite number of at least 0, found True"),
        (Fraction, 1.0, "option must be a finite number of at least 0 and below 1, found 1.0"),
        (Probability, 1.5, "option must be a finite number of at least 0 and at most 1, found 1.5"),
        (Annotated[float, at_most(2)], 3, "option must be a finite number of at most 2, found 3"),
        (bool, 1, "option must be true or false, found 1"),
        (bool, "no", "option must be true or false, found 'no'"),
        (str, 1, "option must be a text, found 1"),
        (Path, "", "option must be a path, found ''"),
        (Literal["linear", "log"], "lin", "unknown option 'lin'; did you mean 'linear'?; known: linear, log"),
        (
            tuple[Count, ...],
            3,
            "option must be a list of whole numbers of at least 1, found 3; give for example [64, 32]",
        ),
        (tuple[Count, ...], [3, 0], "option must be a list of whole numbers of at least 1, found [3, 0]; give for"),
        (tuple[int, ...], {3}, "option must be a list of whole numbers, found a set"),
        (tuple[str, ...], "sr", "option must be a list of texts, found 'sr'; give for example ['one', 'other']"),
        (Annotated[tuple[int, ...], SOME], [], "option must be a list of one or several whole numbers, found []"),
        (Literal["resume", "seed"], "preset", "unknown option 'preset'; known: resume, seed"),
        (
            Mapping[str, Sequence[str]],
            {"a": "b"},
            "option must be a mapping of texts to lists of texts, found {'a': 'b'}",
        ),
        (Mapping[str, Any], [1], "option must be a mapping of texts, found [1]"),
        (Decay, {}, "expected Decay as option, found a dict; make it first"),
    ],
)
def test_values_that_are_not_of_the_type_are_refused(kind: Any, value: Any, message: str):
    with pytest.raises(ConfigError) as caught:
        checked("option", value, kind)
    assert str(caught.value).startswith(message)


@pytest.mark.parametrize(
    ("kind", "text", "read"),
    [
        (Count, " 500 ", 500),
        (float, "1e-3", 0.001),
        (bool, "no", False),
        (bool, "true", True),
        (tuple[int, ...], "32, 16", (32, 16)),
        (tuple[str, ...], "", ()),
        (Literal["a", "b"], "a", "a"),
        (str, "5", "5"),
        (Count, 7, 7),
    ],
)
def test_text_of_the_command_line_is_read_by_the_type(kind: Any, text: Any, read: Any):
    found = checked("option", text, kind, text=True)
    assert (found, type(found)) == (read, type(read))


@pytest.mark.parametrize(
    ("kind", "text", "message"),
    [
        (Count, "many", "option must be a whole number of at least 1, found 'many'"),
        (float, "nan", "option must be a finite number, found 'nan'"),
        (Literal["a", "b"], "c", "unknown option 'c'; known: a, b"),
        (tuple[int, ...], "1,x", "option must be a list of whole numbers, found '1,x'; give for example 64,32"),
        (Count, 5.5, "option must be a whole number of at least 1, found 5.5"),
    ],
)
def test_text_that_the_type_cannot_read_is_refused(kind: Any, text: Any, message: str):
    with pytest.raises(ConfigError) as caught:
        checked("option", text, kind, text=True)
    assert str(caught.value) == message


@given(st.one_of(st.integers(), st.floats(), st.booleans(), st.none(), st.text(), st.lists(st.integers())))
def test_a_whole_number_is_nothing_but_a_whole_number(value: Any):
    if type(value) is int and value >= 1:
        assert checked("k", value, Count) == value
    else:
        with pytest.raises(ConfigError, match="k must be a whole number of at least 1, found"):
            checked("k", value, Count)


def test_a_class_of_options_is_checked_field_by_field_then_as_a_whole():
    assert Decay(rate=np.float64(2.0), widths=[np.int64(4)]) == Decay(2.0, "log", (4,))  # pyright: ignore[reportArgumentType]
    with pytest.raises(ConfigError, match="unknown shape 'cubic'; known: linear, log"):
        Decay(shape="cubic")  # pyright: ignore[reportArgumentType]
    with pytest.raises(ConfigError, match="a rate of at most 10"):
        Decay(rate=11)
    with pytest.raises(ConfigError, match="rate must be a finite number above 0, found -1"):
        replace(Decay(), rate=-1)
    with pytest.raises(AttributeError):
        Decay().rate = 3.0  # type: ignore[misc]


def test_options_made_by_name_refuse_what_they_do_not_have():
    assert make(Decay, {"rate": "0.5", "widths": "8,4"}, "decay", text=True) == Decay(0.5, "log", (8, 4))
    with pytest.raises(
        ConfigError, match=r"decay has no option 'rat'; did you mean 'rate'.; known: rate, shape, widths"
    ):
        make(Decay, {"rat": 1}, "decay")
    with pytest.raises(ConfigError, match=r"decay: rate must be a finite number above 0, found '0.5'"):
        make(Decay, {"rate": "0.5"}, "decay")
    with pytest.raises(ConfigError, match="decay: a logarithmic decay"):
        make(Decay, {"rate": 50}, "decay")


def test_a_field_says_type_range_search_and_help():
    rate, shape, widths = options_of(Decay).values()
    assert (str(rate), str(rate.search), rate.help) == (
        "a finite number above 0",
        "0.01 to 1, log",
        "of the decay, for each click.",
    )
    assert shape.search is not None
    assert (str(shape), shape.search.choices) == ("one of linear, log", ("linear", "log"))
    assert (str(widths), widths.search, widths.default) == ("a list of whole numbers of at least 1", None, (3,))


def test_a_plain_dataclass_has_options_too_and_a_subclass_keeps_the_ranges_of_its_base():
    @dataclass
    class Plain:
        k: Annotated[Count, Search(1, 9, why="any")] = 5
        name: ClassVar[str] = "plain"
        learned: list[int] = field(init=False, default_factory=list[int])

        def __post_init__(self) -> None:
            check(self)

    @dataclass
    class Other(Plain):
        k: int = 7

    @dataclass
    class Narrow(Plain):
        k: Annotated[int, Search(2, 3, why="any")] = 2

    assert list(options_of(Plain)) == ["k"]
    assert (str(options_of(Other)["k"].search), options_of(Other)["k"].default) == ("1 to 9", 7)
    assert str(options_of(Narrow)["k"].search) == "2 to 3"
    with pytest.raises(ConfigError, match="plain: k must be a whole number of at least 1, found 0"):
        Other(0)


@pytest.mark.parametrize("method", METHODS)
def test_defaults_and_search_ranges_are_values_that_the_option_takes(method: str):
    params = make_recommender(method).params()
    for name, option in method_options(method).items():
        if name in params:
            checked(name, params[name], option.kind)
        if (search := option.search) is not None:
            tried = search.choices or ((int if search.whole else float)(end) for end in (search.low, search.high))
            for value in tried:
                checked(name, value, option.kind)


def test_a_model_with_an_invalid_option_is_not_saved(tmp_path: Path):
    fitted = make_recommender("sr").fit(Sessions.of([["a", "b"]]))
    fitted.steps = -1  # type: ignore[attr-defined]
    with pytest.raises(ConfigError, match="sr: steps must be a whole number of at least 1, found -1"):
        fitted.save(tmp_path / "model")
    assert not (tmp_path / "model").exists()
