"""Work on several processes: order, errors, and workers that die."""

import math
import os

import pytest

from nearnext.errors import NearnextError
from nearnext.processes import Processes


@pytest.mark.parametrize("workers", [1, 2])
def test_results_come_in_order_and_errors_as_they_are(workers: int):
    assert list(Processes(workers).map(math.sqrt, [4.0, 9.0, 1.0, 0.0])) == [2.0, 3.0, 1.0, 0.0]
    with pytest.raises(ValueError, match="math domain error"):
        list(Processes(workers).map(math.sqrt, [1.0, -1.0]))


def test_a_worker_that_dies_gives_one_line():
    with pytest.raises(NearnextError, match="one of 2 worker processes died"):
        list(Processes(2).map(os._exit, [1]))
