"""What every session store does."""

from collections.abc import Sequence
from typing import Literal, Protocol

from nearnext.types import RawId

SESSION_BYTES = 64 << 10
"""Bytes of the ids that a session keeps at most, the last ones: a longer one would delay the requests of all others."""


class StoreDown(Exception):  # noqa: N818 - a state of the store, which callers live with
    """The store cannot be reached, or will not take what it is given, for now; the text says which."""

    def __init__(self, reason: str = "the session store does not answer") -> None:
        super().__init__(reason)


class SessionStore(Protocol):
    """The clicks of running sessions; each session is forgotten some time after its last click."""

    @property
    def state(self) -> Literal["memory", "up", "down"]:
        """Whether it can be used now."""
        ...

    async def append(self, session: str, items: Sequence[RawId]) -> list[RawId]:
        """Append clicks in one indivisible step; gives all clicks that are kept then, oldest first."""
        ...

    async def clicks(self, session: str) -> list[RawId]:
        """The clicks of a session, oldest first, none of an unknown one."""
        ...

    async def forget(self, session: str) -> None:
        """Forget a session."""
        ...

    async def check(self) -> None:
        """Find out whether it can be used now; ``state`` says it then."""
        ...

    async def close(self) -> None:
        """Let go of what the store holds open."""
        ...
