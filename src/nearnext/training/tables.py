"""Embedding tables in training: whole in every process, in memory that all share, or with each row in one of them."""

from collections.abc import Generator, Iterable, Mapping, Sequence
from contextlib import contextmanager
from typing import Protocol, cast

import torch
from torch import Tensor, nn

from nearnext.training.group import Group
from nearnext.training.optimisers import EPSILON, Rule
from nearnext.training.row_optimisers import RowAdagrad, RowAdam
from nearnext.training.shared_memory import SharedMemory

BLOCK = 2**17
"""Rows of a table that are sent together when it is sent whole."""

NEIGHBOURS = 64
"""Rows next to one another that one process moves: where they meet, processes write to the same memory."""


class RowTable(Protocol):
    """A table [rows, D] in training, of which each step reads and moves a few rows.

    All processes call each method with the same rows. A table that is whole in each of them, or in the only one, is
    its row optimiser, which is given the gradients of the whole batch. A `SharedTable` and a `ShardedTable` are given
    those of this process's examples.
    """

    def read(self, rows: Tensor, learning_rate: float) -> Tensor:
        """Distinct rows [U] as they are after all steps so far: [U, D], a copy."""
        ...

    def write(self, rows: Tensor, gradient: Tensor, learning_rate: float) -> None:
        """One step with gradients [U, D] for rows that were just read, and 0 for all others."""
        ...

    def settle(self, learning_rate: float) -> None:
        """Bring the table up to date: before it is read whole, or the learning rate changes."""
        ...

    def state(self) -> dict[str, Tensor]:
        """Moments of all rows by name, in the first process."""
        ...

    def restore(self, state: Mapping[str, Tensor]) -> None:
        """Take the moments over, and the weights that the table has now."""
        ...


def row_table(table: Tensor, rule: Rule, group: Group) -> RowTable:
    """A table in training; of several processes each calls this, and the table is the first one's."""
    if group.memory is not None:
        return SharedTable(table, rule, group, group.memory)
    return ShardedTable(table, rule, group) if group.sharded else rule.rows(table)


class SharedTable:
    """A table in memory that the processes share, with its moments; each moves every W-th block of rows.

    ``table`` is the first process's own, which it brings up to date in `settle` and `state`; others need its shape and
    type alone. The moments that `state` gives are those in training: the first process uses them before it calls
    another method.
    """

    def __init__(self, table: Tensor, rule: Rule, group: Group, memory: SharedMemory) -> None:
        self._table, self._group, self._memory, self._clip = table, group, memory, rule.clip
        self._shared = memory.zeros_like(table)
        # The memory is of the CPU.
        self._optimiser = cast("RowAdagrad | RowAdam", rule.rows(self._shared, memory.zeros_like))
        self.restore(self._optimiser.state())

    def read(self, rows: Tensor, learning_rate: float) -> Tensor:
        self._optimiser.catch_up(rows[self._by_owner(rows)[self._group.rank]], learning_rate)
        self._memory.meet()
        return self._shared.index_select(0, rows)

    def write(self, rows: Tensor, gradient: Tensor, learning_rate: float) -> None:
        owned = self._by_owner(rows)
        total = self._memory.reduced([gradient.index_select(0, positions) for positions in owned])
        if self._clip:
            shorten_together(self._group, total, self._clip)
        self._optimiser.write(rows[owned[self._group.rank]], total, learning_rate)

    def settle(self, learning_rate: float) -> None:
        self._memory.meet()
        if self._group.first:
            self._optimiser.settle(learning_rate)
            self._table.copy_(self._shared)
        self._memory.meet()

    def state(self) -> dict[str, Tensor]:
        self._memory.meet()
        if self._group.first:
            self._table.copy_(self._shared)
        return self._optimiser.state()

    def restore(self, state: Mapping[str, Tensor]) -> None:
        self._memory.meet()
        if self._group.first:
            self._shared.copy_(self._table)
            self._optimiser.restore(state)
        # What is not by row each process has for itself.
        kept = self._optimiser.state()
        own = {name: part for name, part in kept.items() if not part.ndim}
        self._optimiser.restore({**kept, **self._group.from_first(own)})

    def _by_owner(self, rows: Tensor) -> list[Tensor]:
        """Positions of the rows that each process moves."""
        owners = rows // NEIGHBOURS % self._group.size
        return [(owners == owner).nonzero()[:, 0] for owner in range(self._group.size)]


def shorten_together(group: Group, gradient: Tensor, longest: float) -> None:
    """Gradients of which each process has some rows, scaled in place to a norm of at most ``longest`` together."""
    (squares,) = group.sums([gradient.square().sum()])
    gradient *= (longest / (squares.sqrt() + EPSILON)).clamp_max(1.0)


class ShardedTable:
    """A table whose row i is in process i mod W with its moments.

    A step's rows are sent by their owners to all processes, and the gradients back to the owners, which sum and
    apply them. ``table`` is whole in the first process, where it is brought up to date by `settle` and `state`; others
    need its shape and type alone.
    """

    def __init__(self, table: Tensor, rule: Rule, group: Group) -> None:
        self._table, self._group, self._clip = table, group, rule.clip
        # As many rows in each process, of which the last one may be unused.
        self._shard = table.new_zeros(-(-len(table) // group.size), table.shape[1])
        self._spread(table, self._shard)
        self._optimiser = rule.rows(self._shard)

    def read(self, rows: Tensor, learning_rate: float) -> Tensor:
        order, counts, mine = self._by_owner(rows)
        values = self._optimiser.read(mine, learning_rate)
        size = self._group.size
        received = self._group.exchanged(values.repeat(size, 1), [len(mine)] * size, counts)
        return torch.empty_like(received).index_copy_(0, order, received)

    def write(self, rows: Tensor, gradient: Tensor, learning_rate: float) -> None:
        order, counts, mine = self._by_owner(rows)
        size = self._group.size
        received = self._group.exchanged(gradient[order], counts, [len(mine)] * size)
        total = received.view(size, len(mine), gradient.shape[1]).sum(dim=0)
        if self._clip:
            shorten_together(self._group, total, self._clip)
        self._optimiser.write(mine, total, learning_rate)

    def settle(self, learning_rate: float) -> None:
        self._optimiser.settle(learning_rate)
        self._collect(self._shard, self._table)

    def state(self) -> dict[str, Tensor]:
        self._collect(self._shard, self._table)
        state = self._optimiser.state()
        for name, part in state.items():
            if self._by_row(part):
                whole = part.new_empty(len(self._table) if self._group.first else 0, *part.shape[1:])
                self._collect(part, whole)
                state[name] = whole
        return state

    def restore(self, state: Mapping[str, Tensor]) -> None:
        self._spread(self._table, self._shard)
        parts = self._optimiser.state()
        for name, part in parts.items():
            if self._by_row(part):
                self._spread(state.get(name, part), part)
            else:
                parts[name] = self._group.from_first(state.get(name, part))
        self._optimiser.restore(parts)

    def _by_owner(self, rows: Tensor) -> tuple[Tensor, list[int], Tensor]:
        """The order of rows [U] by owner, how many each process has [W], and this one's rows within its shard."""
        size = self._group.size
        owners = rows % size
        counts = [int((owners == owner).sum()) for owner in range(size)]
        return owners.argsort(stable=True), counts, rows[owners == self._group.rank] // size

    def _by_row(self, part: Tensor) -> bool:
        return part.shape[:1] == self._shard.shape[:1]

    def _collect(self, shard: Tensor, whole: Tensor) -> None:
        """Write the shards of all processes into a table of the first one."""
        for begin, end, counts in self._blocks():
            size, rank = self._group.size, self._group.rank
            from_all = counts if rank == 0 else [0] * size
            rows = shard[begin // size :][: counts[rank]]
            received = self._group.exchanged(rows, _to_first(counts[rank], size), from_all)
            for owner, part in enumerate(received.split_with_sizes(from_all)):
                whole[begin + owner : end : size][: len(part)] = part

    def _spread(self, whole: Tensor, shard: Tensor) -> None:
        """Write a table of the first process into the shards of all."""
        for begin, end, counts in self._blocks():
            size, rank = self._group.size, self._group.rank
            to_all = counts if rank == 0 else [0] * size
            rows = torch.cat([whole[begin + owner : end : size][:n] for owner, n in enumerate(to_all)])
            received = self._group.exchanged(rows, to_all, _to_first(counts[rank], size))
            shard[begin // size :][: counts[rank]] = received

    def _blocks(self) -> Generator[tuple[int, int, list[int]]]:
        """First and last row of blocks of the table, and how many of these each process has: [W]."""
        size, step = self._group.size, max(1, BLOCK // self._group.size) * self._group.size
        for begin in range(0, len(self._table), step):
            end = min(begin + step, len(self._table))
            yield begin, end, [len(range(begin + owner, end, size)) for owner in range(size)]


def _to_first(n: int, size: int) -> list[int]:
    return [n, *[0] * (size - 1)]


@contextmanager
def without_tables(tables: Iterable[nn.Parameter]) -> Generator[None]:
    """Inside, tables are zeros that take no memory, in what is sent to other processes too."""
    kept: Sequence[tuple[nn.Parameter, Tensor]] = [(table, table.data) for table in tables]
    try:
        for table, values in kept:
            table.data = values.new_zeros(1, 1).expand(values.shape)
        yield
    finally:
        for table, values in kept:
            table.data = values
