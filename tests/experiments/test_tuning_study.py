"""Studies: they go on as if never stopped, and refuse what they are not of."""

import fcntl
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from executor_support import SideBySide
from nearnext.data.filters import Filter
from nearnext.data.sessions import Sessions
from nearnext.errors import ArtifactError, ConfigError
from nearnext.experiments.tuning.budget import Tuning
from nearnext.experiments.tuning.study import Bench
from nearnext.experiments.tuning.tune import tune

pytestmark = pytest.mark.slow

LOG = Sessions.of([[f"i{(s * 3 + j * j) % 17}" for j in range(2 + s % 4)] for s in range(150)])


def tuning(path: Path | None, trials: int = 12, **options: Any) -> Tuning:
    return replace(Tuning(trials=trials, metric="MRR@5", study=path), **options)


def outcome(result: dict[str, Any]) -> list[tuple[Any, ...]]:
    return [(trial["options"], trial["figure"], trial["figures"], trial["state"]) for trial in result["trials"]]


def test_a_search_goes_on_exactly_as_if_it_had_not_stopped(tmp_path: Path):
    whole = tune(LOG, "vsknn", tuning(None))
    file = tmp_path / "study.json"
    for trials in (1, 5, 12):
        parts = tune(LOG, "vsknn", tuning(file, trials))
    assert outcome(parts) == outcome(whole)
    assert (parts["used"]["earlier_trials"], parts["best_trial"]) == (5, whole["best_trial"])


def test_trials_side_by_side_know_those_that_had_ended_and_go_on_in_the_same_way(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    known = list[int]()

    def trial(self: Bench, space: Any, proposal: Any) -> Any:
        known.append(len(proposal.known))
        return made(self, space, proposal)

    made = Bench.trial
    monkeypatch.setattr(Bench, "trial", trial)
    whole = tune(LOG, "vsknn", tuning(None, 9), executor=SideBySide(3))
    assert known == [0, 0, 0, 1, 2, 3, 4, 5, 6]
    assert len({str(trial["options"]) for trial in whole["trials"]}) == 9
    for trials in (1, 5, 9):
        parts = tune(LOG, "vsknn", tuning(tmp_path / "study.json", trials), executor=SideBySide(3))
    assert outcome(parts) == outcome(whole)
    assert whole["protocol"]["workers"] == 3


def test_the_same_seed_gives_the_same_trials_and_another_one_others():
    first, again, other = (tune(LOG, "vsknn", tuning(None, 4, seed=seed)) for seed in (7, 7, 8))
    assert outcome(first) == outcome(again)
    assert outcome(first)[0] == outcome(other)[0]
    assert outcome(first)[1:] != outcome(other)[1:]


def test_a_finished_study_answers_without_a_trial(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    done = tune(LOG, "sr", tuning(tmp_path, 3))
    monkeypatch.setattr("nearnext.experiments.tuning.study.evaluate", None)
    again = tune(LOG, "sr", tuning(tmp_path, 3))
    assert outcome(again) == outcome(done)
    assert again["used"]["earlier_trials"] == 3


def test_a_smaller_budget_uses_the_first_trials_of_a_study(tmp_path: Path):
    long = tune(LOG, "sr", tuning(tmp_path, 6))
    short = tune(LOG, "sr", tuning(tmp_path, 2))
    assert outcome(short) == outcome(long)[:2]
    assert outcome(tune(LOG, "sr", tuning(tmp_path, 6))) == outcome(long)


def test_a_folder_keeps_each_study_in_a_file_of_its_own(tmp_path: Path):
    for method in ("sr", "vsknn"):
        tune(LOG, method, tuning(tmp_path / "studies", 1))
    tune(LOG.select(LOG.lengths > 2), "sr", tuning(tmp_path / "studies", 1))
    names = sorted(path.name.split("-")[0] for path in (tmp_path / "studies").glob("*.json"))
    assert names == ["sr", "sr", "vsknn"]


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"log": LOG.select(LOG.lengths > 2)}, "a study of another log, split or filter"),
        ({"method": "markov-1"}, "a study of another method"),
        ({"options": {"steps": 2}}, "a study of other options to begin with"),
        ({"held": ["steps"], "options": {"steps": 4}}, "a study of another search space"),
        ({"chosen": Filter(max_length=3)}, "a study of another log, split or filter"),
        ({"tuning": {"metric": "HitRate@5"}}, "a study of another metric"),
        ({"tuning": {"seed": 8}}, "a study of another seed"),
        ({"tuning": {"fraction": 0.2}}, "a study of another log, split or filter"),
    ],
)
def test_a_file_is_refused_for_anything_else_than_what_it_is_of(tmp_path: Path, change: dict[str, Any], reason: str):
    file = tmp_path / "study.json"
    tune(LOG, "sr", tuning(file, 2))
    kept = file.read_bytes()
    changed: dict[str, Any] = {"log": LOG, "method": "sr", **change}
    settled = tuning(file, 2, **changed.pop("tuning", {}))
    with pytest.raises(ConfigError, match=reason):
        tune(changed.pop("log"), changed.pop("method"), settled, **changed)
    assert file.read_bytes() == kept


@pytest.mark.parametrize("damage", ["truncated", "altered", "no study", "no JSON", "empty", "list", "other schema"])
def test_damaged_studies_are_refused(tmp_path: Path, damage: str):
    file = tmp_path / "study.json"
    tune(LOG, "sr", tuning(file, 2))
    text = file.read_text("utf-8")
    figure = json.loads(text)["trials"][0]["figure"]
    damaged = {
        "truncated": text[: len(text) // 2],
        "altered": text.replace(f'"figure": {figure}', '"figure": 0.99'),
        "no study": '{"k": 5}',
        "no JSON": "[vsknn]\nk = 5\n",
        "empty": "",
        "list": "[1, 2]",
        "other schema": text.replace('"nearnext_study": 1', '"nearnext_study": 99'),
    }[damage]
    assert damaged != text
    file.write_text(damaged, "utf-8")
    with pytest.raises(ArtifactError, match="name another file"):
        tune(LOG, "sr", tuning(file, 2))
    assert file.read_text("utf-8") == damaged


def test_a_study_in_use_is_refused(tmp_path: Path):
    with (tmp_path / ".study.json.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(ArtifactError, match="another run is using"):
            tune(LOG, "sr", tuning(tmp_path / "study.json", 1))


def test_a_study_that_cannot_be_made_is_refused(tmp_path: Path):
    (tmp_path / "file").write_text("", "utf-8")
    with pytest.raises(ArtifactError, match="choose a path to write to"):
        tune(LOG, "sr", tuning(tmp_path / "file" / "study.json", 1))
