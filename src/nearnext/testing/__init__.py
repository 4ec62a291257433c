"""Contract suites: laws of encoders, losses, samplers, recommenders and recipes, for the user's own parts too.

Each check passes in silence, or names the law that is broken with an example:

>>> from nearnext.model.encoders import GRU
>>> from nearnext.testing import check_encoder
>>> check_encoder(GRU(dim=8))
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from nearnext.extras import training_extra
from nearnext.testing.recommenders import assert_same_lists, check_recommender

if TYPE_CHECKING:
    from nearnext.model.encoders.laws import check_encoder
    from nearnext.model.losses.laws import check_loss
    from nearnext.sampling.laws import check_sampler
    from nearnext.testing.recipes import (
        assert_best_epoch_remains,
        assert_every_parameter_moves,
        assert_resumes_exactly,
        assert_same_seed_same_weights,
    )

__all__ = [
    "assert_best_epoch_remains",
    "assert_every_parameter_moves",
    "assert_resumes_exactly",
    "assert_same_lists",
    "assert_same_seed_same_weights",
    "check_encoder",
    "check_loss",
    "check_recommender",
    "check_sampler",
]

_MODULE_OF = {
    "check_encoder": "nearnext.model.encoders.laws",
    "check_loss": "nearnext.model.losses.laws",
    "check_sampler": "nearnext.sampling.laws",
}
"""Modules of the checks that need torch and are not in `recipes`; each is imported when its check is first used."""


def __getattr__(name: str) -> Any:
    """A check that needs torch, from its module."""
    if name not in __all__:
        raise AttributeError(f"module 'nearnext.testing' has no attribute '{name}'")
    with training_extra(f"nearnext.testing.{name}"):
        return getattr(import_module(_MODULE_OF.get(name, "nearnext.testing.recipes")), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
