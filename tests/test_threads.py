"""Work in threads: all of it, once each, and none after an error."""

from collections.abc import Iterable
from threading import Event

import pytest

from nearnext.threads import in_threads


@pytest.mark.parametrize("threads", [1, 3])
def test_every_number_is_worked_on_once(threads: int):
    done = list[int]()
    in_threads(done.extend, range(50), threads)
    assert sorted(done) == list(range(50))


def test_no_thread_goes_on_after_an_error():
    failed, done = Event(), list[int]()

    def work(begins: Iterable[int]) -> None:
        for begin in begins:
            if begin == 0:
                failed.set()
                raise ValueError("broken")
            failed.wait()
            done.append(begin)

    with pytest.raises(ValueError, match="broken"):
        in_threads(work, range(10**6), 2)
    assert len(done) < 10**6 - 1
