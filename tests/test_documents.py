"""The documents and the code are one product."""

import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from reference import command_reference, method_reference

import nearnext
from nearnext.evaluation.metrics import CASE_METRICS, LIST_METRICS
from nearnext.registry import METRICS

ROOT = Path(__file__).parents[1]
PAGES = sorted([ROOT / "README.md", *(ROOT / "docs").rglob("*.md")])


@pytest.mark.parametrize(("page", "made"), [("commands.md", command_reference), ("methods.md", method_reference)])
def test_a_reference_is_up_to_date(page: str, made: Callable[[], str]):
    assert (ROOT / "docs" / page).read_text("utf-8") == made(), "run 'make docs'"


@pytest.mark.parametrize("metric", [*CASE_METRICS, *LIST_METRICS, *METRICS])
def test_every_metric_is_documented(metric: str):
    assert f"| {metric}@k |" in (ROOT / "docs" / "metrics.md").read_text("utf-8")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_between_pages_lead_somewhere(page: Path):
    for target in re.findall(r"\]\(([^)#]+)[^)]*\)", page.read_text("utf-8")):
        assert target.startswith("http") or (page.parent / target).exists(), target


def test_the_architecture_names_files_that_exist():
    text = (ROOT / "docs" / "architecture.md").read_text("utf-8")
    files = set(re.findall(r"[\w/]+\.py\b|\b[a-z_]+/(?:[a-z_]+/)*(?![\w.])", text)) - {"src/nearnext/"}
    assert {"training/loop.py", "model/losses/"} <= files
    homes = {file: ROOT if file.startswith("tests/") else ROOT / "src" / "nearnext" for file in files}
    missing = [file for file, home in sorted(homes.items()) if not (home / file).exists()]
    assert not missing, missing


@pytest.mark.skipif(shutil.which("make") is None, reason="needs make")
def test_the_makefile_runs_test_files_that_exist():
    words = ["make", "--dry-run", "--no-print-directory", "test-generic", "test-seed"]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=True)
    named = {word for word in done.stdout.split() if word.startswith("tests/")}
    assert len(named) > 10
    assert [name for name in sorted(named) if not (ROOT / name).exists()] == []


def test_the_architecture_names_every_package():
    text = (ROOT / "docs" / "architecture.md").read_text("utf-8")
    packages = [path.parent.name for path in (ROOT / "src" / "nearnext").glob("*/__init__.py")]
    assert [name for name in packages if f"`{name}/`" not in text] == []


def test_the_index_names_every_command():
    index = (ROOT / "docs" / "index.md").read_text("utf-8")
    for command in re.findall(r"^## nearnext ([\w ]+)$", command_reference(), re.MULTILINE):
        assert f"`nearnext {command} " in index, command


def test_torchrun_leaves_every_option_to_the_command():
    torchrun = pytest.importorskip("torch.distributed.run")
    text = (ROOT / "docs" / "scale.md").read_text("utf-8").replace("\\\n", "")
    commands = [line.split("#")[0].split() for line in text.splitlines() if line.startswith("$ torchrun ")]
    assert len(commands) == 2
    for _, _, *words in commands:
        given = torchrun.parse_args([*words, "--run", "run", "--resume"])
        assert given.training_script == "nearnext"
        assert given.training_script_args[-3:] == ["--run", "run", "--resume"]


def test_public_names_exist_and_say_what_they_are():
    for name in nearnext.__all__:
        assert (getattr(nearnext, name).__doc__ or "").strip(), name
