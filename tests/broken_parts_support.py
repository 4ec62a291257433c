"""Encoders, losses and samplers that break one law each, the law, and what is said of it."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor, nn

from nearnext import LossInput, SessionEncoder, Sessions
from nearnext.sampling import Batch, PositiveNegative


def masked_mean(clicks: Tensor, mask: Tensor) -> Tensor:
    return (clicks * mask[:, :, None]).sum(1) / mask.sum(1, keepdim=True).clamp(min=1)


class Mean(SessionEncoder):
    """A lawful encoder, which the ones below change in one place."""

    def __init__(self, dim: int = 4) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.randn(dim))

    def forward(self, clicks: Tensor, mask: Tensor) -> Tensor:
        return masked_mean(clicks, mask) * self.scale


class PlainModule(nn.Module):
    forward = Mean.forward


class HiddenTensor(Mean):
    def __init__(self) -> None:
        super().__init__()
        self.more = torch.ones(4, requires_grad=True)


class HiddenLayers(Mean):
    def __init__(self) -> None:
        super().__init__()
        self.layers = [nn.Linear(4, 4)]


class Unseeded(Mean):
    count: ClassVar[Iterator[int]] = iter(range(10**6))

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.full((4,), float(next(self.count))))


class Wide(Mean):
    def forward(self, clicks: Tensor, mask: Tensor) -> Tensor:
        return super().forward(clicks, mask).repeat(1, 2)


class Failing(Mean):
    def forward(self, clicks: Tensor, mask: Tensor) -> Tensor:
        return clicks @ torch.ones(5, 4) + mask


class Endless(Mean):
    def forward(self, clicks: Tensor, mask: Tensor) -> Tensor:
        return (clicks * mask[:, :, None]).sum(1) / mask.sum(1, keepdim=True) * self.scale


class Padded(Mean):
    def forward(self, clicks: Tensor, mask: Tensor) -> Tensor:
        return clicks.mean(1) * self.scale + 0 * mask.sum()


class Mixed(Mean):
    def forward(self, clicks: Tensor, mask: Tensor) -> Tensor:
        found = super().forward(clicks, mask)
        return found - found.mean(0)


class OddPrefixes(Mean):
    def every_prefix(self, clicks: Tensor, mask: Tensor) -> Tensor:
        return clicks * self.scale + 0 * mask[:, :, None]


class NoPrefixes(Mean):
    every_prefix = None  # pyright: ignore[reportAssignmentType]


class Unused(Mean):
    def __init__(self) -> None:
        super().__init__()
        self.unused = nn.Parameter(torch.zeros(3))


class Writing(Mean):
    def forward(self, clicks: Tensor, mask: Tensor) -> Tensor:
        with torch.no_grad():
            clicks.data[:, 0] += 1e-7
            clicks.data[0] = 3.0
        return super().forward(clicks, mask)


@dataclass(frozen=True)
class Built:
    """A config that builds one of the modules above."""

    module: type[Any] = Mean
    dim: int = 4

    def build(self, input_dim: int) -> SessionEncoder:
        assert input_dim == self.dim
        return self.module()


class NotFrozen(Built):
    __hash__ = None  # pyright: ignore[reportAssignmentType]


ENCODERS: list[tuple[Any, str, str]] = [
    (NotFrozen(), "its config is a frozen dataclass", "unhashable"),
    (Built(PlainModule), "build(input_dim) gives a SessionEncoder", "derive its class from nearnext.SessionEncoder"),
    (Built(HiddenTensor), "all its tensors are parameters or buffers", "found a Tensor as more"),
    (Built(HiddenLayers), "all its tensors are parameters or buffers", "found a list as layers"),
    (Built(Unseeded), "the same seed gives the same weights", "two values of scale"),
    (Built(Wide), "clicks [B, T, D] become session embeddings [B, dim]", "expected [4, 4], found [4, 8]"),
    (Built(Failing), "clicks [B, T, D] become session embeddings [B, dim]", "found RuntimeError: "),
    (Built(Endless), "embeddings and gradients are finite", "for a session of 0 clicks"),
    (Built(Padded), "neither padding nor the other sessions", "give no weight to steps where mask is False"),
    (Built(Mixed), "neither padding nor the other sessions", "alone a session of"),
    (Built(OddPrefixes), "every_prefix gives at each click", "the prefix of 2 clicks is"),
    (Built(NoPrefixes), "every_prefix gives at each click", "training of metric needs it: leave every_prefix out"),
    (Built(Unused), "every parameter, and the clicks, get a gradient", "unused has no gradient"),
    (Built(Writing), "inputs are not modified", "changed in place"),
]


@dataclass(frozen=True)
class Gap:
    """A lawful loss, which the ones below change in one place."""

    needs_item_distances: Any = False

    def per_session(self, batch: LossInput) -> tuple[Any, Tensor]:
        found = batch.masked()
        positive = found.positive.sum(1) / found.positive_mask.sum(1).clamp(min=1)
        negative = found.negative.sum(1) / found.negative_mask.sum(1).clamp(min=1)
        return found, (positive - negative).exp()

    def __call__(self, batch: LossInput) -> Tensor:
        found, gaps = self.per_session(batch)
        return found.mean_over_sessions(gaps)


class PerSession(Gap):
    def __call__(self, batch: LossInput) -> Tensor:
        return self.per_session(batch)[1]


class LowPrecision(Gap):
    def __call__(self, batch: LossInput) -> Tensor:
        return super().__call__(batch).to(batch.positive.dtype)


class Unmasked(Gap):
    def __call__(self, batch: LossInput) -> Tensor:
        wide = torch.promote_types(batch.positive.dtype, torch.float32)
        return (batch.positive.to(wide).mean(1) - batch.negative.to(wide).mean(1)).exp().mean()


class Summed(Gap):
    def __call__(self, batch: LossInput) -> Tensor:
        return super().__call__(batch) * len(batch.positive)


class NeverNothing(Gap):
    def __call__(self, batch: LossInput) -> Tensor:
        return super().__call__(batch) + 1.0


class PositivesAlone(Gap):
    def __call__(self, batch: LossInput) -> Tensor:
        return batch.masked().mean_over_sessions(self.per_session(replace(batch, negative=batch.negative.detach()))[1])


class ReadsItems(Gap):
    def __call__(self, batch: LossInput) -> Tensor:
        found = batch.masked()
        items = 0.0 if found.positive_negative is None else found.positive_negative.mean((1, 2))
        return found.mean_over_sessions(self.per_session(batch)[1] + items)


class Overwriting(Gap):
    def __call__(self, batch: LossInput) -> Tensor:
        result = super().__call__(batch)
        batch.negative.data.clamp_(max=0.0)
        return result


class Attracting(Gap):
    def __call__(self, batch: LossInput) -> Tensor:
        found, gaps = self.per_session(batch)
        return found.mean_over_sessions(1 / gaps)


LOSSES: list[tuple[Any, str, str]] = [
    (Gap("no"), "it is a frozen dataclass that says whether it needs item distances", "put needs_item_distances"),
    (PerSession(), "a batch gives one finite number, of at least 32 bits", "found shape [3]"),
    (LowPrecision(), "a batch gives one finite number, of at least 32 bits", "expected a finite torch.float32"),
    (Unmasked(), "masked entries change neither value nor gradient", "compute on batch.masked()"),
    (Summed(), "a batch gives the mean of its sessions", "see mean_over_sessions"),
    (NeverNothing(), "a batch without a positive gives 0", "it is 1, or has a gradient"),
    (PositivesAlone(), "positives and negatives get a gradient", "the distances of the negatives have no gradient"),
    (ReadsItems(), "item distances are read where needs_item_distances says so", "it reads positive_negative"),
    (Gap(True), "item distances are read where needs_item_distances says so", "it does not read positive_negative"),
    (Overwriting(), "inputs are not modified", "negative was changed in place"),
]


class Changed(PositiveNegative):
    """A sampler whose batches are changed in one place; here in none."""

    def change(self, batch: Batch, _start: int) -> Batch:
        return batch

    def epoch(self, sessions: Sessions, epoch: int, seed: int, batch_size: int, **more: Any) -> Iterator[Batch]:
        for batch in super().epoch(sessions, epoch, seed, batch_size, **more):
            yield self.change(batch, more["start_batch"])


class Doubles(Changed):
    def change(self, batch: Batch, _start: int) -> Batch:
        return replace(batch, log_proposal=batch.log_proposal.astype(np.float64))


class Narrow(Changed):
    def change(self, batch: Batch, _start: int) -> Batch:
        return replace(batch, positive_mask=batch.positive_mask[:, :1])


class LeftPadded(Changed):
    def change(self, batch: Batch, _start: int) -> Batch:
        return replace(batch, prefixes=np.ascontiguousarray(batch.prefixes[:, ::-1]))


class Strangers(Changed):
    def change(self, batch: Batch, _start: int) -> Batch:
        return replace(batch, negatives=batch.negatives + 100)


class OwnPositives(Changed):
    def change(self, batch: Batch, _start: int) -> Batch:
        return replace(batch, negatives=batch.positives.copy(), negative_mask=batch.positive_mask.copy())


class Dice(Changed):
    def change(self, batch: Batch, _start: int) -> Batch:
        return replace(batch, log_proposal=np.random.default_rng().random(batch.log_proposal.shape, dtype=np.float32))


class Forgetful(Changed):
    def change(self, batch: Batch, _start: int) -> Batch:
        return replace(batch, log_proposal=batch.log_proposal + np.float32(_start))


class Counting(PositiveNegative):
    def n_batches(self, sessions: Sessions, batch_size: int) -> int:
        return super().n_batches(sessions, batch_size) + 1


class SameOrder(PositiveNegative):
    def epoch(self, sessions: Sessions, epoch: int, seed: int, batch_size: int, **more: Any) -> Iterator[Batch]:
        return super().epoch(sessions, 0 * epoch, 0 * seed, batch_size, **more)


class Sharing(PositiveNegative):
    def epoch(self, sessions: Sessions, epoch: int, seed: int, batch_size: int, **more: Any) -> Iterator[Batch]:
        kept = np.ones((batch_size, 8), dtype=np.float32)
        for batch in super().epoch(sessions, epoch, seed, batch_size, **more):
            yield replace(batch, log_proposal=kept[: len(batch)])


SAMPLERS: list[tuple[Any, str, str]] = [
    (Doubles(), "arrays of a batch have the types of Batch", "expected log_proposal of float32, found float64"),
    (Narrow(), "arrays of a batch have the shapes of Batch", "expected positive_mask of shape"),
    (LeftPadded(), "padding is 0, at the right, and masked", "found prefixes [0,"),
    (Strangers(), "items are known ones, and index 0 is masked", "found negatives from 1"),
    (OwnPositives(), "no negative is a positive of the same example", "is a positive and a negative of one example"),
    (Dice(), "the same seed gives the same batches", "log_proposal of batch 0 differs"),
    (SameOrder(), "another epoch or seed gives another order", "another epoch has the same order"),
    (Forgetful(), "an epoch that goes on at a batch gives the rest", "log_proposal of batch 1 is another"),
    (Counting(), "an epoch has n_batches batches", "n_batches says"),
    (Sharing(), "the log and other batches are not modified", "log_proposal of batch 1 changes with what is written"),
]
