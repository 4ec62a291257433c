"""What workers need, imported by the process that they are forked from."""

import gc
from contextlib import suppress
from importlib import import_module

for module in ("serving.server", "explanation", "recommenders.metric.recommender"):
    with suppress(ImportError):  # torch is an extra
        import_module(f"nearnext.{module}")

gc.collect()
gc.freeze()  # a collection would write to the pages that workers share
