"""A log for the laws of sampling: sessions of 1 to 14 clicks with repeats, over 23 items."""

import pytest

from nearnext.data.sessions import Sessions
from nearnext.sampling import NeighbourPositives


def make_log() -> Sessions:
    return Sessions.of([[f"i{(s * 7 + j * j) % 23}" for j in range(1 + s * s % 14)] for s in range(60)])


def make_neighbours(log: Sessions) -> NeighbourPositives:
    """Up to 4 items that a session does not contain; some sessions have none."""
    clicks = [set(log.items[log.offsets[s] : log.offsets[s + 1]].tolist()) for s in range(log.n_sessions)]
    return NeighbourPositives.of(
        [[item for item in range(1 + s % 9, 24) if item not in own][: s % 5] for s, own in enumerate(clicks)]
    )


@pytest.fixture(scope="session")
def log() -> Sessions:
    return make_log()


@pytest.fixture(scope="session")
def neighbours(log: Sessions) -> NeighbourPositives:
    return make_neighbours(log)
