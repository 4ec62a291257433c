"""Layers that encoders share; padding never reaches a result.

Shapes: B sessions, T clicks, W windows, F features, D dimension of a click. Masks are true at real clicks, which come
first in each row.
"""

from collections.abc import Sequence
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn import functional


def zero_padding(clicks: Tensor, mask: Tensor) -> Tensor:
    """Clicks with zeros where there is only padding: [B, T, D], [B, T] → [B, T, D]."""
    return clicks.masked_fill(~mask.unsqueeze(-1), 0.0)


def max_over_time(features: Tensor, real: Tensor) -> Tensor:
    """Maximum of each feature over the real windows, 0 where there are none: [B, W, F], [B, W] → [B, F]."""
    filled = features.masked_fill(~real.unsqueeze(-1), torch.finfo(features.dtype).min)
    highest: Tensor = cast("Any", _Highest).apply(filled)
    return highest.where(real.any(dim=1, keepdim=True), 0.0)


def last_clicks(clicks: Tensor, mask: Tensor, length: int) -> tuple[Tensor, Tensor]:
    """The last ``length`` clicks, the newest at the end, zeros before the first, and which are real: [B, L, D], [B, L].

    >>> recent, real = last_clicks(torch.tensor([[[7.0], [8.0], [0.0]]]), torch.tensor([[True, True, False]]), 3)
    >>> recent.flatten().tolist(), real.tolist()
    ([0.0, 7.0, 8.0], [[False, True, True]])
    """
    positions = mask.sum(dim=1, keepdim=True) + torch.arange(-length, 0, device=mask.device)  # [B, L]
    real = positions >= 0
    recent = clicks.gather(1, positions.clamp_min(0).unsqueeze(-1).expand(-1, -1, clicks.shape[2]))
    return zero_padding(recent, real), real


class _Highest(torch.autograd.Function):
    """Maximum over dimension 1; equal maxima share the gradient, as in `torch.amax`, whose gradient is slow."""

    @staticmethod
    def forward(ctx: Any, values: Tensor) -> Tensor:
        highest = values.amax(dim=1)
        ctx.save_for_backward(values, highest)
        return highest

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        values, highest = ctx.saved_tensors
        below = (highest.unsqueeze(1) - values).sign_()  # 1 below the maximum, 0 at it
        at = below.neg_().add_(1.0)
        return at.mul_((gradients[0] / at.sum(dim=1)).unsqueeze(1))


class CentredConvolution(nn.Module):
    """A convolution over time with one window around each click and zeros beyond the session's ends.

    A window of even width reaches one click farther ahead than back.

    >>> add = CentredConvolution(input_dim=1, filters=1, width=2)
    >>> _ = nn.init.ones_(add.convolution.weight), nn.init.zeros_(add.convolution.bias)
    >>> add(torch.tensor([[[1.0], [2.0], [9.0]]]), torch.tensor([[True, True, False]])).flatten().tolist()
    [3.0, 2.0, 0.0]
    """

    def __init__(self, input_dim: int, filters: int, width: int) -> None:
        super().__init__()
        self.beyond = ((width - 1) // 2, width // 2)
        self.convolution = nn.Conv1d(input_dim, filters, width)

    def forward(self, clicks: Tensor, mask: Tensor) -> Tensor:
        """Features of each click's window, zeros where there is only padding: [B, T, D], [B, T] → [B, T, F]."""
        clicks = zero_padding(clicks, mask)
        if torch.compiler.is_exporting() or clicks.device.type != "cpu":
            return zero_padding(self.convolution(functional.pad(clicks.mT, self.beyond)).mT, mask)
        # Most of a batch is padding: only the windows of real clicks are multiplied.
        filters, dim, width = self.convolution.weight.shape
        padded = functional.pad(clicks, (0, 0, *self.beyond))  # [B, T + width − 1, D]
        sessions, steps = mask.nonzero(as_tuple=True)
        begins = sessions * padded.shape[1] + steps
        windows = (begins[:, None] + torch.arange(width)).flatten()
        read = padded.flatten(0, 1).index_select(0, windows).view(len(begins), width * dim)  # [E, width D]
        features = functional.linear(
            read, self.convolution.weight.mT.reshape(filters, width * dim), self.convolution.bias
        )
        flat = features.new_zeros(mask.numel(), filters)
        return flat.index_copy(0, sessions * mask.shape[1] + steps, features).view(*mask.shape, filters)


def feed_forward(
    input_dim: int, widths: Sequence[int], dropout: float = 0.0, *, last_tanh: bool = False
) -> nn.Sequential:
    """Linear layers of the given widths, tanh between them: [..., input_dim] → [..., widths[-1]].

    Dropout, a share in [0, 1), comes before each. The last layer is linear, so that an embedding is not confined to a
    cube, unless ``last_tanh`` adds a tanh after it; no widths give the identity.
    """
    layers: list[nn.Module] = []
    for fan_in, width in zip([input_dim, *widths], widths, strict=False):
        layers += [nn.Tanh()] if layers else []
        layers += [nn.Dropout(dropout), nn.Linear(fan_in, width)]
    return nn.Sequential(*layers, *([nn.Tanh()] if layers and last_tanh else []))


def freeze(layers: nn.Module) -> None:
    """Make the weights of these layers constants: saved and loaded, but no parameters of an optimiser."""
    for module in layers.modules():
        for name, weight in list(module.named_parameters(recurse=False)):
            delattr(module, name)
            module.register_buffer(name, weight.detach())
