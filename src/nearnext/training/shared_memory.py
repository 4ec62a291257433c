"""Memory that the processes of one machine share: each reads there what the others have written."""

import errno
import os
import socket
from collections.abc import Sequence
from contextlib import suppress
from mmap import mmap
from tempfile import TemporaryFile
from typing import IO

import torch
from torch import Tensor

from nearnext.errors import NearnextError
from nearnext.training.group import together

TRIES = 200
"""Looks for a message before a process sleeps: to wake up takes as long as some tens of them."""


class SharedMemory:
    """What one of W processes does with memory that all of them share.

    All call the same methods in the same order, with arrays of the same shapes. Each raises
    `nearnext.training.group.GroupError` where another process has ended.

    Args:
        rank: number of this process, from 0.
        links: the first process has a connection to each other one, which has one to it.
    """

    def __init__(self, rank: int, size: int, links: Sequence[socket.socket]) -> None:
        self._rank, self._size, self._links = rank, size, links
        for link in links:  # whatever the timeout that new connections of this program have
            link.setblocking(True)
        self._posts, self._turn = torch.empty(2, size, 0), 0

    def zeros_like(self, tensor: Tensor) -> Tensor:
        """Zeros of its shape and type, which all processes see and change; freed when no process uses them."""
        n_bytes = tensor.numel() * tensor.element_size()
        if not n_bytes:
            return torch.zeros_like(tensor)
        number = self._file(n_bytes)
        try:
            memory = mmap(number, n_bytes)
        finally:
            os.close(number)
        return torch.frombuffer(memory, dtype=tensor.dtype).view(tensor.shape)

    def sums(self, tensors: Sequence[Tensor]) -> list[Tensor]:
        """The sum over the processes of each tensor of 32 bits, the same bits in all of them."""
        totals = [_sum(list(parts)) for parts in self._posted(tensors)]
        return [total.view(tensor.shape) for total, tensor in zip(totals, tensors, strict=True)]

    def reduced(self, parts: Sequence[Tensor]) -> Tensor:
        """The sum of the parts for this process; each process gives one of 32 bits for every process, itself too."""
        own = parts[self._rank]
        for_this = self._posted(parts, but=self._rank)[self._rank].view(self._size, *own.shape)
        return _sum([own if rank == self._rank else for_this[rank] for rank in range(self._size)])

    def _posted(self, tensors: Sequence[Tensor], but: int | None = None) -> Sequence[Tensor]:
        """What all processes give for each tensor, as rows [W, n]; this one gives all but one of them, if named."""
        sizes = [tensor.numel() for tensor in tensors]
        posts = self._room(sum(sizes))
        for number, post in enumerate(posts[self._rank].split_with_sizes(sizes)):
            if number != but:
                post.view(tensors[number].shape).copy_(tensors[number])
        self.meet()
        return posts.split_with_sizes(sizes, dim=1)

    def meet(self) -> None:
        """Wait until all processes are here."""
        if self._rank:
            with together():
                self._links[0].send(b"\0")
        else:
            for link in self._links:
                _received(link)
        self.decided(False)

    def decided(self, flag: bool) -> bool:
        """Whether the first process says so; the others wait for it."""
        if self._rank:
            return _received(self._links[0]) == b"\1"
        with together():
            for link in self._links:
                link.send(b"\1" if flag else b"\0")
        return flag

    def _room(self, n: int) -> Tensor:
        """Room for n numbers of each process, which stay there until the next but one call: [W, n]."""
        if n > self._posts.shape[2]:
            self._posts = self.zeros_like(torch.empty(2, self._size, 2 ** (n - 1).bit_length()))
        # Two in turn: while some processes write again, others may still read.
        self._turn = 1 - self._turn
        return self._posts[self._turn, :, :n]

    def _file(self, n_bytes: int) -> int:
        """Descriptor of a file of zeros, the same one in all processes."""
        if self._rank == 0:
            number = _sized(n_bytes)
            with together():
                for link in self._links:
                    socket.send_fds(link, [b"\0"], [number])
            return number
        with together():
            message, numbers, *_ = socket.recv_fds(self._links[0], 1, 1)
            if not message:
                raise EOFError
        if not numbers:  # the first process has sent one, which this one could not open
            raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))
        return numbers[0]


def _sized(n_bytes: int) -> int:
    """Descriptor of a file of zeros without a name."""
    try:
        with _nameless() as file:
            file.truncate(n_bytes)
            return os.dup(file.fileno())
    except OSError as error:
        raise NearnextError(
            f"expected {n_bytes} bytes of memory that processes share, found: {error.strerror}; raise the limits of "
            "this program (ulimit -f and -n), or train with one process"
        ) from error


def _nameless() -> IO[bytes]:
    """An empty file without a name, in memory alone where the system has such files and allows them."""
    try:
        return os.fdopen(os.memfd_create("nearnext"), "wb+", buffering=0)
    except (AttributeError, OSError):
        return TemporaryFile(buffering=0)


def _sum(parts: Sequence[Tensor]) -> Tensor:
    """Their sum in this order, a new tensor."""
    total = torch.add(parts[0], parts[1])
    for part in parts[2:]:
        total += part
    return total


def _received(link: socket.socket) -> bytes:
    """The next byte; waits for it."""
    with together():
        for _ in range(TRIES):
            with suppress(BlockingIOError):
                return _read(link, socket.MSG_DONTWAIT)
        return _read(link)


def _read(link: socket.socket, flags: int = 0) -> bytes:
    if byte := link.recv(1, flags):
        return byte
    raise EOFError
