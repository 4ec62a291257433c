"""This process among those that ``torchrun`` or the like started together, on one machine or several."""

import os
from typing import NamedTuple

from nearnext.errors import ConfigError

ADDRESS, PORT = "MASTER_ADDR", "MASTER_PORT"
"""Variables that say where the processes meet."""


class Launched(NamedTuple):
    """A process among those that were started together."""

    rank: int  # its number, from 0
    size: int  # how many there are, at least 2


def launched() -> Launched | None:
    """This process among those that were started with it, by its environment; None: it is alone.

    Raises:
        ConfigError: the environment says how many there are, but not which one this is, or where they meet.
    """
    found = {name: os.environ.get(name, "") for name in ("RANK", "WORLD_SIZE", ADDRESS, PORT)}
    if found["WORLD_SIZE"] in ("", "1"):
        return None
    rank, size, port = (int(text) if text.isdecimal() else -1 for name, text in found.items() if name != ADDRESS)
    if not (0 <= rank < size and port > 0 and found[ADDRESS]):
        given = ", ".join(f"{name}={text or '(none)'}" for name, text in found.items())
        raise ConfigError(
            f"expected the number of this process, how many there are, and where they meet, found {given}; start them "
            "with torchrun, or unset WORLD_SIZE to train with one process"
        )
    return Launched(rank, size)
