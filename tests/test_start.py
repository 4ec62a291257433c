"""Starting: nothing heavy is imported before it is needed, and what stops a start is one line."""

import json
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest

import nearnext as package

Command = Callable[..., Any]

HEAVY = ("torch", "numba", "numpy", "polars", "pyarrow", "scipy", "pydantic", "matplotlib", "optuna", "yaml", "asyncio")

LOADED = "import sys, json; print(json.dumps(sorted(sys.modules)))"


def loaded(program: str) -> set[str]:
    """The modules that a fresh interpreter has after a program; what it prints before is left out."""
    done = subprocess.run([sys.executable, "-c", f"{program}\n{LOADED}"], capture_output=True, text=True, check=True)
    return set(json.loads(done.stdout.splitlines()[-1]))


HELP = """
import sys
sys.argv = ["nearnext", *{words!r}]
from nearnext.cli import main
try:
    main()
except SystemExit:
    pass
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    "program",
    [
        "import nearnext",
        "import nearnext; dir(nearnext); nearnext.__version__",
        HELP.format(words=["--help"]),
        HELP.format(words=["compare", "-h"]),
        HELP.format(words=["paper", "table2", "--help"]),
        HELP.format(words=["--version"]),
        HELP.format(words=["options", "--help"]),
        f"import os; os.environ.update(_NEARNEXT_COMPLETE='complete_bash', COMP_WORDS='nearnext co', COMP_CWORD='1')\n"
        f"{HELP.format(words=[])}",
    ],
)
def test_nothing_heavy_is_imported_before_it_is_needed(program: str):
    assert not loaded(program).intersection(HEAVY)


@pytest.mark.slow
def test_a_public_name_imports_what_it_needs_and_no_more():
    modules = loaded("from nearnext import read_events, Sessions")
    assert "polars" in modules
    assert not modules.intersection({"torch", "numba", "scipy", "matplotlib"})


def test_every_public_name_is_there_and_listed():
    assert set(package.__all__) < set(dir(package))
    for name in package.__all__:
        assert getattr(package, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'Missing'"):
        package.Missing  # noqa: B018  # pyright: ignore


@pytest.mark.parametrize("words", [["--version"], ["-h"], ["compare", "-h"], ["paper", "-h"], ["paper", "fig1", "-h"]])
def test_version_and_help_are_answered_everywhere(nearnext: Command, words: list[str]):
    done = nearnext(*words)
    assert (done.code, done.err) == (0, "")
    assert done.out


def test_a_renamed_class_says_what_it_is_called_now(monkeypatch: pytest.MonkeyPatch):
    name = "MetricRecommender"
    monkeypatch.delitem(package.__dict__, name, raising=False)
    with pytest.warns(FutureWarning, match=r"nearnext.MetricRecommender is now nearnext.SML"):
        old: Any = getattr(package, name)
    assert old is package.SML
    assert {"Metric", "MetricFast", "SML", "GRU4Rec"} <= set(dir(package))
