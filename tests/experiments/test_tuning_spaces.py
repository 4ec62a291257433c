"""Search spaces and option files: what is proposed can be made, written, read, and made again."""

import tomllib
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Annotated, Any, ClassVar

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

import nearnext
from nearnext.errors import ConfigError
from nearnext.experiments.tuning.budget import Trial
from nearnext.experiments.tuning.search import Space, propose
from nearnext.experiments.tuning.tune import options_table, readable_options, write_options
from nearnext.model.losses import LossInput
from nearnext.options import Count, Search, options
from nearnext.recommenders.named import make_recommender, method_options
from nearnext.registry import ENCODERS, LOSSES, RECOMMENDERS
from training_support import seed

METHODS = [*RECOMMENDERS, *(f"sml-{encoder}-{loss}" for encoder, loss in product(ENCODERS, LOSSES))]


@pytest.mark.parametrize("method", METHODS)
def test_what_is_searched_are_options_of_the_method_each_with_a_reason(method: str):
    space = Space.of(method)
    known, names = method_options(method), list(space.searched)
    for place, (option, search) in enumerate(space.searched.items()):
        assert option in known
        assert search.why
        # A condition can only be looked at once the option that it names is settled.
        assert all(name in known and name not in names[place:] for name in search.where)
    assert bool(space.note) == (not space.searched)


@pytest.mark.parametrize("method", METHODS)
def test_what_is_proposed_can_be_made_and_made_again(method: str):
    space = Space.of(method)
    trials: list[Trial] = []
    for number in range(4):
        options = propose(space, trials, 7)
        if options is None:
            assert not space.searched
            assert number
            return
        made = make_recommender(method, options)
        text = options_table(method, options)
        assert make_recommender(method, tomllib.loads(text)[method]).params() == made.params()
        trials.append(Trial(number, options, "complete", 0.1 * number))


@dataclass(frozen=True)
class PlainLoss:
    """An own loss whose options are those of a plain dataclass."""

    scale: Annotated[float, Search(0.5, 2.0, why="any")] = 1.0
    needs_item_distances: ClassVar[bool] = False

    def __call__(self, batch: LossInput) -> Tensor:
        return (batch.positive.mean() - batch.negative.mean()) * self.scale


@options
class CheckedLoss(PlainLoss):
    """The same with options that are checked."""

    power: Annotated[Count, Search(1, 4, why="any")] = 2


def test_own_parts_are_tuned_by_the_search_ranges_of_their_fields():
    for name, loss in (("plain", PlainLoss), ("checked", CheckedLoss)):
        nearnext.register(name)(loss)
    try:
        plain, checking = (Space.of(f"sml-gru-{name}").searched for name in ("plain", "checked"))
        assert plain["scale"].why == "any"
        assert "power" not in plain
        assert {"scale", "power", "hidden", "learning_rate"} <= set(checking)
        made = make_recommender("sml-gru-checked", {"scale": "0.5", "power": "3"}).params()
        assert (made["scale"], made["power"]) == (0.5, 3)
        for name in ("plain", "checked"):
            with pytest.raises(ConfigError, match=f"sml-gru-{name}: scale must be a finite number, found 'wide'"):
                make_recommender(f"sml-gru-{name}", {"scale": "wide"})
    finally:
        LOSSES.remove("plain")
        LOSSES.remove("checked")


@given(seed=st.integers(0, 2**40), losses=st.lists(st.sampled_from(["complete", "pruned", "failed"]), max_size=12))
@settings(max_examples=20, deadline=None)
def test_proposals_are_in_their_ranges_and_conditions_hold(seed: int, losses: list[Any]):
    start = {"loss": "a", "layers": (8,), "rate": 5.0, "size": 3, "only_b": 0.0}
    space = Space(
        "any",
        {
            "loss": Search(choices=("a", "b"), why="any"),
            "layers": Search(choices=([8], [8, 8]), why="any"),
            "rate": Search(0.001, 0.1, log=True, why="any"),
            "size": Search(1, 10**6, log=True, why="any"),
            "only_b": Search(0.0, 1.0, why="any", where={"loss": ("b",)}),
        },
        start,
    )
    trials: list[Trial] = []
    states: list[Any] = [*losses, "complete"]
    for number, state in enumerate(states):
        options = propose(space, trials, seed)
        assert options is not None
        if number == 0:
            assert options == {"loss": "a", "layers": [8], "rate": 5.0, "size": 3}
        else:
            assert options["loss"] in ("a", "b")
            assert options["layers"] in ([8], [8, 8])
            assert 0.001 <= options["rate"] <= 0.1
            assert 1 <= options["size"] <= 10**6
            assert ("only_b" in options) == (options["loss"] == "b")
        figure = 0.5 if state == "complete" else None
        trials.append(Trial(number, dict(options), state, figure))


def test_the_search_finds_the_good_end_of_a_range():
    unit = Search(0.0, 1.0, why="any")
    space = Space("any", {"x": unit, "y": unit}, {"x": 1.0, "y": 1.0})
    distances: list[float] = []  # squared, of the second half of each search
    for number in range(3):
        trials: list[Trial] = []
        for at in range(40):
            options = propose(space, trials, seed(number))
            assert options is not None
            squared = (options["x"] - 0.2) ** 2 + (options["y"] - 0.7) ** 2
            trials.append(Trial(at, options, "complete", 1.0 - squared))
            distances += [squared] if at >= 20 else []
    # Points drawn at random are 0.297 away on average, with a standard error of 0.03.
    assert np.mean(distances) < 0.2


@pytest.mark.parametrize(
    "make",
    [
        lambda: Search(5, 4, why="any"),
        lambda: Search(0, 4, log=True, why="any"),
        lambda: Search(1.0, 1.0, why="any"),
        lambda: Search(0.0, 1.0, log=True, why="any"),
    ],
)
def test_ranges_that_are_none_are_refused(make: Any):
    with pytest.raises(ConfigError):
        make()


VALUES = st.one_of(
    st.integers(-(2**60), 2**60),
    st.floats(allow_nan=False, allow_infinity=False),
    st.booleans(),
    st.text(st.characters(exclude_categories=["Cs"]), max_size=20),
    st.lists(st.integers(0, 500), max_size=4),
)


@given(st.dictionaries(st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=9), VALUES, max_size=5))
def test_options_come_back_from_a_file_as_they_were(options: dict[str, Any]):
    text = options_table("sml-gru-pml:angular", options, ["a note\nof two lines"])
    assert tomllib.loads(text) == {"sml-gru-pml:angular": options}


def test_options_that_a_file_cannot_hold_are_refused():
    with pytest.raises(ConfigError, match=r"cannot hold \{\}"):
        options_table("sr", {"steps": {}})


def test_tables_of_other_methods_and_their_comments_stay(tmp_path: Path):
    file = tmp_path / "options.toml"
    file.write_text("# mine\n[sknn]\nk = 5  # few\n\n[vsknn]\nk = 1\n\n[sr]\nsteps = 2\n", "utf-8")
    write_options(file, "vsknn", options_table("vsknn", {"k": 9}))
    text = file.read_text("utf-8")
    assert tomllib.loads(text) == {"sknn": {"k": 5}, "sr": {"steps": 2}, "vsknn": {"k": 9}}
    assert "# mine" in text
    assert "# few" in text


@pytest.mark.parametrize("text", ["k = 5\n", "k = \n", "\xff"])
def test_files_that_tables_cannot_be_added_to_are_refused(tmp_path: Path, text: str):
    file = tmp_path / "options.toml"
    file.write_bytes(text.encode("latin-1"))
    with pytest.raises(ConfigError, match="name another file"):
        readable_options(file)


def test_a_table_that_cannot_be_taken_out_is_refused(tmp_path: Path):
    file = tmp_path / "options.toml"
    before = "[vsknn]\nk = 1\n[vsknn.more]\nk = 2\n"
    file.write_text(before, "utf-8")
    with pytest.raises(ConfigError, match="cannot be distinguished"):
        write_options(file, "vsknn", options_table("vsknn", {"k": 9}))
    assert file.read_text("utf-8") == before
