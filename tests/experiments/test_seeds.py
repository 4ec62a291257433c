"""Several seeds: a row for each, their mean and deviation, deterministic methods once."""

from io import StringIO
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from nearnext.data.sessions import Sessions
from nearnext.errors import ConfigError
from nearnext.experiments.compare import Comparison, compare
from nearnext.experiments.result import Result
from nearnext.experiments.store import RunStore
from nearnext.report.tables import comparison_table, cutoffs_table

pytestmark = pytest.mark.slow

LOG = Sessions.of([[f"i{(s * 3 + j * j) % 17}" for j in range(2 + s % 4)] for s in range(150)])
DRAWN = {"sampling": "random", "sample_size": 5}
SEEDS = (7, 8, 9)


def comparison(*seeds: int) -> Comparison:
    return Comparison(("pop", "vsknn", "drawn"), {"drawn": DRAWN}, {"drawn": "vsknn"}, ks=(2, 5), seeds=seeds)


@pytest.fixture(scope="module")
def result() -> Result:
    return compare(LOG, comparison=comparison(*SEEDS))


def test_a_method_that_draws_is_the_mean_of_its_seeds(result: Result):
    drawn = result["methods"][2]
    assert [row["seed"] for row in drawn["seeds"]] == list(SEEDS)
    assert [row["params"]["seed"] for row in drawn["seeds"]] == list(SEEDS)
    for name, found in drawn["metrics"].items():
        values = [row["metrics"][name]["value"] for row in drawn["seeds"]]
        assert found["value"] == pytest.approx(np.mean(values))
        assert found["deviation"] == pytest.approx(np.std(values, ddof=1))
    assert drawn["metrics"]["HitRate@5"]["deviation"] > 0
    assert drawn["metrics"]["HitRate@5"]["low"] <= drawn["metrics"]["HitRate@5"]["value"]
    assert result["protocol"]["seeds"] == list(SEEDS)
    assert sum(row["cases"] for row in drawn["by_prefix_length"]) == result["protocol"]["cases"]


def test_a_method_that_draws_nothing_runs_once(result: Result):
    plain = compare(LOG, comparison=comparison())
    for seeded, once in zip(result["methods"][:2], plain["methods"][:2], strict=True):
        assert "seeds" not in seeded
        assert seeded["metrics"] == once["metrics"]


def test_each_seed_is_the_run_of_that_seed_alone(result: Result):
    alone = compare(LOG, comparison=Comparison(("vsknn",), {"vsknn": {**DRAWN, "seed": 8}}, ks=(2, 5)))
    assert result["methods"][2]["seeds"][1]["metrics"] == alone["methods"][0]["metrics"]


def test_finished_seeds_are_taken_from_the_store_and_audited(result: Result, tmp_path: Path):
    store = RunStore(tmp_path)
    compare(LOG, comparison=comparison(9, 8), store=store)
    again = compare(LOG, comparison=comparison(*SEEDS), store=store)
    assert [row.get("kept", False) for row in again["methods"][2]["seeds"]] == [False, True, True]
    assert again["methods"][2]["metrics"] == result["methods"][2]["metrics"]
    only = compare(LOG, comparison=comparison(8), store=store)  # its first run was audited for no seed but 9
    assert len(only["audit"]["checks"]) == len(result["audit"]["checks"])
    assert only["methods"][2]["metrics"]["HitRate@5"]["deviation"] is None


def test_the_table_shows_deviations_of_seeds_and_no_intervals(result: Result):
    console = Console(file=StringIO(), width=200)
    console.print(comparison_table(result, width=200))
    console.print(cutoffs_table(result, width=200))
    assert isinstance(console.file, StringIO)
    text = console.file.getvalue()
    drawn = next(line for line in text.splitlines() if line.strip().startswith("drawn"))
    deviation = f"{result['methods'][2]['metrics']['HitRate@5']['deviation']:.4f}".removeprefix("0")
    assert drawn.split()[2] == f"±{deviation}"
    assert "±" not in next(line for line in text.splitlines() if line.strip().startswith("vsknn"))
    assert "standard deviation over seeds 7, 8, 9" in text
    assert f"{result['methods'][0]['metrics']['HitRate@2']['value']:.4f}".removeprefix("0") in text


@pytest.mark.parametrize(
    ("seeds", "options", "reason"),
    [
        ((7, 7), {}, "different seeds"),
        ((-1,), {}, "seed"),
        ((7,), {"gru4rec": {"seed": 3}}, "seed=3, and seeds are given"),
    ],
)
def test_seeds_that_make_no_sense_are_refused(seeds: tuple[int, ...], options: dict[str, dict[str, int]], reason: str):
    with pytest.raises(ConfigError, match=reason):
        Comparison(("gru4rec",), options, seeds=seeds)
