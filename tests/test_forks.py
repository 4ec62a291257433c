"""Forked processes: every kind of model answers there as it does here, and what cannot work says so at once."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from nearnext.testing import assert_same_lists

PROGRAM = Path(__file__).parent / "fork_support.py"
NEW_LIBRARY_USE = """
import os, sys
import nearnext
child = os.fork()
if child == 0:
    model = nearnext.load_artifact(sys.argv[1]).recommender
    os._exit(0 if model.recommend([["i1"]], k=2)[0].items else 1)
sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""

pytestmark = [pytest.mark.slow, pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")]


def run(folder: Path, *arguments: str) -> str:
    # Threads of the parent are what a forked process lacks.
    environment = {name: value for name, value in os.environ.items() if name != "OMP_NUM_THREADS"}
    done = subprocess.run(
        [sys.executable, *arguments], cwd=folder, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def answers(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    folder = tmp_path_factory.mktemp("forks")
    found: dict[str, Any] = json.loads(run(folder, str(PROGRAM)))
    return {**found, "folder": folder}


def test_every_kind_of_model_answers_in_a_forked_process_as_it_does_in_its_parent(answers: dict[str, Any]):
    assert set(answers["there"]) >= {"vsknn", "sr", "gru4rec", "metric-fast", "sml-gru-ncas"}
    assert answers["there"].keys() == answers["here"].keys()
    for name, here in answers["here"].items():
        there = answers["there"][name]
        for way in ("recommended", "in a thread", "ranked"):
            assert_same_lists(there[way], here[way])
        assert there["evaluated"] == here["evaluated"]
        assert there["explained"] == pytest.approx(here["explained"], rel=1e-4)


def test_every_kind_of_model_can_be_fitted_in_a_forked_process(answers: dict[str, Any]):
    assert set(answers["fitted"].values()) == {3}


def test_what_needs_polars_says_at_once_what_to_do_instead(answers: dict[str, Any]):
    assert all(
        "forked process" in error and "before the fork" in error and "get_context('spawn')" in error
        for error in answers["refused"].values()
    ), answers["refused"]


def test_a_process_that_is_forked_before_any_log_was_read_can_load_a_model(answers: dict[str, Any]):
    run(answers["folder"], "-c", NEW_LIBRARY_USE, "model")
