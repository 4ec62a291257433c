"""The catalogue's file: shared by processes, killed ones too, on full disks, and read without permission to write."""

import os
import resource
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from nearnext.errors import DataError
from nearnext.serving.catalogue import Catalogue, Change

pytestmark = pytest.mark.slow


def test_two_processes_lose_no_change(tmp_path: Path):
    path = tmp_path / "changes"
    program = (
        "import sys; from pathlib import Path\n"
        "from nearnext.serving.catalogue import Catalogue, Change\n"
        "one = Catalogue(Path(sys.argv[1]))\n"
        "for number in range(200):\n"
        "    one.write(Change('put', 'same', bool(number % 2)), durable=False)\n"
        "    one.write(Change('delete', f'{sys.argv[2]}-{number}'), durable=False)\n"
    )
    writers = [subprocess.Popen([sys.executable, "-c", program, str(path), name]) for name in ("x", "y")]
    assert [writer.wait() for writer in writers] == [0, 0]
    assert set(Catalogue(path).entries) == {"same", *(f"{name}-{number}" for name in "xy" for number in range(200))}


def test_a_process_that_ends_takes_nothing_from_another(tmp_path: Path):
    path = tmp_path / "changes"
    one = Catalogue(path)
    program = (
        "import sys; from pathlib import Path\n"
        "from nearnext.serving.catalogue import Catalogue, Change\n"
        "Catalogue(Path(sys.argv[1])).write(Change('delete', sys.argv[2]), durable=False)\n"
    )
    for number in range(3):
        one.write(Change("delete", f"here-{number}"), durable=False)
        subprocess.run([sys.executable, "-c", program, str(path), f"there-{number}"], check=True)
    one.write(Change("delete", "last"), durable=False)
    assert set(Catalogue(path).entries) == {"last", *(f"{where}-{n}" for where in ("here", "there") for n in range(3))}


def test_a_process_that_was_killed_leaves_what_was_confirmed(tmp_path: Path):
    path = tmp_path / "changes"
    program = (
        "import os, sys; from pathlib import Path\n"
        "from nearnext.serving.catalogue import Catalogue, Change\n"
        "one = Catalogue(Path(sys.argv[1]))\n"
        "for item in 'abc': one.write(Change('delete', item))\n"
        "with one._transaction(durable=True) as writer:\n"
        "    writer.database.execute('DELETE FROM item'); os.kill(os.getpid(), 9)\n"
    )
    done = subprocess.run([sys.executable, "-c", program, str(path)], check=False)
    assert done.returncode == -signal.SIGKILL
    assert list(Catalogue(path).entries) == ["a", "b", "c"]


def without_room(n_bytes: int, work: Callable[[], None]) -> None:
    """Work while no file of the process may become longer than so many bytes."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (n_bytes, limits[1]))
        work()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, before)


def test_a_full_disk_is_an_error_and_leaves_the_file_usable(tmp_path: Path):
    path = tmp_path / "changes"
    one = Catalogue(path)
    one.write(Change("delete", "a"))

    def refused() -> None:
        for item in ("b", "c"):
            with pytest.raises(DataError, match="free some space"):
                one.write(Change("delete", item))

    without_room(1000, refused)
    assert one.refresh() in (["a"], [])
    one.write(Change("delete", "d"))
    one.refresh()
    assert sorted(map(str, one.entries)) == sorted(map(str, Catalogue(path).entries)) == ["a", "d"]


def test_a_file_that_cannot_be_made_is_a_warning_until_it_can(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    made: list[Catalogue] = []
    without_room(100, lambda: made.append(Catalogue(tmp_path / "changes")))
    assert "cannot be written" in caplog.text
    assert made[0].refresh() == []
    made[0].write(Change("delete", "a"))
    assert made[0].refresh() == ["a"]


@pytest.mark.skipif(os.getuid() != 0, reason="gives up root's rights")
def test_a_file_that_cannot_be_written_is_read_all_the_same(tmp_path: Path):
    path = tmp_path / "public" / "changes"
    path.parent.mkdir()
    one = Catalogue(path)
    one.write(Change("delete", "a"))
    one.close()
    path.chmod(0o644)
    for folder in (path.parent, *path.parents):
        if folder.owner() == "root" and folder != Path("/tmp"):
            folder.chmod(folder.stat().st_mode | 0o055)
    program = (
        "import os, sys; from pathlib import Path\n"
        "from nearnext.serving.catalogue import Catalogue, Change\n"
        "os.setuid(65534); one = Catalogue(Path(sys.argv[1])); print(list(one.entries))\n"
        "try: one.write(Change('delete', 'b'))\n"
        "except Exception as error: print(error)\n"
    )
    done = subprocess.run([sys.executable, "-c", program, str(path)], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[0] == "['a']"
    assert "choose another with --catalogue" in done.stdout
