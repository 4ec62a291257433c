"""Hyper-parameters of a recommender by name, with scikit-learn's interface."""

from dataclasses import fields, replace
from typing import Any, Self

import polars as pl

from nearnext.options import require_option
from nearnext.shown import card


class Parameters:
    """A dataclass whose fields are hyper-parameters: get, set, and clone without the fitted state."""

    def params(self) -> dict[str, Any]:
        """Hyper-parameters by name."""
        return self.get_params()

    def get_params(self, deep: bool = True) -> dict[str, Any]:  # noqa: ARG002 - scikit-learn gives it
        """The arguments of the class by name, as scikit-learn's ``get_params``."""
        arguments: Any = fields(self)  # pyright: ignore[reportArgumentType] - every subclass is a dataclass
        return {entry.name: getattr(self, entry.name) for entry in arguments if entry.init}

    def set_params(self, **params: Any) -> Self:
        """Set hyper-parameters, as scikit-learn's ``set_params``; they take effect at the next fit.

        Raises:
            ConfigError: an unknown name or an invalid value; nothing is set.
        """
        known = self.get_params()
        for name in params:
            require_option(str(getattr(self, "name", type(self).__name__)), name, known)
        checked = self.unfitted(**params)
        for name in params:
            setattr(self, name, getattr(checked, name))
        return self

    def unfitted(self, **params: Any) -> Self:
        """A new, unfitted recommender with the same hyper-parameters, except those given."""
        return replace(self, **params)  # pyright: ignore[reportArgumentType, reportUnknownVariableType, reportReturnType]

    def _repr_html_(self) -> str:
        state = "fitted" if getattr(self, "fitted", False) else "not fitted"
        rows = {name: str(value) for name, value in self.params().items()}
        frame = pl.DataFrame({"option": list(rows), "value": list(rows.values())})
        return card(f"{getattr(self, 'name', type(self).__name__)}, {state}", frame)

    def __sklearn_clone__(self) -> Self:
        return self.unfitted()
