"""The processes that train together: each takes a share of the examples of a step, and all take the same step."""

import time
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from pickle import PicklingError
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar, cast

import torch
import torch.distributed as dist
from torch import Tensor

from nearnext.errors import ConfigError, NearnextError

if TYPE_CHECKING:
    from nearnext.training.shared_memory import SharedMemory

T = TypeVar("T")

MOMENT = 0.05
"""Seconds between two looks at whether a wait has ended."""


class GroupError(NearnextError):
    """A process of the group ended before the others."""


@dataclass(frozen=True)
class Group:
    """This process among those that train together, by default alone.

    What all do together raises `GroupError` where another process has ended.
    """

    rank: int = 0  # number of this process, from 0; the first one validates, logs and writes
    size: int = 1  # how many there are
    sharded: bool = False  # whether each holds some rows of an embedding table, instead of all of them
    memory: "SharedMemory | None" = None  # that they share, where they were started on one machine

    @property
    def by_owner(self) -> bool:
        """Whether tables are in parts: one process moves each row, instead of all in the same way."""
        return self.sharded or self.memory is not None

    @property
    def first(self) -> bool:
        """Whether this process is the one that validates, logs and writes."""
        return self.rank == 0

    def sums(self, tensors: Sequence[Tensor]) -> list[Tensor]:
        """The sum over the processes of each tensor, the same bits in all of them; alone, the tensors themselves."""
        if self.size == 1:
            return list(tensors)
        if self.memory is not None:
            return self.memory.sums(tensors)
        # One message for all: a small one takes as long as a step's arithmetic on a few examples.
        flat = torch.cat([tensor.reshape(-1) for tensor in tensors])
        with together():
            dist.all_reduce(flat)  # pyright: ignore[reportUnknownMemberType]
        parts = flat.split_with_sizes([tensor.numel() for tensor in tensors])
        return [part.view(tensor.shape) for part, tensor in zip(parts, tensors, strict=True)]

    def exchanged(self, rows: Tensor, sent: Sequence[int], received: Sequence[int]) -> Tensor:
        """The rows that the processes send to this one, those of the first process first: [sum of ``received``, ...].

        The first ``sent[0]`` of its rows are for the first process, and so on; ``received`` says how many each sends.
        """
        found = rows.new_empty(sum(received), *rows.shape[1:])
        with together():
            dist.all_to_all_single(found, rows.contiguous(), list(received), list(sent))  # pyright: ignore[reportUnknownMemberType]
        return found

    def decided(self, flag: bool) -> bool:
        """Whether the first process says so, where all must act together; else whether this one does."""
        if not self.by_owner:
            return flag
        if self.memory is not None:
            return self.memory.decided(flag)
        said = torch.tensor(flag)
        with together():
            dist.broadcast(said, 0)  # pyright: ignore[reportUnknownMemberType]
        return bool(said)

    def from_first(self, value: T) -> T:
        """The first process's value; others give any."""
        return self.from_process(0, value)

    def from_process(self, number: int, value: T) -> T:
        """The value of one process; others give any."""
        if self.size == 1:
            return value
        box: list[Any] = [value]
        with together():
            dist.broadcast_object_list(box, number)
        return box[0]

    def wait_for(self, number: int) -> None:
        """Wait until one process does so too; Ctrl-C ends the wait."""
        with together():
            work = cast("Any", dist.broadcast(torch.zeros(1), number, async_op=True))  # pyright: ignore[reportUnknownMemberType]
            while not work.is_completed():
                time.sleep(MOMENT)
            work.wait()

    def copy_from(self, number: int, tensors: Sequence[Tensor]) -> None:
        """Overwrite tensors with those of one process, which are of the same shapes."""
        for tensor in tensors:
            with together():
                dist.broadcast(tensor, number)  # pyright: ignore[reportUnknownMemberType]


ALONE = Group()


def take_part(group: Group) -> None:
    """Call what the first process of the group sends, each with the group, until it has no more.

    Raises:
        GroupError: it ended.
    """
    while (work := group.from_first(None)) is not None:
        work(group)


class _Others:
    """The other processes of the present group."""

    at_work: ClassVar[bool] = False


def others_wait() -> bool:
    """Whether the other processes wait for work, as they no longer do when an error has ended this one's part."""
    return not _Others.at_work


@contextmanager
def sent_work(group: Group, work: Callable[[Group], None]) -> Generator[None]:
    """Send the other processes of the group what they call next; this one does its part inside.

    Raises:
        ConfigError: it cannot be sent.
        GroupError: another process ended.
    """
    try:
        group.from_first(work)
    except (PicklingError, AttributeError, TypeError) as error:
        raise ConfigError(
            f"expected a training that can be sent to other processes, found one that cannot ({error}); define own "
            "parts at the top of a module, or train with one process"
        ) from error
    _Others.at_work = True
    yield
    _Others.at_work = False


_present: ContextVar[Group] = ContextVar("group", default=ALONE)


def present_group() -> Group:
    """The processes that a training which begins now is shared with."""
    return _present.get()


@contextmanager
def in_group(group: Group) -> Generator[None]:
    """Trainings inside are shared with the processes of a group."""
    before = _present.set(group)
    try:
        yield
    finally:
        _present.reset(before)


@contextmanager
def together() -> Generator[None]:
    """What all processes do together: raises `GroupError` where another process has ended."""
    try:
        yield
    except (RuntimeError, EOFError, OSError) as error:  # a connection is closed, or nobody answers
        raise GroupError(
            "another process of this training ended before it; look there for the reason, then start again, with "
            "resume (--resume) where checkpoints were kept"
        ) from error
