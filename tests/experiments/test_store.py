"""Finished runs: kept whole, found again by what they depend on, refused when they are damaged."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from safetensors import SafetensorError

from nearnext.data.sessions import Sessions
from nearnext.errors import ArtifactError, ConfigError, DataError
from nearnext.experiments import running
from nearnext.experiments.compare import Comparison, compare
from nearnext.experiments.plan import SplitPlan
from nearnext.experiments.result import Result, Run
from nearnext.experiments.running import Fit
from nearnext.experiments.store import RunKey, RunStore
from nearnext.recommenders.sml.recommender import SML
from nearnext.training.run import Checkpoint, RunDirectory
from training_support import seed

pytestmark = pytest.mark.slow

LOG = Sessions.of([[f"i{(s * 3 + j * j) % 17}" for j in range(2 + s % 4)] for s in range(150)])
COMPARISON = Comparison(["markov-1", "sknn"], ks=(5,), replicates=50)

Fits = list[str]


@pytest.fixture
def fits(monkeypatch: pytest.MonkeyPatch) -> Fits:
    """Names of the methods that were fitted."""
    found: Fits = []
    run: Callable[..., Run] = running.run_fit

    def counted(fit: Fit, **others: object) -> Run:
        found.append(fit.method.name)
        return run(fit, **others)

    monkeypatch.setattr(running, "run_fit", counted)
    return found


def figures(result: Result) -> list[object]:
    return [result["audit"], result["significance"], [method["metrics"] for method in result["methods"]]]


def test_a_second_run_fits_nothing_and_gives_the_same_figures(tmp_path: Path, fits: Fits):
    store = RunStore(tmp_path)
    first = compare(LOG, comparison=COMPARISON, store=store)
    assert fits == ["markov-1", "sknn"]
    second = compare(LOG, comparison=COMPARISON, store=store)
    assert fits == ["markov-1", "sknn"]
    assert figures(first) == figures(second)
    assert [method.get("kept", False) for method in first["methods"]] == [False, False]
    assert [method["kept"] for method in second["methods"]] == [True, True]
    assert [method["fit_seconds"] for method in first["methods"]] == [
        method["fit_seconds"] for method in second["methods"]
    ]


def test_a_store_changes_no_figure(tmp_path: Path):
    assert figures(compare(LOG, comparison=COMPARISON)) == figures(
        compare(LOG, comparison=COMPARISON, store=RunStore(tmp_path))
    )


def test_an_interrupted_comparison_goes_on_where_it_stopped(
    tmp_path: Path, fits: Fits, monkeypatch: pytest.MonkeyPatch
):
    store = RunStore(tmp_path)
    counted: Callable[..., Run] = running.run_fit

    def interrupted(fit: Fit, **others: object) -> Run:
        if fit.method.name == "sknn":
            raise KeyboardInterrupt
        return counted(fit, **others)

    with monkeypatch.context() as patch:
        patch.setattr(running, "run_fit", interrupted)
        with pytest.raises(KeyboardInterrupt):
            compare(LOG, comparison=COMPARISON, store=store)
    assert fits == ["markov-1"]
    compare(LOG, comparison=COMPARISON, store=store)
    assert fits == ["markov-1", "sknn"]


@pytest.mark.parametrize(
    "changed",
    [
        replace(COMPARISON, options={"sknn": {"k": 7}}),
        replace(COMPARISON, ks=(5, 10)),
        replace(COMPARISON, seed=8),
        replace(COMPARISON, plan=SplitPlan.parse("last:0.2")),
        replace(COMPARISON, plan=SplitPlan(unknown="drop")),
    ],
)
def test_whatever_a_run_depends_on_makes_it_another_run(tmp_path: Path, fits: Fits, changed: Comparison):
    store = RunStore(tmp_path)
    compare(LOG, comparison=COMPARISON, store=store)
    compare(LOG, comparison=changed, store=store)
    assert "sknn" in fits[2:]


def test_other_data_make_it_another_run(tmp_path: Path, fits: Fits):
    store = RunStore(tmp_path)
    compare(LOG, comparison=COMPARISON, store=store)
    compare(LOG.select(np.arange(149)), comparison=COMPARISON, store=store)
    assert len(fits) == 4


def test_a_label_is_no_part_of_what_a_run_depends_on(tmp_path: Path, fits: Fits):
    store = RunStore(tmp_path)
    compare(LOG, comparison=COMPARISON, store=store)
    labelled = Comparison(["mine"], labels={"mine": "sknn"}, ks=(5,), replicates=50)
    result = compare(LOG, comparison=labelled, store=store)
    assert len(fits) == 2
    assert result["audit"]["checks"][2]["name"] == "mine: what was learned"


def test_windows_are_kept_one_by_one(tmp_path: Path, fits: Fits):
    windows = replace(COMPARISON, plan=SplitPlan.parse("windows:2"))
    first = compare(LOG, comparison=windows, store=RunStore(tmp_path))
    assert figures(first) == figures(compare(LOG, comparison=windows, store=RunStore(tmp_path)))
    assert len(fits) == 4


@pytest.mark.parametrize("damage", ["cut", "altered", "not a run"])
def test_damaged_runs_are_refused(tmp_path: Path, damage: str):
    store = RunStore(tmp_path)
    compare(LOG, comparison=COMPARISON, store=store)
    path = next(tmp_path.glob("sknn-*"))
    content = path.read_bytes()
    broken = {"cut": content[:-9], "altered": content[:-1] + bytes([content[-1] ^ 1]), "not a run": b"{}"}
    path.write_bytes(broken[damage])
    with pytest.raises(ArtifactError, match="delete it and run again"):
        compare(LOG, comparison=COMPARISON, store=store)


@pytest.mark.parametrize(
    "failure", [OSError(28, "No space left on device"), SafetensorError("No space left on device")], ids=["os", "file"]
)
def test_a_run_that_cannot_be_written_leaves_nothing_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, failure: Exception
):
    def full(*_: object) -> None:
        raise failure

    monkeypatch.setattr("nearnext.experiments.store.save_file", full)
    with pytest.raises(DataError, match="No space left on device"):
        compare(LOG, comparison=COMPARISON, store=RunStore(tmp_path / "runs"))
    assert list((tmp_path / "runs").iterdir()) == []


def test_a_folder_that_cannot_be_made_is_refused(tmp_path: Path):
    (tmp_path / "file").write_text("x")
    with pytest.raises(ConfigError, match="choose another folder"):
        RunStore(tmp_path / "file" / "runs")


def test_keys_tell_text_and_number_options_apart():
    assert RunKey("d", "sknn", {"k": 5}, (20,), 7).digest() != RunKey("d", "sknn", {"k": "5"}, (20,), 7).digest()


TRAINED = Comparison(
    ["sml-maxpool-ncas"],
    options={
        "sml-maxpool-ncas": {"dim": 4, "epochs": 4, "batch_size": 32, "extra": 8, "device": "cpu", "seed": seed()}
    },
    ks=(5,),
    replicates=50,
)


@pytest.fixture
def saved(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Numbers of the epochs after which a checkpoint was saved."""
    found: list[int] = []
    save = RunDirectory.save

    def noted(run: RunDirectory, checkpoint: Checkpoint) -> None:
        save(run, checkpoint)
        found.append(checkpoint.progress["standing"]["epoch"])
        if len(found) == 2:
            raise KeyboardInterrupt

    monkeypatch.setattr(RunDirectory, "save", noted)
    return found


def test_a_fit_that_was_interrupted_goes_on_from_its_checkpoint_to_the_same_figures(tmp_path: Path, saved: list[int]):
    store = RunStore(tmp_path)
    with pytest.raises(KeyboardInterrupt):
        compare(LOG, comparison=TRAINED, store=store)
    assert [path.suffix for path in tmp_path.iterdir()] == [".unfinished"]
    resumed = compare(LOG, comparison=TRAINED, store=store)
    assert saved == [1, 2, 3, 4]
    assert [path.suffix for path in tmp_path.iterdir()] == [".safetensors"]
    assert figures(resumed) == figures(compare(LOG, comparison=TRAINED))


def test_the_time_of_a_fit_counts_the_part_before_the_interruption(
    tmp_path: Path, saved: list[int], monkeypatch: pytest.MonkeyPatch
):
    store = RunStore(tmp_path)
    with pytest.raises(KeyboardInterrupt):
        compare(LOG, comparison=TRAINED, store=store)
    assert saved == [1, 2]
    monkeypatch.setattr(SML, "training_seconds", 1e6)
    assert compare(LOG, comparison=TRAINED, store=store)["methods"][0]["fit_seconds"] == 1e6


def test_two_processes_that_make_the_same_run_do_not_disturb_each_other(tmp_path: Path):
    store = RunStore(tmp_path)

    class Waiting(RunStore):
        """Another process, which begins while the first one trains."""

        def load(self, key: RunKey) -> Run | None:
            locked = RunDirectory(self.unfinished(key), {}).locked(resume=True)
            with locked, pytest.raises(ArtifactError, match="another run is using"):
                compare(LOG, comparison=TRAINED, store=store)
            raise InterruptedError

    with pytest.raises(InterruptedError):
        compare(LOG, comparison=TRAINED, store=Waiting(tmp_path))


def test_runs_of_other_source_files_are_not_taken(tmp_path: Path, fits: Fits, monkeypatch: pytest.MonkeyPatch):
    compare(LOG, comparison=COMPARISON, store=RunStore(tmp_path))
    monkeypatch.setattr("nearnext.experiments.store.source_fingerprint", lambda: "edited")
    compare(LOG, comparison=COMPARISON, store=RunStore(tmp_path))
    assert fits == ["markov-1", "sknn"] * 2
