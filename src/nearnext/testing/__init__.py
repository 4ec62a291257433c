"""Contract suites: laws of encoders, losses, samplers, recommenders and recipes, for the user's own parts too.

Each check passes in silence, or names the law that is broken with an example:

>>> from nearnext.model.encoders import GRU
>>> check_encoder(GRU(dim=8))
"""

from nearnext.model.encoders.laws import check_encoder
from nearnext.model.losses.laws import check_loss
from nearnext.sampling.laws import check_sampler
from nearnext.testing.recommenders import assert_same_lists, check_recommender

__all__ = ["assert_same_lists", "check_encoder", "check_loss", "check_recommender", "check_sampler"]
