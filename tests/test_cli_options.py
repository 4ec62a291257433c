"""The command that lists a method's options: what it says is what the method takes."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from nearnext.cli.output import console
from nearnext.recommenders.named import make_recommender, method_options
from nearnext.registry import LOSSES, RECOMMENDERS

Command = Callable[..., Any]

OWN_LOSS = '''
from typing import Annotated
import nearnext
from nearnext.options import Count, Search, options

@nearnext.register("stretch")
@options
class Stretch:
    """A loss.

    Attributes:
        stretch: power of the difference.
    """

    stretch: Annotated[Count, Search(1, 4, why="any")] = 2
    needs_item_distances = False

    def __call__(self, batch):
        return ((2 + batch.positive - batch.negative).mean()) ** self.stretch
'''


def test_the_options_of_a_method_are_a_table(nearnext: Command, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(console, "_width", 200)  # in a narrow terminal long cells are folded
    done = nearnext("options", "VSKNN")
    assert (done.code, done.err) == (0, "")
    assert all(option in done.out for option in make_recommender("vsknn").params())
    assert "a whole number of at least 1" in done.out
    assert "50 to 2000, log" in done.out


def test_a_method_without_options_says_so(nearnext: Command):
    assert nearnext("options", "pop").out == "pop has no options\n"


@pytest.mark.parametrize("method", [*RECOMMENDERS, "sml-gru-triplet", "sml-textcnn-ncas"])
def test_the_options_as_json_name_values_that_the_method_takes(nearnext: Command, method: str):
    done = nearnext("options", method, "--json", "-")
    assert done.code == 0
    found = json.loads(done.out)
    params = make_recommender(method).params()
    assert found["method"] == method
    assert [each["option"] for each in found["options"]] == list(method_options(method))
    for each in found["options"]:
        if each["option"] in params:
            value = params[each["option"]]
            assert each["default"] == (list(value) if isinstance(value, tuple) else value)
        assert each["values"]


def test_every_option_of_the_default_method_has_help():
    assert [name for name, option in method_options("metric").items() if not option.help] == []


def test_the_options_of_an_own_part_are_listed_with_its_search_range(nearnext: Command, tmp_path: Path):
    file = tmp_path / "own_loss_with_options.py"
    file.write_text(OWN_LOSS, "utf-8")
    try:
        done = nearnext("options", "sml-gru-stretch", "--import", file, "--json", "-")
        assert done.code == 0, done.err
        (found,) = (each for each in json.loads(done.out)["options"] if each["option"] == "stretch")
        assert found == {
            "option": "stretch",
            "values": "a whole number of at least 1",
            "default": 2,
            "search": "1 to 4",
            "searched_where": {},
            "help": "power of the difference.",
        }
    finally:
        LOSSES.remove("stretch")


def test_an_unknown_method_is_one_line(nearnext: Command):
    done = nearnext("options", "nope")
    assert done.code == 2
    assert done.err.startswith("error: unknown method 'nope'; known: metric")


@pytest.mark.parametrize(
    ("method", "switch", "reason"),
    [
        ("metric", ("--preset", "quick"), "metric has no presets: sml-* methods have; leave --preset out"),
        ("vsknn", ("--run", "folder"), "vsknn does not train in epochs, and keeps no checkpoints; leave --run out"),
        ("POP", ("--resume",), "pop does not train in epochs, and keeps no checkpoints; leave --resume out"),
        ("pop", ("--seed", "3"), "pop draws nothing at random; leave --seed out"),
    ],
)
def test_a_switch_that_a_method_does_not_have_is_named(
    nearnext: Command, method: str, switch: tuple[str, ...], reason: str
):
    done = nearnext("fit", "log.csv", "--method", method, *switch, "--out", "model")
    assert (done.code, done.out, done.err) == (2, "", f"error: {reason}\n")


def test_commands_are_listed_in_the_order_of_their_use(nearnext: Command):
    listed = [
        line.split()[1] for line in nearnext("--help").out.split("Commands")[1].splitlines() if line[2:3].isalpha()
    ]
    assert listed[:6] == ["stats", "prepare", "synth", "compare", "tune", "fit"]
