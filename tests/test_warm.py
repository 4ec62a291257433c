"""`nearnext warm`: what it compiles is all that the other commands need, each kernel for one type of arguments."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = """
import gc, json, sys
from numba.core.dispatcher import Dispatcher
from pathlib import Path
import nearnext.cli.commands
from nearnext.cli.app import app

def run(*words):
    app(list(words), standalone_mode=False)

def compiled():
    found = [one for one in gc.get_objects() if isinstance(one, Dispatcher) and "nearnext" in one.py_func.__module__]
    name = lambda one: f"{one.py_func.__module__}.{one.py_func.__qualname__}"
    return {name(one): [str(types) for types in one.overloads] for one in found}

run("warm")
warmed = compiled()
run("synth", "shop.parquet", "--sessions", "600", "--items", "80")
small = ["--set", "metric-fast.epochs=1", "--set", "metric-fast.dim=8"]
run("compare", "shop.parquet", "--methods", "pop,spop,markov-1,ar,sr,sknn,vsknn,vstan,metric-fast", *small)
run("fit", "shop.parquet", "--method", "metric-fast", "--set", "epochs=1", "--set", "dim=8", "--out", "metric")
run("fit", "shop.parquet", "--method", "vsknn", "--out", "vsknn")

from nearnext.serving.catalogue import Catalogue, Change
from nearnext.serving.loading import load_model
from nearnext.serving.served import Query, ServedModel
from nearnext.serving.playground.item_map import ItemMap

for name in ("metric", "vsknn"):
    run("evaluate", name, "shop.parquet")
    catalogue = Catalogue(Path(name + ".catalogue"))
    served = ServedModel(load_model(Path(name)), catalogue)
    known = served.recommender.vocabulary.ids.head(3).to_list()
    run("recommend", name, "--session", ",".join(known), "--exclude-seen")
    run("explain", name, "--session", ",".join(known[:2]), "--item", known[2])
    catalogue.write(Change("put", "new", True, known[:1]))
    served.available.update(catalogue.refresh())
    served.answer([Query(known, k=5), Query(known[:1], k=5, exclude_seen=True)])
    served.answer([Query(["new"], k=5)])
    served.similar(known[0], 5)
    ItemMap(served.recommender).place(known)
later = compiled()
print(json.dumps({"warmed": warmed, "later": later}))
"""

OF_TWO_TYPES = {"nearnext.topk.kth_smallest"}
"""Kernels for integers and for floats."""


@pytest.mark.slow
def test_the_other_commands_compile_nothing_after_warm_and_each_kernel_has_one_type_of_arguments(tmp_path: Path):
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], cwd=tmp_path, capture_output=True, text=True, check=False, timeout=600
    )
    assert done.returncode == 0, done.stderr[-2000:]
    found = json.loads(done.stdout.splitlines()[-1])
    assert found["later"] == found["warmed"]
    assert len(found["warmed"]["nearnext.recommenders.knn_kernel.rank_by_neighbours"]) == 1
    assert {name for name, types in found["warmed"].items() if len(types) > 1} <= OF_TWO_TYPES
