"""An error that an own part raises: one line at the command line, which says where in the user's file."""

import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from nearnext import Sessions, make_recommender, own_parts
from nearnext.processes import Processes
from nearnext.registry import RECOMMENDERS

Command = Callable[..., Any]

OWN_FAULTS = """
import numpy as np
from dataclasses import dataclass
import nearnext

@nearnext.register("faulty")
@dataclass(eq=False)
class Faulty(nearnext.ScoredRecommender):
    fault: str = "learn"

    def learn(self, sessions):
        self.width = sessions.n_items + 1
        if self.fault == "learn":
            {}["absent"]

    def score(self, prefixes):
        if self.fault == "score" and len(prefixes) > 40:
            raise IndexError("one too many")
        return np.tile(np.arange(self.width) % (7 if self.fault == "law" else self.width), (len(prefixes), 1)) / (
            "text" if self.fault == "law" else 1
        )
"""


@pytest.fixture
def faulty(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.setattr(own_parts, "_imported", dict[str, Any]())
    monkeypatch.setenv(own_parts.VARIABLE, "")
    (tmp_path / "faulty.py").write_text(OWN_FAULTS)
    yield tmp_path / "faulty.py"
    monkeypatch.setenv(own_parts.VARIABLE, "")
    RECOMMENDERS.remove("faulty")
    del sys.modules["faulty"]
    sys.path.remove(str(tmp_path))


@pytest.fixture
def log(tmp_path: Path) -> Path:
    rows = [f"s{s},i{(s + click) % 9},{1_700_000_000 + 900 * s + click}" for s in range(90) for click in range(4)]
    (tmp_path / "log.csv").write_text("\n".join(["session_id,item_id,timestamp", *rows]) + "\n", "utf-8")
    return tmp_path / "log.csv"


@pytest.mark.parametrize(
    ("command", "fault", "message"),
    [
        (
            ["fit", "--method", "faulty", "--out", "m"],
            "learn",
            r"KeyError: 'absent' \(faulty.py, line 14, in .*learn\)",
        ),
        (
            ["compare", "--methods", "faulty,pop"],
            "score",
            r"IndexError: one too many \(faulty.py, line 18, in .*score\)",
        ),
        (["fit", "--method", "faulty", "--out", "m"], "law", r"breaks a law.*TypeError.*\(faulty.py, line 19, in .*\)"),
    ],
)
def test_an_error_within_an_own_part_is_one_line_that_says_where(
    nearnext: Command,
    log: Path,
    faulty: Path,
    monkeypatch: pytest.MonkeyPatch,
    command: list[str],
    fault: str,
    message: str,
):
    monkeypatch.chdir(faulty.parent)
    words = [command[0], log, "--import", "faulty.py", *command[1:], "--set", f"faulty.fault={fault}"]
    done = nearnext("-q", *words)
    line = done.err.splitlines()[-1]
    assert done.code == 2
    assert "Traceback" not in done.err
    assert re.search(message, line), line
    monkeypatch.setenv("NEARNEXT_TRACEBACK", "1")
    assert "Traceback" in nearnext("-q", *words).err


def test_an_error_within_an_own_part_in_a_worker_says_where(faulty: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv(own_parts.VARIABLE, str(faulty))
    own_parts.find_own_parts()
    model = make_recommender("faulty")
    log = Sessions.of([["a", "b"], ["b", "c"]] * 9)
    with pytest.raises(KeyError) as caught:
        list(Processes(2).map(model.fit, [log, log]))
    assert own_parts.raised_in_own_part(caught.value) == "faulty.py, line 14, in Faulty.learn"
