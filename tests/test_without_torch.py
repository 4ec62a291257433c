"""An installation without the extra ``train``: methods that count do all they do, the others name the extra."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

PROGRAM = """
import json, sys
sys.modules.update(torch=None)  # as if they were not installed

import contextlib, io
from nearnext.cli import main

def run(*words):
    sys.argv = ["nearnext", "--quiet", *words]
    said = io.StringIO()
    with contextlib.redirect_stderr(said):
        try:
            main()
        except SystemExit as end:
            return end.code, said.getvalue()
    return 0, said.getvalue()

print(json.dumps([run(*words) for words in json.loads(sys.argv[1])]))
"""

SERVED = """
import sys
sys.modules.update(torch=None)
from pathlib import Path
import nearnext
from nearnext.serving.catalogue import Catalogue
from nearnext.serving.loading import load_model
from nearnext.serving.served import Query, ServedModel

served = ServedModel(load_model(Path(sys.argv[1])), Catalogue(Path("catalogue.sqlite")))
known = served.recommender.vocabulary.ids.head(2).to_list()
assert len(served.answer([Query(known, k=5)])[0].items) == 5
assert "Metric" in dir(nearnext)
try:
    nearnext.Metric
except nearnext.ConfigError as error:
    print(error)
"""

OWN_RECOMMENDER = """
from dataclasses import dataclass
import numpy as np
import nearnext

@nearnext.register("flat")
@dataclass(eq=False)
class Flat(nearnext.ScoredRecommender):
    def score(self, prefixes):
        return np.zeros((len(prefixes), len(self.vocabulary) + 1))
"""

CHECKED = f"""
import sys
sys.modules.update(torch=None)
{OWN_RECOMMENDER}
import nearnext.testing
from nearnext.testing import check_recommender

check_recommender(Flat())
assert "check_loss" in dir(nearnext.testing)
try:
    nearnext.testing.check_loss
except nearnext.ConfigError as error:
    print(error)
"""

EXTRA = "needs the package torch; install it with: pip install 'nearnext[train]'; methods that count, such as vstan"


def ran(program: str, argument: str, folder: Path) -> str:
    """What a program prints last."""
    words = [sys.executable, "-c", program, argument]
    done = subprocess.run(words, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout.splitlines()[-1]


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a log and a saved vstan, made without torch."""
    folder = tmp_path_factory.mktemp("shop")
    made: list[Any] = [
        ["synth", "shop.csv", "--sessions", "600", "--items", "80"],
        ["fit", "shop.csv", "--method", "vstan", "--out", "vstan"],
    ]
    assert json.loads(ran(PROGRAM, json.dumps(made), folder)) == [[0, ""], [0, ""]]
    return folder


@pytest.mark.slow
def test_every_command_works_with_methods_that_count(shop: Path):
    item = "sku-00001"
    (shop / "flat.py").write_text(OWN_RECOMMENDER)
    commands = [
        ["stats", "shop.csv"],
        ["prepare", "shop.csv", "prepared"],
        ["compare", "shop.csv", "--json", "result.json", "--report", "report.html"],
        ["compare", "shop.csv", "--methods", "pop,content-knn,category-pop,vstan"],
        ["compare", "shop.csv", "--methods", "pop,flat", "--import", "flat.py"],
        ["tune", "shop.csv", "--method", "sr", "--trials", "2"],
        *(["fit", "shop.csv", "--method", name, "--out", name] for name in ("pop", "spop", "markov-1", "ar", "sr")),
        *(["fit", "prepared", "--method", name, "--out", name] for name in ("sknn", "vsknn")),
        ["evaluate", "vstan", "shop.csv"],
        ["recommend", "vstan", "--session", item],
        ["recommend", "vstan", "--log", "shop.csv", "--out", "lists.parquet"],
        ["explain", "vstan", "--session", item, "--item", "sku-00002"],
        ["similar", "vstan", item],
        ["options", "vstan"],
        ["serve", "vstan", "--help"],
        ["paper", "table1", "shop.csv"],
        ["warm"],
    ]
    ended = json.loads(ran(PROGRAM, json.dumps(commands), shop))
    assert [(words, said) for words, (code, said) in zip(commands, ended, strict=True) if code] == []
    assert (shop / "report.html").is_file()


@pytest.mark.slow
def test_what_trains_names_the_extra_in_one_line(shop: Path):
    commands = [
        ["fit", "shop.csv", "--out", "none"],
        *(
            ["fit", "shop.csv", "--method", name, "--out", "none"]
            for name in ("metric-fast", "sml-gru-ncas", "gru4rec")
        ),
        ["compare", "shop.csv", "--methods", "pop,metric"],
        ["options", "metric"],
        ["tune", "shop.csv", "--method", "metric", "--trials", "2"],
        ["paper", "table2", "shop.csv"],
    ]
    ended = json.loads(ran(PROGRAM, json.dumps(commands), shop))
    for words, (code, said) in zip(commands, ended, strict=True):
        assert (code, said.count("\n")) == (2, 1), (words, said)
        assert EXTRA in said, (words, said)
    assert "the method metric needs" in ended[0][1]
    assert "the method gru4rec needs" in ended[3][1]
    assert not (shop / "none").exists()
    [(code, said)] = json.loads(ran(PROGRAM, json.dumps([["index", "vstan"]]), shop))
    assert code == 2
    assert said.startswith("error: vstan has no vectors; the methods metric, metric-fast and sml-ENCODER-LOSS have")


@pytest.mark.slow
def test_a_model_of_a_method_that_counts_is_served(shop: Path):
    said = ran(SERVED, "vstan", shop)
    assert said.startswith("nearnext.Metric ")
    assert EXTRA in said


@pytest.mark.slow
def test_the_laws_of_own_recommenders_are_checked(tmp_path: Path):
    said = ran(CHECKED, "", tmp_path)
    assert said.startswith("nearnext.testing.check_loss ")
    assert EXTRA in said
