"""Common parts of session stores."""

SESSION_BYTES = 64 << 10
"""Bytes of the ids that a session keeps at most, the last ones: a longer one would delay the requests of all others."""


class StoreDown(Exception):  # noqa: N818 - a state of the store, which callers live with
    """The store is unreachable or returned an error; the text says which."""

    def __init__(self, reason: str = "the session store does not answer") -> None:
        super().__init__(reason)
