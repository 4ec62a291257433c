"""nearnext: from a click log to a next-item recommender, measured honestly.

>>> import nearnext
>>> log = nearnext.Sessions.of([["sku-1", "sku-9"], ["sku-9", "sku-4"], ["sku-1", "sku-9", "sku-4"]] * 10)
>>> train, test = nearnext.split_last(log, fraction=0.1)
>>> recommender = nearnext.VSKNN().fit(train)
>>> recommender.recommend([["sku-1", "sku-9"]], k=1, exclude_seen=True)[0].items
['sku-4']
>>> round(nearnext.evaluate(recommender, test, k=2).values()["HitRate@2"], 2)
1.0
"""

import re
from importlib import import_module
from pkgutil import get_data
from typing import Any

from nearnext.extras import training_extra

_RENAMED = {"MetricRecommender": "SML"}
"""Names of earlier versions, and what they are called now."""

_IMPORTS = re.findall(r"(?m)^from (\S+) import (\w+) as", (get_data(__name__, "__init__.pyi") or b"").decode())
_MODULE_OF = {name: module for module, name in _IMPORTS}
"""The module of each public name; it is imported when the name is first used."""

__all__ = list(_MODULE_OF)  # pyright: ignore[reportUnsupportedDunderAll] - the stub beside this file has them


def __getattr__(name: str) -> Any:
    """A public name from its module, or the version of the installed package."""
    if name == "__version__":
        from importlib.metadata import PackageNotFoundError, version

        try:
            value = version("nearnext")
        except PackageNotFoundError:  # a copy of the source that was never installed
            value = "unknown"
    elif name in _RENAMED:
        import warnings

        warnings.warn(f"nearnext.{name} is now nearnext.{_RENAMED[name]}", FutureWarning, stacklevel=2)
        value = getattr(import_module(_MODULE_OF[_RENAMED[name]]), _RENAMED[name])
    elif name in _MODULE_OF:
        with training_extra(f"nearnext.{name}"):
            value = getattr(import_module(_MODULE_OF[name]), name)
    else:
        raise AttributeError(f"module 'nearnext' has no attribute '{name}'")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    """Public names and what every module has; not what this file imports for itself."""
    return sorted({*__all__, "__version__", *(name for name in globals() if name.startswith("__"))})
