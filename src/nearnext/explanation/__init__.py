"""Why an item is recommended: the clicks that pulled it, items like it, and training sessions like this one."""

from nearnext.explanation.explain import DEPTH, Explanation, Pull, explain, pulls
from nearnext.explanation.near_sessions import Evidence, NearSession, embed_memory, near_sessions
from nearnext.recommenders.space import session_index_of, similar_items

__all__ = [
    "DEPTH",
    "Evidence",
    "Explanation",
    "NearSession",
    "Pull",
    "embed_memory",
    "explain",
    "near_sessions",
    "pulls",
    "session_index_of",
    "similar_items",
]
