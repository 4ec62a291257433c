"""Embedding tables in training: whole in every process that trains, or with each row in one of them."""

from collections.abc import Generator, Iterable, Mapping, Sequence
from contextlib import contextmanager
from typing import Protocol

import torch
from torch import Tensor, nn

from nearnext.training.group import Group
from nearnext.training.optimisers import EPSILON, Rule

BLOCK = 2**17
"""Rows of a table that are sent together when it is sent whole."""


class RowTable(Protocol):
    """A table [rows, D] in training, of which each step reads and moves a few rows.

    All processes call each method with the same rows. A table that is whole in each of them, or in the only one, is
    its row optimiser, which is given the gradients of the whole batch. A `ShardedTable` is given those of this
    process's examples.
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
    """A table in training; where it is sharded, each process calls this, and the table is the first one's."""
    return ShardedTable(table, rule, group) if group.sharded else rule.rows(table)


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
            (squares,) = self._group.sums([total.square().sum()])
            total *= (self._clip / (squares.sqrt() + EPSILON)).clamp_max(1.0)
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
