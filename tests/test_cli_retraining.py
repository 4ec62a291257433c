"""``fit --from MODEL``: yesterday's model, retrained; what cannot be is refused in one line."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from nearnext.artifact import load

Command = Callable[..., Any]
SETTINGS = ("--set", "layers=4", "--set", "n_sample=8", "--set", "epochs=2")


def write(path: Path, first: int, *, ids: str = "i") -> Path:
    rows = [
        f"s{s},{ids}{first + (s + click) % 5},{1_700_000_000 + 100 * s + click}" for s in range(9) for click in range(3)
    ]
    path.write_text("\n".join(["session_id,item_id,timestamp", *rows]) + "\n", "utf-8")
    return path


@pytest.fixture
def yesterday(nearnext: Command, tmp_path: Path) -> Path:
    log = write(tmp_path / "yesterday.csv", 0)
    done = nearnext("fit", log, "--method", "gru4rec", *SETTINGS, "--out", tmp_path / "model")
    assert done.code == 0, done.err
    return tmp_path / "model"


@pytest.mark.slow
def test_a_model_is_retrained_in_its_place_day_by_day(nearnext: Command, yesterday: Path, tmp_path: Path):
    for day in (1, 2):
        log = write(tmp_path / "today.csv", day)
        done = nearnext("fit", log, "--from", yesterday, "--method", "GRU4Rec", "--set", "layers=4", "--out", yesterday)
        assert done.code == 0, done.err
        assert set(load(yesterday).vocabulary.ids) == {f"i{day + n}" for n in range(5)}
        manifest = json.loads((yesterday / "manifest.json").read_text("utf-8"))
        assert manifest["started_from"]["retrainings"] == day
        assert manifest["params"]["layers"] == [4]
        assert f"Retrainings since the fit from scratch: {day}." in (yesterday / "README.md").read_text("utf-8")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--method", "metric-fast"), "is a model of gru4rec, found --method metric-fast"),
        (("--set", "layers=8"), "is a model with layers="),
        (("--run", "run"), "--run is for fits from scratch"),
        (("--dry-run",), "--dry-run is for fits from scratch"),
        (("--preset", "quick"), "has no presets"),
    ],
)
def test_what_the_model_is_not_is_refused(
    nearnext: Command, yesterday: Path, tmp_path: Path, arguments: tuple[str, ...], said: str
):
    log = write(tmp_path / "today.csv", 1)
    done = nearnext("fit", log, "--from", yesterday, *arguments, "--out", tmp_path / "new")
    assert (done.code, done.err.count("\n")) == (2, 1)
    assert said in done.err
    assert not (tmp_path / "new").exists()


@pytest.mark.slow
def test_other_ids_and_damaged_models_are_refused(nearnext: Command, yesterday: Path, tmp_path: Path):
    numbers = write(tmp_path / "numbers.csv", 1, ids="")
    done = nearnext("fit", numbers, "--from", yesterday, "--out", tmp_path / "new")
    assert done.code == 2
    assert "expected item ids that are texts" in done.err.splitlines()[-1]
    manifest = yesterday / "manifest.json"
    manifest.write_text(manifest.read_text("utf-8").replace('"schema": 1', '"schema": 0'), "utf-8")
    done = nearnext("fit", numbers, "--from", yesterday, "--out", tmp_path / "new")
    assert (done.code, done.err.count("\n")) == (2, 1)
    assert "has schema 0" in done.err


def test_a_method_without_weights_is_refused(nearnext: Command, tmp_path: Path):
    log = write(tmp_path / "log.csv", 0)
    assert nearnext("fit", log, "--method", "sr", "--out", tmp_path / "model").code == 0
    done = nearnext("fit", log, "--from", tmp_path / "model", "--out", tmp_path / "new")
    assert (done.code, done.err.count("\n")) == (2, 1)
    assert "sr has no weights to start from" in done.err
