"""What workers need, imported by the process that they are forked from."""

import gc
from contextlib import suppress
from importlib import import_module

import numpy as np

from nearnext.stored_arrays import require_distinct

for module in ("serving.worker", "explanation", "recommenders.metric.recommender"):
    with suppress(ImportError):  # torch is an extra
        import_module(f"nearnext.{module}")

require_distinct("items", np.zeros(1, np.int64), np.zeros(0, np.int32))  # the first compiled call takes over a second

gc.collect()
gc.freeze()  # a collection would write to the pages that workers share
