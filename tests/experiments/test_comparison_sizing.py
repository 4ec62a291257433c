"""What a comparison will take: time and memory of each method, and of the whole."""

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from nearnext.data.sessions import Sessions
from nearnext.evaluation.audit import RANKED
from nearnext.experiments import comparison_sizing
from nearnext.experiments.compare import compare
from nearnext.experiments.comparison import Comparison
from nearnext.experiments.comparison_sizing import size_comparison
from nearnext.experiments.plan import SplitPlan
from nearnext.experiments.sizing import Estimate
from nearnext.experiments.store import RunStore
from nearnext.experiments.tuning.budget import Tuning
from nearnext.recommenders.popularity import Pop

pytestmark = pytest.mark.slow

LOG = Sessions.of([[f"i{(s * 3 + j * j) % 29}" for j in range(2 + s % 4)] for s in range(200)])
METHODS = ("pop", "markov-1")


@pytest.fixture
def parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every fit takes 2 s and 70 bytes, 20 of which the model keeps; a case takes 0.5 s and resampling nothing."""
    memory = {"this process and the log": 1000, "what is learned": 20, "rest": 50}
    sized = Estimate(0, memory, 0, 2.0, "fits", {}, 10**12, use_seconds=0.5)

    def estimate(*_: object) -> Estimate:
        return sized

    def bootstrap(*_: object, **__: object) -> None:
        pass

    monkeypatch.setattr(comparison_sizing, "estimate", estimate)
    monkeypatch.setattr(comparison_sizing, "bootstrap", bootstrap)


@pytest.mark.usefixtures("parts")
def test_time_is_the_sum_of_fits_cases_and_the_audit():
    sized = size_comparison(LOG, None, Comparison(methods=METHODS, ks=(5,)))
    cases, audit = sized["cases"], 2 * 2.0 + RANKED * 0.5
    assert cases == sized["data"]["test"]["events"] - sized["data"]["test"]["sessions"]
    for method in sized["methods"]:
        assert (method["fits"], method["fit_seconds"]) == (1, 2.0)
        assert (method["ranking_seconds"], method["audit_seconds"]) == (0.5 * cases, audit)
        assert method["seconds"] == 2.0 + 0.5 * cases + audit
    of_methods = sum(method["seconds"] for method in sized["methods"])
    assert sized["seconds"] == pytest.approx(of_methods + sized["splitting_seconds"] + sized["bootstrap_seconds"])


@pytest.mark.usefixtures("parts")
def test_every_window_and_seed_is_a_fit_and_one_is_audited():
    plan = SplitPlan.parse("windows:2")
    sized = size_comparison(LOG, None, Comparison(methods=("pop", "gru4rec"), plan=plan, seeds=(1, 2)))
    assert [method["fits"] for method in sized["methods"]] == [2, 4]
    assert all(method["audit_seconds"] == 2 * 2.0 + RANKED * 0.5 for method in sized["methods"])


@pytest.mark.usefixtures("parts")
def test_workers_share_the_time_and_add_their_memory(monkeypatch: pytest.MonkeyPatch):
    chosen = Comparison(methods=METHODS)
    monkeypatch.setattr(comparison_sizing, "used_bytes", lambda: 10**15)  # so that splitting takes no memory of its own
    monkeypatch.setattr(comparison_sizing, "measured", _Nothing)
    one, two = (size_comparison(LOG, None, chosen, workers=workers) for workers in (1, 2))
    of_methods = [sized["seconds"] - sized["bootstrap_seconds"] for sized in (one, two)]
    assert of_methods[1] == pytest.approx(of_methods[0] / 2)
    sums = one["peak_bytes"] - max(method["peak_bytes"] for method in one["methods"])
    assert two["peak_bytes"] == 1000 + sum(method["peak_bytes"] for method in two["methods"]) + sums


class _Nothing:
    """A measured step that takes nothing."""

    seconds = peak_own_mb = 0.0

    def __enter__(self) -> "_Nothing":
        return self

    def __exit__(self, *_: object) -> None:
        pass


@pytest.mark.usefixtures("parts")
def test_a_search_takes_its_trials_or_its_budget():
    for trials, minutes, of_each in ((4, 1e6, 4), (4, 1 / 60, 1)):
        tuning = Tuning(trials=trials, minutes=minutes, fraction=0.5)
        sized = size_comparison(LOG, None, Comparison(methods=("pop", "vsknn"), tuning=tuning))
        pop, vsknn = (method["tuning_seconds"] for method in sized["methods"])  # pop has nothing to tune
        assert vsknn == pytest.approx(of_each * pop)


@pytest.mark.usefixtures("parts")
def test_runs_that_a_store_has_take_no_time(tmp_path: Path):
    store = RunStore(tmp_path)
    compare(LOG, comparison=Comparison(methods=("pop",)), store=store)
    sized = size_comparison(LOG, None, Comparison(methods=METHODS), store=store)
    assert [(method["kept"], method["seconds"] > 0) for method in sized["methods"]] == [(1, False), (0, True)]


def test_a_mapped_log_is_a_copy_in_each_worker(tmp_path: Path):
    (tmp_path / "array").write_bytes(bytes(80))
    mapped = np.asarray(np.memmap(tmp_path / "array", np.int64, mode="r"))
    is_mapped = comparison_sizing._mapped  # pyright: ignore[reportPrivateUsage]
    assert is_mapped(mapped[2:])
    assert not is_mapped(np.zeros(9)[2:])


def test_a_dry_run_of_a_comparison_tells_and_writes_nothing(
    nearnext: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    rows = [f"s{s},i{(s * 3 + j) % 11},{1_600_000_000 + s * 600 + j}" for s in range(60) for j in range(2 + s % 3)]
    log = tmp_path / "log.csv"
    log.write_text("session_id,item_id,timestamp\n" + "\n".join([*rows, ",i1,1"]) + "\n", "utf-8")
    monkeypatch.chdir(tmp_path)
    command = ("compare", log, "--methods", "pop,vsknn", "--dry-run", "--tuned", "--trials", "2", "--metrics", "NDCG")
    done = nearnext(*command, "--rejects", "aside.csv", "--work", "work", "--study", "study")
    assert done.code == 0, done.err
    for what in ("pop", "vsknn", "tuning", "cases/s", "peak MB", "whole comparison", "nothing was written"):
        assert what in done.out
    assert [path.name for path in tmp_path.iterdir()] == ["log.csv"]
    done = nearnext(*command, "--json", "sized.json")
    assert done.code == 0, done.err
    sized = json.loads((tmp_path / "sized.json").read_text("utf-8"))
    assert [method["method"] for method in sized["methods"]] == ["pop", "vsknn"]
    assert all(method["ranking_seconds"] > 0 for method in sized["methods"])
    assert sized["peak_bytes"] >= max(method["peak_bytes"] for method in sized["methods"])


def test_a_dry_run_on_items_without_clicks_is_refused(nearnext: Any, tmp_path: Path):
    done = nearnext("compare", tmp_path / "log.csv", "--cold-items", "0.1", "--dry-run")
    assert (done.code, done.err.count("\n")) == (2, 1)
    assert "--dry-run has no meaning with --cold-items" in done.err


def test_a_case_takes_time_where_the_first_run_was_slower_than_the_longer_one(monkeypatch: pytest.MonkeyPatch):
    ticks = iter((0.0, 5.0, 5.0, 6.0))  # something else kept the processor busy in the first run
    monkeypatch.setattr(comparison_sizing, "time", SimpleNamespace(perf_counter=lambda: next(ticks)))
    case_seconds = comparison_sizing._case_seconds  # pyright: ignore[reportPrivateUsage]
    seconds = case_seconds(Pop().fit(LOG), LOG, Comparison(methods=("pop",)))
    assert 0 < seconds <= 1
