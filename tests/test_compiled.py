"""Compiled code: kept where something can be written, never out of date, and used from nowhere else."""

import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from numba.core.caching import IndexDataCacheFile

from nearnext import compiled as module
from nearnext.atomic import exclusive_folder
from nearnext.progress import show_progress

SOURCE = Path(module.__file__).parent


def double(number: int) -> int:
    return 2 * number


def test_without_a_folder_to_keep_it_code_runs_and_one_line_says_so(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.setattr(module._Impl, "_locator_classes", [])  # pyright: ignore[reportPrivateUsage]
    monkeypatch.setattr(module, "_said", set())
    show_progress()
    try:
        functions = [module.compiled()(double) for _ in range(2)]
    finally:
        show_progress(False)
    assert [function(4) for function in functions] == [8, 8]
    assert capsys.readouterr().err == (
        "compiled code cannot be kept, and is compiled in each run: set NUMBA_CACHE_DIR to a folder\n"
    )


def test_the_last_choice_is_a_folder_of_this_user_alone(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.setattr(module._Impl, "_locator_classes", [module._Temporary])  # pyright: ignore[reportPrivateUsage]
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    assert module.compiled()(double)(4) == 8
    (folder,) = tmp_path.iterdir()
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert list(folder.rglob("*.nbc"))


@pytest.mark.parametrize("kind", ["open to all", "a link"])
def test_a_folder_that_another_user_could_have_made_is_not_read(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, kind: str
):
    monkeypatch.setattr(module._Impl, "_locator_classes", [module._Temporary])  # pyright: ignore[reportPrivateUsage]
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    folder = module._temporary_folder()  # pyright: ignore[reportPrivateUsage]
    if kind == "a link":
        (tmp_path / "other").mkdir()
        folder.symlink_to(tmp_path / "other")
    else:
        folder.mkdir()
        folder.chmod(0o777)
    assert module.compiled()(double)(4) == 8
    assert not list(tmp_path.rglob("*.nb?"))


def test_one_process_at_a_time_adds_to_the_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.setattr(module._Impl, "_locator_classes", [module._Temporary])  # pyright: ignore[reportPrivateUsage]
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    refused = list[str]()

    def save(self: Any, name: str, _: object) -> None:
        try:
            with exclusive_folder(Path(self._cache_path), wait=False):
                pass
        except BlockingIOError:
            refused.append(name)

    monkeypatch.setattr(IndexDataCacheFile, "_save_data", save)
    assert module.compiled()(double)(4) == 8
    assert len(refused) == 1


CALLED = "from nearnext.compiled import compiled\nFACTOR = {factor}\n@compiled()\ndef scale(x):\n    return x * {by}\n"
CALLER = (
    "import called\nfrom called import scale, FACTOR\nfrom nearnext.compiled import compiled\n"
    "@compiled()\ndef both(x):\n    return scale(x) + FACTOR\n"
)


@pytest.mark.slow
def test_code_that_a_full_disk_cannot_keep_runs_and_one_line_says_so(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
):
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(module._Impl, "_locator_classes", [module._Temporary])  # pyright: ignore[reportPrivateUsage]
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.setattr(IndexDataCacheFile, "_save_data", full)
    monkeypatch.setattr(module, "_said", set())
    show_progress()
    try:
        assert module.compiled()(double)(4) == 8
    finally:
        show_progress(False)
    assert capsys.readouterr().err == (
        "compiled code cannot be kept: No space left on device; free some space, or set NUMBA_CACHE_DIR to a folder\n"
    )


def test_code_is_compiled_again_when_what_it_uses_has_changed(tmp_path: Path):
    (tmp_path / "caller.py").write_text(CALLER, "utf-8")
    program = [
        sys.executable,
        "-B",
        "-c",
        "from caller import both; print(both(2), sum(both.stats.cache_hits.values()))",
    ]
    found: list[list[str]] = []
    for factor, by in ((100, 3), (100, 3), (100, 30), (200, 30)):
        (tmp_path / "called.py").write_text(CALLED.format(factor=factor, by=by), "utf-8")
        done = subprocess.run(program, cwd=tmp_path, capture_output=True, text=True, check=True)
        found.append(done.stdout.split())
    assert found == [["106", "0"], ["106", "1"], ["160", "0"], ["260", "0"]]


def test_all_kernels_are_compiled_by_one_decorator():
    users = [path.name for path in SOURCE.rglob("*.py") if "from numba import" in path.read_text("utf-8")]
    assert users == ["compiled.py"]


def test_a_called_function_is_compiled_for_types_not_for_each_constant():
    inner: Any = module.compiled()(double)

    @module.compiled()
    def outer(number: int) -> int:
        total = 0
        for _ in range(number):
            total = inner(total) + inner(3)
        return total

    assert outer(2) == 18
    assert [[str(one) for one in types] for types in inner.overloads] == [["int64"]]
