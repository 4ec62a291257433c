"""``--format`` and ``--runs``: standard output gets the table alone, a folder the lists."""

import csv
import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.slow

Command = Callable[..., Any]


@pytest.fixture
def log(tmp_path: Path) -> Path:
    rows = [f"s{s},item-{(s * 3 + j * j) % 11},{1_600_000_000 + s * 600 + j * 10}" for s in range(60) for j in range(3)]
    path = tmp_path / "clicks.csv"
    path.write_text("\n".join(["session_id,item_id,timestamp", *rows]) + "\n", "utf-8")
    return path


@pytest.mark.parametrize(
    ("command", "column"),
    [
        (["compare", "--methods", "pop,markov", "--k", "2,5"], "HitRate@5"),
        (["paper", "table2", "--methods", "pop"], "HR"),
        (["stats"], "after"),
    ],
)
def test_standard_output_gets_the_table_alone(nearnext: Command, log: Path, command: list[str], column: str):
    done = nearnext(*command, log, "--format", "csv", "--min-support", 1)
    assert done.code == 0, done.err
    rows = list(csv.DictReader(io.StringIO(done.out)))
    assert all(row[column] for row in rows)
    assert "rows" in done.err


def test_evaluate_and_tune_have_formats_too(nearnext: Command, log: Path, tmp_path: Path):
    assert nearnext("fit", log, "--method", "markov", "--out", tmp_path / "m").code == 0
    done = nearnext("evaluate", tmp_path / "m", log, "--format", "markdown", "--runs", tmp_path / "runs")
    assert done.out.startswith("| method | HitRate@20 ")
    assert {path.name for path in (tmp_path / "runs").iterdir()} == {"markov-1.run", "qrels.txt"}
    tuned = nearnext("tune", log, "--trials", 2, "--study", tmp_path / "study.jsonl", "--format", "latex")
    assert tuned.code == 0, tuned.err
    assert tuned.out.startswith(r"\begin{tabular}")


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["--format", "html"], "unknown format of tables 'html'"),
        (["--format", "csv", "--json", "-"], "both write to standard output"),
        (["--runs", "r", "--work", "w"], "leave out --work or --runs"),
    ],
)
def test_what_cannot_be_done_is_one_line(nearnext: Command, log: Path, arguments: list[str], reason: str):
    done = nearnext("compare", log, *arguments)
    assert done.code == 2
    assert reason in done.err
    assert done.err.count("\n") == 1
