"""Worker processes: started here on this machine, or by ``torchrun`` on one machine or several.

A worker knows nothing of logs or methods: it waits for a training, takes part in it, and waits for the next one.
"""

import atexit
import os
import signal
import socket
import sys
import tempfile
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from datetime import timedelta
from functools import cache, partial
from multiprocessing import connection, get_context
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import NamedTuple

import torch.distributed as dist
from torch.distributed import FileStore, Store, rendezvous  # pyright: ignore[reportPrivateImportUsage, reportUnknownVariableType]

from nearnext.errors import ConfigError, NearnextError
from nearnext.processes import ADDRESS, PORT, Launched, end_with_parent, launched
from nearnext.progress import show_progress
from nearnext.training.group import Group, GroupError, in_group, others_wait, present_group, take_part
from nearnext.training.shared_memory import SharedMemory

PATIENCE = timedelta(hours=12)
"""How long a process waits for another one that is alive, for example while it ranks a large validation part."""

MEETING = timedelta(minutes=5)
"""How long the processes wait for one another before the first training."""

INTERFACE = "GLOO_SOCKET_IFNAME"
LOOPBACK = "lo"


@contextmanager
def workers(n: int, *, sharded: bool = False) -> Generator[None]:
    """Trainings inside are shared by n processes, this one among them; they are started here, and end with the block.

    Where ``torchrun`` started this process, see `join`, they are those that it started. ``sharded``: each of them holds
    some rows of an embedding table, instead of all.

    Raises:
        ConfigError: torchrun started another number of processes, or one process cannot shard.
        NearnextError: a worker ended.
    """
    joined = present_group()
    if joined.size == 1:
        joined = join()
    if joined.size > 1 and n not in (1, joined.size):
        raise ConfigError(f"expected the {joined.size} workers that were started, found workers={n}; leave it out")
    if sharded and joined.size == n == 1:
        raise ConfigError("expected several workers for sharded tables, found one; set workers, or leave sharded out")
    if joined.size > 1 or n == 1:
        with in_group(replace(joined, sharded=sharded)):
            yield
    else:
        with _started(n) as group, in_group(replace(group, sharded=sharded)):
            yield


def join() -> Group:
    """The processes that ``torchrun`` started, this one among them; alone, a group of one.

    Only the first one returns. The others take part in its trainings until it ends, and exit.

    Raises:
        ConfigError: the environment is incomplete, or the processes do not find one another.
    """
    place = launched()
    return Group() if place is None else _joined(place)


@cache
def _joined(place: Launched) -> Group:
    group = Group(*place)
    ours = not dist.is_initialized()  # another library may have done so
    if ours:
        try:
            store, *_ = next(rendezvous("env://", timeout=MEETING))
            store.set(f"nearnext/{place.rank}", "here")
            store.wait([f"nearnext/{rank}" for rank in range(place.size)], MEETING)
            dist.init_process_group("gloo", store=store, rank=place.rank, world_size=place.size, timeout=PATIENCE)
        except (RuntimeError, ValueError) as error:
            where = f"{os.environ[ADDRESS]}:{os.environ[PORT]}"
            raise ConfigError(
                f"expected {place.size} processes to meet at {where} within {MEETING}, found: "
                f"{str(error).splitlines()[0]}; check that all were started, that the address is of the first one's "
                "machine, and that the port is free"
            ) from error
    if place.rank:
        show_progress(False)
        try:
            take_part(group)
        finally:
            _leave(ours)
        sys.exit(0)
    atexit.register(_dismiss, group, ours)
    return group


def _dismiss(group: Group, ours: bool) -> None:
    with suppress(GroupError):
        if others_wait():  # else they see that this one has gone
            group.from_first(None)
        _leave(ours)


def _leave(ours: bool) -> None:
    """Leave a process group that was made here: one of its threads that outlives the interpreter aborts the process."""
    if ours:
        dist.destroy_process_group()


class _Worker(NamedTuple):
    """A process that was started here."""

    process: BaseProcess
    pipe: connection.Connection  # through which it says that it is there, and why it ends
    link: socket.socket  # of the memory that it shares


@contextmanager
def _started(n: int) -> Generator[Group]:
    """A group of this process and n − 1 new ones, which end with the block."""
    if dist.is_initialized():
        raise ConfigError("expected a process without a process group of torch, found one; leave it before the fit")
    started = list[_Worker]()
    with tempfile.TemporaryDirectory(prefix="nearnext-", ignore_cleanup_errors=True) as folder, _on_this_machine():
        store = f"{folder}/store"
        try:
            for rank in range(1, n):
                started.append(_start(store, rank, n))
            if any(_said(worker.pipe, MEETING.total_seconds()) is None for worker in started):
                raise GroupError
            memory = SharedMemory(0, n, [worker.link for worker in started])
            with met(FileStore(store, n), 0, n) as group, ended_first(partial(_end, started)):
                yield replace(group, memory=memory)
        except GroupError as error:
            raise NearnextError(_what_ended(started)) from error
        finally:
            _end(started)


def _end(started: Sequence[_Worker]) -> None:
    for worker in started:
        worker.process.kill()
        worker.process.join()
        worker.link.close()


@contextmanager
def ended_first(end: Callable[[], None]) -> Generator[None]:
    """After Ctrl-C or an error of this process, end the others: leaving the group waits for what they were to send."""
    try:
        yield
    except GroupError:  # one has ended, and the reason is looked for
        raise
    except BaseException:
        end()
        raise


@contextmanager
def met(store: Store, rank: int, n: int) -> Generator[Group]:
    """The group of n processes that meet at a store, until the block ends."""
    dist.init_process_group("gloo", store=store, rank=rank, world_size=n, timeout=PATIENCE)
    try:
        yield Group(rank, n)
    finally:
        dist.destroy_process_group()


def _start(store: str, rank: int, n: int) -> _Worker:
    context = get_context("spawn")
    (pipe, its_pipe), (link, its_link) = context.Pipe(), socket.socketpair()
    process = context.Process(target=_work, args=(its_pipe, its_link, store, rank, n), daemon=True)
    process.start()
    its_pipe.close()
    its_link.close()
    return _Worker(process, pipe, link)


def _work(pipe: connection.Connection, link: socket.socket, store: str, rank: int, n: int) -> None:
    """What a worker does that was started here."""
    # Ctrl-C, and SIGTERM to a group of processes, reach the first one, which ends this one after its checkpoint.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    end_with_parent()
    try:
        pipe.send("")
        with met(FileStore(store, n), rank, n) as group:
            take_part(replace(group, memory=SharedMemory(rank, n, [link])))
    except GroupError:
        sys.exit(1)  # another process says why
    except BaseException as error:
        with suppress(OSError):  # the first process has gone
            pipe.send(f"{type(error).__name__}: {error}")
        sys.exit(1)


def _said(pipe: connection.Connection, seconds: float = 0.0) -> str | None:
    """What a worker said, None: nothing."""
    try:
        return pipe.recv() if pipe.poll(seconds) else None
    except (EOFError, OSError):
        return None


@contextmanager
def _on_this_machine() -> Generator[None]:
    """Connections within this machine alone, unless an interface is named."""
    named = INTERFACE in os.environ
    if not named and Path("/sys/class/net", LOOPBACK).exists():
        os.environ[INTERFACE] = LOOPBACK
    try:
        yield
    finally:
        if not named:
            os.environ.pop(INTERFACE, None)


def _what_ended(started: Sequence[_Worker]) -> str:
    """Which worker ended, and why."""
    for worker in started:
        worker.link.close()
    for worker in started:  # each ends once this process has left, or another one ended
        worker.process.join(timeout=30)
    reasons = list[str]()
    for worker in started:
        code, said = worker.process.exitcode, _said(worker.pipe)
        if said:
            reasons.insert(0, said)
        elif code is not None and code < 0:
            reasons.insert(0, f"signal {-code}, perhaps for lack of memory")
        elif code is not None:  # perhaps because another one ended
            reasons.append(f"status {code}; a script that fits needs `if __name__ == '__main__':`")
    return (
        f"one of {len(started) + 1} processes of the training ended: "
        f"{[*reasons, 'its connection is closed'][0]}; use fewer workers, and resume where there are checkpoints"
    )
