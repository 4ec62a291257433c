"""ranx, an independent library of metrics, in a process of its own that does not compile its code for minutes."""

import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from nearnext.types import FloatArray

PROGRAM = """
import json, sys
from ranx import Qrels, Run, evaluate

def read(kind, what):
    return kind.from_file(what, kind="trec") if isinstance(what, str) else kind(what)

found = []
for wanted, listed, metrics in json.load(sys.stdin):
    run = read(Run, listed)
    values = [evaluate(read(Qrels, wanted), run, one, return_mean=False, make_comparable=True) for one in metrics]
    found.append({one: list(map(float, each)) for one, each in zip(metrics, values)})
json.dump(found, sys.stdout)
"""

Judged = Mapping[str, Mapping[str, float]] | Path
"""Values of documents by query and document, or a TREC file of them."""


def by_ranx(asked: Sequence[tuple[Judged, Judged, Sequence[str]]]) -> list[dict[str, FloatArray]]:
    """Of each judgements, lists and metrics, the value of each metric for each query: [C]."""
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", PROGRAM],
        input=json.dumps(asked, default=str),
        env={**os.environ, "NUMBA_DISABLE_JIT": "1"},
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    return [{metric: np.array(values) for metric, values in one.items()} for one in json.loads(done.stdout)]
