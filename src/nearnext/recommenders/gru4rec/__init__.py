"""GRU4Rec: a recurrent network reads the session and scores every item."""

from nearnext.recommenders.gru4rec.recommender import GRU4Rec

__all__ = ["GRU4Rec"]
