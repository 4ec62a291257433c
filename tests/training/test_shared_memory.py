"""Memory that processes share, here the threads of one process."""

import os
import resource
import socket
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import pytest
import torch

from nearnext.errors import NearnextError
from nearnext.training.group import GroupError
from nearnext.training.shared_memory import SharedMemory

T = TypeVar("T")


def together(size: int, use: Callable[[SharedMemory, int], T]) -> list[T]:
    """What each of several processes does with the memory, given its rank."""
    pairs = [socket.socketpair() for _ in range(1, size)]

    def use_one(rank: int) -> T:
        return use(SharedMemory(rank, size, links[rank]), rank)

    links: list[Sequence[socket.socket]] = [[first for first, _ in pairs], *([other] for _, other in pairs)]
    try:
        with ThreadPoolExecutor(size) as pool:
            return list(pool.map(use_one, range(size)))
    finally:
        for link in (end for pair in pairs for end in pair):
            link.close()


@pytest.mark.parametrize("size", [2, 3])
def test_all_have_the_sum_of_what_each_gives(size: int):
    def use(memory: SharedMemory, rank: int) -> list[list[torch.Tensor]]:
        # The second message is longer than the first one's memory, and not contiguous.
        given = [[torch.full((2, 3), rank + 1.0)], [torch.full((50, 4), 10.0**rank).T, torch.tensor(rank * 0.5)]]
        return [memory.sums(tensors) for tensors in given]

    found = together(size, use)
    for first, (long, scalar) in found:
        torch.testing.assert_close(first[0], torch.full((2, 3), sum(rank + 1.0 for rank in range(size))))
        torch.testing.assert_close(long, torch.full((4, 50), sum(10.0**rank for rank in range(size))))
        assert scalar == sum(range(size)) * 0.5
    assert all(torch.equal(one[1][0], found[0][1][0]) for one in found)


@pytest.mark.parametrize("size", [2, 3])
def test_each_has_the_sum_of_the_parts_for_it(size: int):
    def use(memory: SharedMemory, rank: int) -> list[torch.Tensor]:
        return [
            memory.reduced([torch.full((to + 1, 2), 10.0**rank * (to + round_)) for to in range(size)])
            for round_ in (1, 2)
        ]

    every = sum(10.0**rank for rank in range(size))
    for rank, (first, second) in enumerate(together(size, use)):
        torch.testing.assert_close(first, torch.full((rank + 1, 2), every * (rank + 1)))
        torch.testing.assert_close(second, torch.full((rank + 1, 2), every * (rank + 2)))


@pytest.mark.parametrize("in_memory", [True, False])
def test_what_one_writes_the_others_read(in_memory: bool, monkeypatch: pytest.MonkeyPatch):
    if not in_memory:  # as in macOS
        monkeypatch.delattr(os, "memfd_create", raising=False)

    def use(memory: SharedMemory, rank: int) -> tuple[list[int], int]:
        shared = memory.zeros_like(torch.empty(3, dtype=torch.int64))
        shared[rank] = rank + 5
        memory.meet()
        return shared.tolist(), memory.zeros_like(torch.empty(0, 4)).numel()

    assert together(3, use) == [([5, 6, 7], 0)] * 3


def test_the_first_one_decides():
    assert (
        together(3, lambda memory, rank: [memory.decided(rank == 0), memory.decided(rank != 0)]) == [[True, False]] * 3
    )


@pytest.mark.parametrize("rank", [0, 1])
@pytest.mark.parametrize("method", ["meet", "sums", "zeros_like"])
def test_a_process_that_has_ended_is_noticed(method: str, rank: int):
    link, other = socket.socketpair()
    memory, given = SharedMemory(rank, 2, [link]), torch.empty(2)
    arguments = {"meet": [], "sums": [[given]], "zeros_like": [given]}[method]
    other.close()
    with link, pytest.raises(GroupError, match="another process of this training ended before it"):
        getattr(memory, method)(*arguments)


def test_links_wait_whatever_the_timeout_of_new_connections():
    socket.setdefaulttimeout(5)
    try:
        link, sent = socket.socketpair()
    finally:
        socket.setdefaulttimeout(None)
    other = socket.socket(fileno=sent.detach())  # what another process has that is sent it
    with link, other:
        for rank, one in enumerate([link, other]):
            SharedMemory(rank, 2, [one])
            assert one.gettimeout() is None
            assert os.get_blocking(one.fileno())


def test_memory_that_a_limit_refuses_is_an_error_of_this_process():
    link, other = socket.socketpair()
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, hard))
    try:
        with link, other, pytest.raises(NearnextError, match=r"expected 8192 bytes .* found: File too large"):
            SharedMemory(0, 2, [link]).zeros_like(torch.empty(2048))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_descriptor_that_a_process_cannot_open_is_its_own_error():
    link, other = socket.socketpair()
    link.send(b"\0")  # what is left of a message with a descriptor
    with link, other, pytest.raises(OSError, match="Too many open files"):
        SharedMemory(1, 2, [other]).zeros_like(torch.empty(2))
