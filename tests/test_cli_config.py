"""Files of options: TOML or YAML, with a table for each method or with the options of one."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Command = Callable[..., Any]


@pytest.fixture
def log(tmp_path: Path) -> Path:
    rows = [f"s{s},i{(s + click) % 5},{1_700_000_000 + 100 * s + click}" for s in range(9) for click in range(3)]
    path = tmp_path / "log.csv"
    path.write_text("\n".join(["session_id,item_id,timestamp", *rows]) + "\n", "utf-8")
    return path


@pytest.mark.parametrize(
    ("name", "text"),
    [("o.toml", "[sknn]\nk = 9\n[vsknn]\nk = 3\n"), ("o.toml", "k = 9\n"), ("o.yaml", "k: 9\n")],
)
def test_fit_takes_options_from_a_file(nearnext: Command, log: Path, tmp_path: Path, name: str, text: str):
    config = tmp_path / name
    config.write_text(text, "utf-8")
    done = nearnext("fit", log, "--method", "sknn", "--config", config, "--out", tmp_path / "m")
    assert done.code == 0, done.err
    assert json.loads((tmp_path / "m" / "manifest.json").read_text("utf-8"))["params"]["k"] == 9


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("o.toml", "k = \n"),
        ("o.yaml", "[1, 2"),
        ("o.yaml", "- 1\n"),
        ("o.yaml", "k: 9\nk: 8\n"),
        ("o.yaml", "sknn: {k: 9, k: 8}\n"),
        ("o.yaml", "sknn:\n"),
        ("o.yaml", "sknn: [9]\n"),
    ],
)
def test_files_that_are_no_options_give_one_line(nearnext: Command, log: Path, tmp_path: Path, name: str, text: str):
    config = tmp_path / name
    config.write_text(text, "utf-8")
    done = nearnext("fit", log, "--method", "sknn", "--config", config, "--out", tmp_path / "m")
    assert (done.code, done.err.count("\n")) == (2, 1)


def test_a_config_file_without_a_table_for_the_method_is_refused(nearnext: Command, log: Path, tmp_path: Path):
    config = tmp_path / "options.toml"
    config.write_text("[vsknn]\nk = 5\n\n[sr]\nsteps = 2\n")
    for arguments in (
        ("fit", log, "--method", "sknn", "--config", config, "--out", tmp_path / "m"),
        ("compare", log, "--methods", "sknn", "--config", config),
    ):
        done = nearnext(*arguments)
        assert done.code == 2
        assert "sknn" in done.err
        assert "its tables: vsknn, sr" in done.err
