"""What is printed where: any terminal, a closed or full stdout, a reader that goes; files are written first."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from nearnext.cli import ending, output

Command = Callable[..., Any]

ODD = ("[red]a[/red]", "[/b]", ":tent:", "[c")
"""Ids that a terminal library could take for something else."""


@pytest.fixture
def log(tmp_path: Path) -> Path:
    rows = [f"s{s},{item},{1_700_000_000 + 100 * s + at}" for s in range(9) for at, item in enumerate(("日本", "±é"))]
    path = tmp_path / "log.csv"
    path.write_text("\n".join(["session_id,item_id,timestamp", *rows]) + "\n", "utf-8")
    return path


def shell(line: str, *words: object, **environment: str) -> subprocess.CompletedProcess[str]:
    """A shell line in which ``$NN`` is the program and ``$1``, ``$2`` are the words."""
    nn = f"{sys.executable} -c 'from nearnext.cli import main; main()' -q"
    return subprocess.run(
        ["bash", "-c", f'nn() {{ {nn} "$@"; }}; {line}', "sh", *map(str, words)],
        capture_output=True, text=True, check=False, env={**os.environ, **environment},
    )  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize(
    ("line", "environment", "code"),
    [
        ('nn stats "$1" --json "$2"', {"PYTHONIOENCODING": "ascii", "LANG": "C"}, 0),
        ('nn stats "$1" --json "$2" >&-', {}, 0),
        ('nn stats "$1" --json "$2" 2>&-', {}, 0),
        ('set -o pipefail; nn stats "$1" --json "$2" | true', {}, 0),
    ],
)
def test_no_terminal_keeps_a_result_from_its_file(
    log: Path, tmp_path: Path, line: str, environment: dict[str, str], code: int
):
    done = shell(line, log, tmp_path / "r.json", **environment)
    assert (done.returncode, done.stderr) == (code, "")
    assert json.loads((tmp_path / "r.json").read_text("utf-8"))["table1"]["before"]["sessions"] == 9


@pytest.mark.slow
@pytest.mark.parametrize("unbuffered", ["", "1"])
@pytest.mark.parametrize("line", ['nn stats "$1" --json - >&-', 'nn stats "$1" >/dev/full'])
def test_a_standard_output_that_takes_nothing_is_one_line(log: Path, line: str, unbuffered: str):
    done = shell(line, log, PYTHONUNBUFFERED=unbuffered)
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1].startswith("error: ")
    assert "Traceback" not in done.stderr


def test_json_on_standard_output_is_all_that_it_gets(nearnext: Command, log: Path, tmp_path: Path):
    for words in (("stats", log), ("compare", log, "--methods", "pop", "--replicates", "20")):
        done = nearnext(*words, "--json", "-")
        assert done.code == 0, done.err
        assert json.loads(done.out)["data" if words[0] == "compare" else "table1"]
        assert "sessions" in done.err
    assert nearnext("fit", log, "--method", "sr", "--out", tmp_path / "m").code == 0
    asked = ("recommend", tmp_path / "m", "--session", "日本", "--k", "1")
    alone, dash = nearnext(*asked, "--json"), nearnext(*asked, "--json", "-")
    assert json.loads(alone.out) == json.loads(dash.out) == [json.loads(dash.out)[0]]
    assert json.loads(dash.out)[0]["items"] == ["±é"]
    assert (dash.err, alone.err.count("\n")) == ("", 1)
    assert "deprecated" in alone.err
    done = nearnext(*asked, "--json", tmp_path / "r.json")
    assert json.loads((tmp_path / "r.json").read_text("utf-8")) == json.loads(dash.out)
    assert "±é" in done.out


@pytest.mark.parametrize(
    ("words", "module", "extra"),
    [
        (("stats", "no.csv", "--report", "r.html"), "matplotlib", "report"),
        (("compare", "no.csv", "--report", "r.html"), "jinja2", "report"),
        (("paper", "fig1", "no.csv", "--report", "r.html"), "jinja2", "report"),
        (("tune", "no.csv"), "optuna", "tune"),
        (("serve", "no-model"), "uvicorn", "serve"),
        (("replay", "no-model", "no.csv", "--url", "http://localhost:1"), "aiohttp", "replay"),
        (("index", "no-model", "--kind", "approximate"), "faiss", "ann"),
        (("export", "no-model", "--onnx", "x.onnx"), "onnxscript", "onnx"),
    ],
)
def test_a_missing_extra_is_named_before_any_work(
    nearnext: Command, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, words: tuple[str, ...], module: str, extra: str
):
    monkeypatch.chdir(tmp_path)
    found = output.find_spec
    monkeypatch.setattr(output, "find_spec", lambda name: None if name == module else found(name))  # pyright: ignore
    done = nearnext(*words)
    assert (done.code, done.err.count("\n")) == (2, 1)
    assert module in done.err
    assert f"pip install 'nearnext[{extra}]'" in done.err


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        RuntimeError("can't start new thread"),
        ImportError("libx.so: failed to map segment from shared object"),
        OSError(12, "Cannot allocate memory"),
    ],
)
def test_too_little_memory_is_one_line(error: BaseException, capsys: pytest.CaptureFixture[str]):
    with pytest.raises(SystemExit, match="2"), ending.one_line():
        raise error
    assert capsys.readouterr().err == f"error: {ending.NO_MEMORY}\n"


@pytest.mark.slow
def test_a_limit_too_small_to_import_anything_is_one_line(log: Path):
    done = shell('ulimit -v 500000; nn stats "$1"', log)
    assert done.returncode == 2
    assert "(ulimit -v)" in done.stderr
    assert done.stderr.count("\n") == 1


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("error", ["KeyboardInterrupt()", "ImportError('numpy.core.multiarray failed to import')"])
def test_an_interrupt_while_modules_are_imported_is_one_line(error: str, number: int):
    program = (
        "import os, sys\nfrom nearnext.cli.ending import one_line\n"
        f"with one_line():\n    try:\n        os.kill(os.getpid(), {number})\n"
        f"    except KeyboardInterrupt:\n        raise {error} from None\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (128 + number, "interrupted\n")


@pytest.mark.slow
@pytest.mark.parametrize("background", [False, True])
def test_a_terminated_program_removes_its_temporary_folder(tmp_path: Path, background: bool):
    program = (
        "import os, signal\nfrom pathlib import Path\nfrom nearnext.atomic import whole_folder\n"
        "from nearnext.cli.ending import one_line\n"
        f"signal.signal(signal.SIGINT, signal.{'SIG_IGN' if background else 'default_int_handler'})\n"
        f"with one_line(), whole_folder(Path({str(tmp_path)!r}, 'model')):\n    os.kill(os.getpid(), signal.SIGTERM)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr, [*tmp_path.iterdir()]) == (143, "interrupted\n", [])


def test_an_error_of_the_program_itself_keeps_its_traceback():
    with pytest.raises(ZeroDivisionError), ending.one_line():
        raise ZeroDivisionError


@pytest.mark.parametrize(
    "option", [("--gap", "nan"), ("--k", "2.5"), ("--set", "vsknn.k=1.5"), ("--set", "vsknn.k=nan")]
)
def test_a_number_that_is_none_is_one_line(nearnext: Command, log: Path, option: tuple[str, str]):
    done = nearnext("compare", log, "--methods", "vsknn", *option)
    assert (done.code, done.err.count("\n")) == (2, 1)
    assert option[1].rpartition("=")[2] in done.err


@pytest.mark.slow
@pytest.mark.parametrize(
    "line",
    [
        'nn stats "$1" --json "$1"',
        'nn stats "$1" --json "$1/../log.csv"',
        'nn stats "$(dirname "$1")" --json "$1"',
        'nn stats "$(dirname "$1")/*.csv" --json "$1"',
        'nn stats "$1" --json same.out --rejects same.out',
        'nn compare "$1" --report "$1"',
    ],
)
def test_no_result_replaces_what_is_read_or_another_result(log: Path, tmp_path: Path, line: str):
    before = log.read_bytes()
    done = shell(f'cd "$2"; {line}', log, tmp_path)
    assert (done.returncode, log.read_bytes()) == (2, before)
    assert "cannot write" in done.stderr
    assert not (tmp_path / "same.out").exists()


@pytest.mark.slow
def test_pipes_and_links_are_written_through(log: Path, tmp_path: Path):
    done = shell('mkfifo "$2"; cat "$2" & nn stats "$1" --json "$2" >/dev/null; wait', log, tmp_path / "pipe")
    assert json.loads(done.stdout)["table1"]["before"]["sessions"] == 9
    assert (tmp_path / "pipe").is_fifo()
    (tmp_path / "link.json").symlink_to(tmp_path / "target.json")
    assert shell('nn stats "$1" --json "$2"', log, tmp_path / "link.json").returncode == 0
    assert (tmp_path / "link.json").is_symlink()
    assert "table1" in json.loads((tmp_path / "target.json").read_text("utf-8"))


def test_help_shows_whole_names_of_options_in_a_narrow_terminal():
    words = [sys.executable, "-m", "nearnext", "serve", "--help"]
    shown = subprocess.run(words, env={**os.environ, "COLUMNS": "60"}, capture_output=True, text=True, check=True)
    assert all(name in shown.stdout for name in ("--shutdown-timeout", "--request-timeout", "--session-clicks"))
    assert max(map(len, shown.stdout.splitlines())) <= 60


def test_ids_and_paths_that_look_like_markup_or_emojis_are_printed_as_they_are(
    nearnext: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(tmp_path)
    log = "session_id,item_id,timestamp\n" + "".join(f"s{n},{item},{n}\n" for n in range(4) for item in ODD)
    Path("[log].csv").write_text(log, "utf-8")
    Path("items.csv").write_text("item_id,title\n" + "".join(f"{item},title {item}\n" for item in ODD), "utf-8")
    said = nearnext("fit", "[log].csv", "--method", "sknn", "--out", "[model]", "--items", "items.csv").out
    assert "[log].csv" in said
    assert ": [model]" in said
    for line in (
        ("recommend", "--session", ",".join(ODD)),
        ("similar", *ODD),
        ("explain", "--session", ODD[0], "--item", ODD[1]),
    ):
        done = nearnext(line[0], "[model]", *line[1:], *(("--exclude", "[/none]") if line[0] == "recommend" else ()))
        assert done.code == 0, done.err
        assert all(f"title {item}" in done.out for item in ODD[:2]), done.out
    assert (
        "to exclude or allow: [/none]" in nearnext("recommend", "[model]", "--session", "x", "--exclude", "[/none]").out
    )
    assert "never saw them: [/x]" in nearnext("recommend", "[model]", "--session", "[/x]").out
    assert ": [synth].csv" in nearnext("synth", "[synth].csv", "--sessions", 20, "--items", 100).out
