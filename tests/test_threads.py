"""Work in threads: all of it, once each, and none after an error."""

from collections.abc import Iterable
from threading import Barrier
from time import sleep

import pytest

from nearnext.processes import in_threads


@pytest.mark.parametrize("threads", [1, 3])
def test_every_number_is_worked_on_once(threads: int):
    done = list[int]()
    in_threads(done.extend, range(50), threads)
    assert sorted(done) == list(range(50))


@pytest.mark.parametrize("failing", [0, 1])
def test_an_error_in_any_thread_ends_them_all(failing: int):
    both, done = Barrier(2), list[int]()

    def work(begins: Iterable[int]) -> None:
        for begin in begins:
            if begin < 2:
                both.wait()
            if begin == failing:
                raise ValueError("broken")
            sleep(0.001)  # all numbers would take ten seconds
            done.append(begin)

    with pytest.raises(ValueError, match="broken"):
        in_threads(work, range(10_000), 2)
    assert len(done) < 10_000 - 1
