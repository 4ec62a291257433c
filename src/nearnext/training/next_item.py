"""Training on every prefix at once: a softmax over sampled items, on the temperature of cosine distances.

The loss is the neighbourhood component loss of the paper (eq. 9) with the items as the points of the neighbourhood: the
probability of the next item is exp(−d / τ), normalised over items that stand for the whole catalogue (see
`nearnext.training.sampled_softmax`). One pass of the encoder gives every prefix of a session.

A step reads and moves only the rows of the table that its batch needs; neither gradient nor optimiser is dense, and
there is no tensor of items × items or examples × items.

References: Goldberger et al. 2004 (NCA); Kingma, Ba 2015 (Adam).
"""

import math
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import cast

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from nearnext.data.sessions import Sessions
from nearnext.errors import ConfigError, DataError
from nearnext.model.distances import l2_normalised
from nearnext.model.encoders.attention import AttentionEncoder
from nearnext.model.network import SessionItemNetwork
from nearnext.model.tensors import as_tensor, own_randomness, seed_draws
from nearnext.model.threads import one_thread
from nearnext.options import require_at_least, require_number
from nearnext.progress import track
from nearnext.sampling.proposal import BatchItems
from nearnext.training.checkpoint import Checkpoint, RunDirectory
from nearnext.training.interrupt import TrainingInterrupted, deferred_interrupt
from nearnext.training.log import open_log
from nearnext.training.loop import Epoch
from nearnext.training.optimisers import RowAdam
from nearnext.training.sampled_softmax import sampled_softmax
from nearnext.training.validation import Validation
from nearnext.types import Int64Array

__all__ = ["NextItemTraining", "train_next_item"]

BETAS = (0.9, 0.98)

POOL = 25
"""Batches that are sorted by length together, so that a batch has little padding."""

LARGEST = 1e18
"""Of a weight: squares of larger ones overflow, and normalised vectors become zero while the loss stays a number."""


@dataclass(frozen=True)
class NextItemTraining:
    """How a network is trained on every prefix.

    Attributes:
        epochs: passes over all sessions, at least 1.
        batch_size: sessions in a step, at least 1.
        learning_rate: peak rate of Adam for the item embeddings, above 0; they have length 1.
        encoder_rate: the same for the session encoder, above 0.
        negatives: items drawn for a batch, at least 1.
        alpha: exponent of popularity in the draw, at least 0; 0 draws uniformly.
        temperature: τ, above 0, in units of the cosine distance.
        smoothing: ε in [0, 1) of the labels over the items of a step.
        warmup: share of all steps in which the rate rises to its peak, in [0, 1); it falls along a cosine after that.
        final: last rate as a share of the peak, in [0, 1].

    Raises:
        ConfigError: an option out of range.

    >>> NextItemTraining(epochs=2).rate(0, 100), NextItemTraining(epochs=2, final=0.0).rate(99, 100) < 0.01
    (0.2, True)
    """

    epochs: int = 3
    batch_size: int = 96
    learning_rate: float = 0.006
    encoder_rate: float = 0.002
    negatives: int = 2048
    alpha: float = 0.5
    temperature: float = 0.07
    smoothing: float = 0.1
    warmup: float = 0.05
    final: float = 0.05

    def __post_init__(self) -> None:
        require_at_least(1, epochs=self.epochs, batch_size=self.batch_size, negatives=self.negatives)
        for name in ("learning_rate", "encoder_rate", "temperature"):
            require_number(name, getattr(self, name), above=0.0)
        require_number("alpha", self.alpha, at_least=0.0)
        for name in ("smoothing", "warmup"):
            require_number(name, getattr(self, name), at_least=0.0, below=1.0)
        require_number("final", self.final, at_least=0.0)

    def rate(self, step: int, n_steps: int) -> float:
        """Share of the peak learning rate at a step, counted from 0."""
        rising = max(1, int(self.warmup * n_steps))
        if step < rising:
            return (step + 1) / rising
        along = (step - rising) / max(1, n_steps - rising)
        return self.final + (1 - self.final) * 0.5 * (1 + math.cos(math.pi * along))


@dataclass(frozen=True, eq=False)
class _Windows:
    """What a step reads of each session: its last clicks, and for a long one the clicks before them likewise."""

    items: Int64Array
    begins: Int64Array
    lengths: Int64Array

    @classmethod
    def of(cls, sessions: Sessions, max_length: int) -> "_Windows":
        width = max_length + 1  # so many clicks have max_length prefixes
        begins, ends = sessions.offsets[:-1], sessions.offsets[1:]
        found_begins, found_ends = list[Int64Array](), list[Int64Array]()
        while len(begins):
            first = np.maximum(begins, ends - width)
            found_begins.append(first)
            found_ends.append(ends)
            # Windows overlap by half: a click in front of one has its context in the next.
            earlier = first + width // 2
            more = (first > begins) & (earlier - begins > 1)
            begins, ends = begins[more], earlier[more]
        begins, ends = np.concatenate(found_begins), np.concatenate(found_ends)
        kept = ends - begins > 1
        return cls(sessions.items.astype(np.int64), begins[kept], (ends - begins)[kept])

    def batches(self, size: int, rng: np.random.Generator) -> Iterator[Tensor]:
        """Clicks of each batch, padded with 0 at the right, in random order: [B, T]."""
        order = rng.permutation(len(self.begins))
        batches = list[Int64Array]()
        for begin in range(0, len(order), size * POOL):
            pool = order[begin : begin + size * POOL]
            pool = pool[np.argsort(self.lengths[pool], kind="stable")]
            batches.extend(pool[at : at + size] for at in range(0, len(pool), size))
        for place in rng.permutation(len(batches)):
            rows = batches[int(place)]
            steps = np.arange(int(self.lengths[rows].max()))
            real = steps < self.lengths[rows, None]
            clicks = np.zeros(real.shape, dtype=np.int64)
            clicks[real] = self.items[(self.begins[rows, None] + steps)[real]]
            yield as_tensor(clicks)


def train_next_item(
    network: SessionItemNetwork,
    sessions: Sessions,
    config: NextItemTraining,
    *,
    seed: int = 0,
    validation: Validation | None = None,
    run: RunDirectory | None = None,
    resume: bool = False,
    watch: Callable[[Mapping[str, float]], None] | None = None,
) -> list[Epoch]:
    """Train the network in place on every prefix; it ends with the weights of the best epoch on validation.

    Args:
        network: of the cosine distance, its session encoder an `AttentionEncoder`, one embedding table.
        sessions: in the network's vocabulary; clicks of index 0 are neither read nor predicted.
        config: how.
        seed: of order, draws and dropout, at least 0.
        validation: what epochs are compared by, the sum of HitRate@20 and MRR@20; None: the last epoch remains.
        run: where the checkpoint after each epoch and the log go; None: nowhere.
        resume: go on after the epoch of the checkpoint in ``run``, to the weights of an uninterrupted run.
        watch: called with the figures of each epoch.

    Returns:
        The figures of each epoch.

    Raises:
        ConfigError: a network of another kind, the loss is no longer a number, or a checkpoint of other options.
        DataError: no session has two clicks on known items.
        ArtifactError: the run's directory is in use, or cannot be read or written.
        TrainingInterrupted: Ctrl-C, where there is a directory; what the epoch begun has learned is lost.

    >>> from nearnext.model.encoders import Attention
    >>> from nearnext.model.items import ItemTower
    >>> log = Sessions.of([["a", "b", "c"]] * 20)
    >>> network = SessionItemNetwork(3, ItemTower(dim=4), Attention(dim=4))
    >>> [figures["epoch"] for figures in train_next_item(network, log, NextItemTraining(epochs=2))]
    [1, 2]
    """
    if not isinstance(network.session_encoder, AttentionEncoder) or network.distance != "cosine":
        raise ConfigError("training on every prefix needs the attention encoder and the cosine distance")
    known = sessions.keep_events(sessions.items > 0)
    windows = _Windows.of(known, network.max_length)
    if not len(windows.begins):
        raise DataError("expected sessions with at least two clicks on known items, found none; give a longer log")
    items = BatchItems.of(known, config.negatives, config.alpha)
    loop = _Loop(network, windows, items, config, seed)
    with one_thread(), own_randomness(), deferred_interrupt(run is not None) as stop:
        if run is None:
            return loop.run(None, validation, False, watch, stop)
        with run.locked(resume=resume):
            return loop.run(run, validation, resume, watch, stop)


class _Loop:
    """One training: what does not change, the optimisers, and the best weights so far."""

    def __init__(
        self,
        network: SessionItemNetwork,
        windows: _Windows,
        items: BatchItems,
        config: NextItemTraining,
        seed: int,
    ) -> None:
        self._network, self._windows, self._items, self._config, self._seed = (
            network,
            windows,
            items,
            config,
            seed,
        )
        self._n_batches = sum(1 for _ in range(0, len(windows.begins), config.batch_size))
        self._table = network.item_embedding.weight.detach()
        self._rows = RowAdam(self._table, betas=BETAS, exact=False)
        self._encoder = torch.optim.AdamW(
            network.session_encoder.parameters(), lr=config.encoder_rate, betas=BETAS, weight_decay=0.0, fused=True
        )
        self._local = torch.zeros(len(self._table), dtype=torch.int64)
        self._best: dict[str, Tensor] = {}
        self._best_figure = -math.inf

    def run(
        self,
        directory: RunDirectory | None,
        validation: Validation | None,
        resume: bool,
        watch: Callable[[Mapping[str, float]], None] | None,
        stop: Callable[[], bool],
    ) -> list[Epoch]:
        history = self._resumed(directory) if directory and resume else []
        with (
            open_log(directory.path if directory else None) as log,
            track("training", self._config.epochs, "epochs") as advance,
        ):
            advance(len(history))
            while len(history) < self._config.epochs:
                figures = self._epoch(len(history), stop)
                if figures is None:
                    raise _interrupted(directory)
                self._compare(figures, validation)
                history.append(figures)
                log(figures)
                advance(1)
                if directory is not None:
                    self._save(directory, history)
                if watch is not None:
                    watch(figures)
        self._network.load_state_dict(self._best)
        self._network.eval()
        return history

    def _epoch(self, number: int, stop: Callable[[], bool]) -> Epoch | None:
        """The figures of an epoch, counted from 0; None: interrupted."""
        config, rng = self._config, np.random.default_rng((self._seed, number))
        place, n_steps = 0, self._config.epochs * self._n_batches
        seed_draws(self._seed * 1_000_003 + number)
        self._network.train()
        total, begin = 0.0, time.perf_counter()
        with track(f"epoch {number + 1}", self._n_batches, "batches") as advance:
            for place, clicks in enumerate(self._windows.batches(config.batch_size, rng)):
                if stop():
                    return None
                done = number * self._n_batches + place
                loss = self._step(
                    clicks, as_tensor(self._items.proposal.draw(rng, self._items.n).astype(np.int64)), done
                )
                total += loss
                advance(1)
        if not math.isfinite(total) or self._overgrown():
            raise ConfigError(
                f"the loss is no longer a number in epoch {number + 1}; lower learning_rate ({config.learning_rate}) "
                f"or raise temperature ({config.temperature})"
            )
        return {
            "epoch": number + 1,
            "loss": total / self._n_batches,
            "learning_rate": config.learning_rate * config.rate(number * self._n_batches + place, n_steps),
            "seconds": time.perf_counter() - begin,
        }

    def _overgrown(self) -> bool:
        bounds = (weight.detach().aminmax() for weight in self._network.parameters())
        return not all(-LARGEST < float(lowest) <= float(highest) < LARGEST for lowest, highest in bounds)

    def _step(self, clicks: Tensor, drawn: Tensor, done: int) -> float:
        config = self._config
        share = config.rate(done, config.epochs * self._n_batches)
        real = clicks > 0
        rows = cast("Tensor", torch.unique(torch.cat([clicks[real], drawn])))  # pyright: ignore[reportUnknownMemberType]
        self._local[rows] = torch.arange(len(rows))
        table = self._table.index_select(0, rows).requires_grad_()
        loss = self._loss(clicks, real, rows, l2_normalised(table))
        self._encoder.zero_grad(set_to_none=True)
        loss.backward()  # pyright: ignore[reportUnknownMemberType] - its arguments are untyped
        nn.utils.clip_grad_norm_(self._network.session_encoder.parameters(), 1.0)
        for group in self._encoder.param_groups:
            group["lr"] = config.encoder_rate * share
        self._encoder.step()  # pyright: ignore[reportUnknownMemberType] - its closure is untyped
        assert table.grad is not None  # noqa: S101 - the loss reads the table
        self._rows.write(rows, table.grad, config.learning_rate * share)
        return float(loss.detach())

    def _loss(self, clicks: Tensor, real: Tensor, rows: Tensor, items: Tensor) -> Tensor:
        """Cross-entropy of the next items with smoothed labels: clicks [B, T], rows [U], items [U, D]."""
        config, encoder = self._config, cast("AttentionEncoder", self._network.session_encoder)
        given, wanted = real[:, :-1], real[:, 1:]
        local = self._local[clicks]
        sessions = encoder.every_prefix(functional.embedding(local[:, :-1], items), given)[wanted]
        target = local[:, 1:][wanted]
        present = as_tensor(self._items.log_presence(rows.numpy(), int(real.sum())))
        return sampled_softmax(l2_normalised(sessions), items, target, present, config.temperature, config.smoothing)

    def _compare(self, figures: Epoch, validation: Validation | None) -> None:
        if validation is not None:
            figures.update(validation.measure(self._network))
        figure = figures.get("HitRate@20", figures["epoch"]) + figures.get("MRR@20", 0.0)
        if figure > self._best_figure:
            self._best_figure = figure
            self._best = {name: tensor.detach().clone() for name, tensor in self._network.state_dict().items()}

    def _save(self, directory: RunDirectory, history: list[Epoch]) -> None:
        moments = self._encoder.state_dict()["state"]
        tensors = {
            **{f"network.{name}": tensor for name, tensor in self._network.state_dict().items()},
            **{f"best.{name}": tensor for name, tensor in self._best.items()},
            **{f"encoder.{place}.{name}": tensor for place, kept in moments.items() for name, tensor in kept.items()},
            **{f"rows.{name}": tensor for name, tensor in self._rows.state().items()},
        }
        directory.save(Checkpoint(tensors, {"history": history, "best": self._best_figure}))

    def _resumed(self, directory: RunDirectory) -> list[Epoch]:
        kept = directory.load()
        self._network.load_state_dict(_part(kept.tensors, "network."))
        self._best, self._best_figure = _part(kept.tensors, "best."), float(kept.progress["best"])
        self._rows.restore(_part(kept.tensors, "rows."))
        state = self._encoder.state_dict()
        moments: dict[int, dict[str, Tensor]] = {}
        for name, tensor in _part(kept.tensors, "encoder.").items():
            place, figure = name.split(".")
            moments.setdefault(int(place), {})[figure] = tensor
        self._encoder.load_state_dict({**state, "state": moments})
        return [dict(figures) for figures in kept.progress["history"]]


def _interrupted(directory: RunDirectory | None) -> TrainingInterrupted:
    where = f"; the epochs before this one are in {directory.path}, go on with --resume" if directory else ""
    return TrainingInterrupted(f"training was interrupted{where}")


def _part(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}
