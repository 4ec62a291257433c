"""Work on several processes: order, errors, and workers that die."""

import math
import os

import pytest

from nearnext.errors import NearnextError
from nearnext.processes import in_processes


@pytest.mark.parametrize("workers", [1, 2])
def test_results_come_in_order_and_errors_as_they_are(workers: int):
    assert list(in_processes(math.sqrt, [4.0, 9.0, 1.0, 0.0], workers)) == [2.0, 3.0, 1.0, 0.0]
    with pytest.raises(ValueError, match="math domain error"):
        list(in_processes(math.sqrt, [1.0, -1.0], workers))


def test_a_worker_that_dies_gives_one_line():
    with pytest.raises(NearnextError, match="one of 2 worker processes died"):
        list(in_processes(os._exit, [1], 2))
