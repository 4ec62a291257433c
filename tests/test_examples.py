"""The examples run as they are printed, and their parts stand wherever built-in ones do."""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from nearnext import load_artifact, make_recommender, own_parts
from nearnext.errors import ArtifactError
from nearnext.registry import ENCODERS, LOSSES

pytestmark = pytest.mark.slow

Command = Callable[..., Any]

EXAMPLES = Path(__file__).parents[1] / "examples"
SMALL = ("--set", "dim=8", "--set", "epochs=1", "--set", "device=cpu")


@pytest.fixture(autouse=True)
def nothing_remains(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The parts of the examples are known only while a test runs."""
    monkeypatch.setattr(own_parts, "_imported", dict[str, Any]())
    monkeypatch.setenv(own_parts.VARIABLE, "")
    yield
    forget()


def forget() -> None:
    os.environ[own_parts.VARIABLE] = ""
    own_parts._imported.clear()  # pyright: ignore[reportPrivateUsage]
    ENCODERS.remove("recency")
    LOSSES.remove("squared")
    for module in ("own_encoder", "own_loss"):
        sys.modules.pop(module, None)


@pytest.mark.parametrize(
    ("example", "listed"),
    [
        ("own_encoder.py", ["pop", "sml-maxpool-ncas", "sml-recency-ncas"]),
        ("own_loss.py", ["pop", "sml-maxpool-triplet", "sml-maxpool-squared"]),
        ("own_metric.py", ["pop", "spop", "vsknn"]),
    ],
)
def test_an_example_ranks_its_part(example: str, listed: list[str]):
    done = subprocess.run([sys.executable, EXAMPLES / example], capture_output=True, text=True, check=True)
    lines = [line.split() for line in done.stdout.splitlines()]
    assert [line[0] for line in lines] == listed
    shown = {line[0]: float(line[2]) for line in lines}
    assert all(0 < figure <= 1 for figure in shown.values())


@pytest.fixture
def log(tmp_path: Path) -> Path:
    rows = [f"s{s},i{(s + j * j) % 9},{1_700_000_000 + 600 * s + j}" for s in range(60) for j in range(2 + s % 4)]
    file = tmp_path / "clicks.csv"
    file.write_text("session,item,time\n" + "\n".join(rows) + "\n")
    return file


def test_own_parts_stand_in_every_command_and_a_saved_model_says_where_they_are_from(
    nearnext: Command, log: Path, tmp_path: Path
):
    own = ("--import", EXAMPLES / "own_encoder.py", "--import", EXAMPLES / "own_loss.py")
    model = tmp_path / "model"
    fitted = nearnext("fit", log, *own, "--method", "sml-recency-squared", *SMALL, "--out", model)
    assert (fitted.code, fitted.err) == (0, "")
    manifest = json.loads((model / "manifest.json").read_text())
    assert manifest["method"] == "sml-recency-squared"
    assert [(part["kind"], part["name"], Path(part["from"]).name) for part in manifest["own_parts"]] == [
        ("encoder", "recency", "own_encoder.py"),
        ("loss", "squared", "own_loss.py"),
    ]
    for command in (
        ("recommend", model, "--session", "i1,i2", "--k", "3"),
        ("evaluate", model, log),
        ("explain", model, "--session", "i1,i2", "--item", "i3"),
    ):
        forget()
        done = nearnext(*command)
        assert done.code == 2
        assert "is made with the session encoder 'recency' of" in done.err
        assert f"--import {EXAMPLES / 'own_encoder.py'}" in done.err
        done = nearnext(*command, *own)
        assert done.code == 0, done.err


def test_own_parts_can_be_compared_and_tuned(nearnext: Command, log: Path, tmp_path: Path):
    own = ("--import", EXAMPLES / "own_encoder.py", "--import", EXAMPLES / "own_loss.py")
    small = [
        word
        for option in ("dim=8", "epochs=1", "reranker_steps=20", "encoder=recency", "loss=squared")
        for word in ("--set", f"metric.{option}")
    ]
    compared = nearnext("compare", log, *own, "--methods", "pop,metric", *small, "--json", tmp_path / "result.json")
    assert compared.code == 0, compared.err
    methods = json.loads((tmp_path / "result.json").read_text())["methods"]
    assert {method["name"] for method in methods} == {"pop", "metric"}
    forget()
    tuned = nearnext(
        "tune", log, *own, "--method", "sml-recency-squared", *SMALL, "--trials", "2", "--study", tmp_path / "study"
    )
    assert tuned.code == 0, tuned.err
    assert "sml-recency-squared: 2 trials" in " ".join(tuned.out.split())


def test_an_own_part_has_a_row_in_the_papers_tables(nearnext: Command, log: Path, tmp_path: Path):
    small = [word for word in SMALL[1::2] for word in ("--set", f"sml-recency-ncas.{word}")]
    done = nearnext(
        *("paper", "table2", log, "--import", EXAMPLES / "own_encoder.py", "--methods", "pop,sml-recency-ncas"),
        *(*small, "--min-support", "1", "--replicates", "20", "--json", tmp_path / "result.json"),
    )
    assert done.code == 0, done.err
    table = json.loads((tmp_path / "result.json").read_text())["paper"]
    assert {line["labels"][0] for line in table["tables"][0]["lines"]} == {"POP", "sml-recency-ncas"}
    assert ["sml-recency-ncas"] in [line[0] for line in table["printed"][0]["lines"]]


def test_a_variable_names_what_to_import(nearnext: Command, log: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.setenv(own_parts.VARIABLE, f"{EXAMPLES / 'own_encoder.py'}{os.pathsep}{EXAMPLES / 'own_loss.py'}")
    done = nearnext("fit", log, "--method", "sml-recency-squared", *SMALL, "--out", tmp_path / "model")
    assert done.code == 0, done.err
    assert load_artifact(tmp_path / "model").recommender.name == "sml-recency-squared"
    forget()
    with pytest.raises(ArtifactError, match=r"is made with the session encoder 'recency' of .*own_encoder.py"):
        load_artifact(tmp_path / "model")
    assert make_recommender("pop").name == "pop"


def test_a_file_that_cannot_be_imported_is_one_line(nearnext: Command, log: Path, tmp_path: Path):
    broken = tmp_path / "broken.py"
    broken.write_text("import nearnext\nnearnext.registre('own')\n")
    done = nearnext("compare", log, "--import", broken)
    assert (done.code, done.out) == (2, "")
    reason = "AttributeError: module 'nearnext' has no attribute 'registre' (broken.py, line 2)"
    assert done.err.splitlines() == [f"error: cannot import {broken}: {reason}"]
