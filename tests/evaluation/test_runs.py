"""Run files: what ranx, an independent reader, finds in them is what was measured."""

from pathlib import Path

import numpy as np
import pytest

from nearnext.data.sessions import Sessions
from nearnext.errors import ConfigError
from nearnext.evaluation.protocol import evaluate
from nearnext.evaluation.runs import UNKNOWN, RunFolder, write_judgements
from nearnext.experiments.compare import Comparison, compare
from nearnext.experiments.store import RunStore
from nearnext.recommenders.rules import Markov
from ranx_support import by_ranx

pytestmark = pytest.mark.slow

LOG = Sessions.of([[f"i{(s * 3 + j * j) % 17}" for j in range(2 + s % 4)] for s in range(150)])


def test_ranx_reads_the_files_and_finds_the_same_figures(tmp_path: Path):
    result = compare(LOG, comparison=Comparison(["pop", "markov-1", "vsknn"], ks=(5,)), lists=tmp_path)
    metrics = {"hit_rate@5": "HitRate@5", "mrr@5": "MRR@5"}
    runs = [tmp_path / f"{method['name']}.run" for method in result["methods"]]
    found = by_ranx([(tmp_path / "qrels.txt", run, list(metrics)) for run in runs])
    for method, values in zip(result["methods"], found, strict=True):
        for theirs, ours in metrics.items():
            assert values[theirs].mean() == pytest.approx(method["metrics"][ours]["value"])


def test_lines_have_six_fields_whatever_the_ids(tmp_path: Path):
    train = Sessions.of([["a b", "100%"], ["a b", "c\td"], ["100%", "a b"]])
    test = Sessions.of([["a b", "new one", "100%"]], starts=[1e9]).with_vocabulary(train.vocabulary)
    markov = Markov().fit(train)
    folder = RunFolder(tmp_path / "runs")
    with folder.lists("mark ov", test, markov.vocabulary) as lists:
        evaluate(markov, test, 3, record=lists.add)
    write_judgements(folder.path("qrels.txt"), test)
    lines = [line.split(" ") for line in (tmp_path / "runs" / "mark-ov.run").read_text("utf-8").splitlines()]
    assert [len(line) for line in lines] == [6] * 6
    assert [line[0] for line in lines] == ["0:1"] * 3 + ["0:2"] * 3
    assert {line[2] for line in lines} == {"a%20b", "100%25", "c%09d"}
    assert [int(line[3]) for line in lines] == [1, 2, 3, 1, 2, 3]
    scores = np.array([float(line[4]) for line in lines]).reshape(2, 3)
    assert np.all(np.diff(scores.astype(np.float32)) < 0)
    assert {line[5] for line in lines} == {"mark%20ov"}
    judged = (tmp_path / "runs" / "qrels.txt").read_text("utf-8").splitlines()
    assert judged == [f"0:1 0 {UNKNOWN} 1", "0:2 0 100%25 1"]


def test_a_file_is_not_there_before_all_its_lists_are(tmp_path: Path):
    def fail() -> None:
        with RunFolder(tmp_path).lists("half", LOG, LOG.vocabulary):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fail()
    assert list(tmp_path.iterdir()) == []


def test_each_seed_and_window_has_a_file_of_its_own(tmp_path: Path):
    from nearnext.experiments.plan import SplitPlan

    drawn = {"vsknn": {"sampling": "random"}}
    comparison = Comparison(["pop", "vsknn"], drawn, plan=SplitPlan.parse("windows:2"), ks=(5,), seeds=(1, 2))
    compare(LOG, comparison=comparison, lists=tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        *("pop-window1.run", "pop-window2.run", "qrels-window1.txt", "qrels-window2.txt"),
        *(f"vsknn-seed{seed}-window{window}.run" for seed in (1, 2) for window in (1, 2)),
    ]


def test_lists_of_finished_runs_are_not_kept(tmp_path: Path):
    with pytest.raises(ConfigError, match="a store does not keep lists"):
        compare(LOG, comparison=Comparison(["pop"]), store=RunStore(tmp_path / "w"), lists=tmp_path / "r")


def test_a_folder_that_cannot_be_made_is_said(tmp_path: Path):
    (tmp_path / "file").write_text("", "utf-8")
    with pytest.raises(ConfigError, match="cannot write lists"):
        RunFolder(tmp_path / "file" / "runs")
