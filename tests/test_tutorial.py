"""The tutorial and the notebooks do what they say: commands and cells run in order and print what is shown."""

import json
import os
import re
import socket
import subprocess
import sys
from doctest import ELLIPSIS, NORMALIZE_WHITESPACE, OutputChecker
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[1]
BLOCK = re.compile(r"^```(console|python)\n(.*?)^```", re.MULTILINE | re.DOTALL)

CELLS = """
import ast, json, sys
for cell in json.load(open(sys.argv[1]))["cells"]:
    if cell["cell_type"] == "code":
        tree, last = ast.parse("".join(cell["source"])), None
        if isinstance(tree.body[-1], ast.Expr):
            last = compile(ast.Expression(tree.body.pop().value), "cell", "eval")
        exec(compile(tree, "cell", "exec"), globals())
        shown = None if last is None else eval(last, globals())
        if hasattr(shown, "_repr_html_"):
            assert shown._repr_html_()
"""


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def steps(text: str) -> list[tuple[str, str]]:
    """Each command with the output below it; a command goes on while a quote is open."""
    found: list[tuple[str, str]] = []
    for kind, block in BLOCK.findall(text):
        if kind == "python":
            found.append((f"python - <<'CODE'\n{block}CODE", "..."))
            continue
        for part in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
            lines = part.splitlines()
            n = next(n for n in range(1, len(lines) + 1) if "\n".join(lines[:n]).count('"') % 2 == 0)
            found.append(("\n".join(lines[:n]), "\n".join(lines[n:])))
    return found


def environment() -> dict[str, str]:
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    return {**os.environ, "PATH": path, "OMP_NUM_THREADS": "1", "COLUMNS": "160"}


def test_the_tutorial_runs_as_it_is_printed(tmp_path: Path):
    text = (ROOT / "docs" / "tutorial.md").read_text("utf-8").replace("8123", str(free_port()))
    done = steps(text)
    assert len(done) > 12
    try:
        for number, (command, expected) in enumerate(done):
            words = ["bash", "-c", f"exec > out{number} 2> err{number}; {command}"]  # the service keeps its files open
            ran = subprocess.run(words, cwd=tmp_path, env=environment(), check=False, timeout=600)
            printed, wrong = ((tmp_path / f"{stream}{number}").read_text("utf-8") for stream in ("out", "err"))
            assert ran.returncode == 0, (command, wrong)
            wanted = expected if expected.endswith("...") else f"{expected}\n" if expected else ""
            assert OutputChecker().check_output(wanted, printed, ELLIPSIS | NORMALIZE_WHITESPACE), (command, printed)
    finally:
        if (tmp_path / "pid").is_file():
            subprocess.run(["kill", (tmp_path / "pid").read_text()], check=False, stderr=subprocess.DEVNULL)
    assert "<svg" in (tmp_path / "report.html").read_text("utf-8")


NOTEBOOKS = sorted((ROOT / "examples").glob("*.ipynb"))


def test_there_are_two_notebooks():
    assert len(NOTEBOOKS) == 2


@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda path: path.stem)
def test_the_cells_of_a_notebook_run_in_order(notebook: Path, tmp_path: Path):
    cells = json.loads(notebook.read_text("utf-8"))["cells"]
    assert not any(cell.get("outputs") or cell.get("execution_count") for cell in cells), "clear the outputs"
    words = [sys.executable, "-c", CELLS, notebook]
    ran = subprocess.run(words, cwd=tmp_path, env=environment(), stderr=subprocess.PIPE, check=False, timeout=600)
    assert ran.returncode == 0, ran.stderr[-2000:]
