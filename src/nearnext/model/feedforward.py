"""Fully connected layers with tanh, shared by the item encoder and the session encoders.

Paper: §5.2 ("simple feed-forward network with tanh activation") and §4.4.
"""

from collections.abc import Sequence

from torch import nn

__all__ = ["feed_forward", "freeze"]


def feed_forward(
    input_dim: int, widths: Sequence[int], dropout: float = 0.0, *, last_tanh: bool = False
) -> nn.Sequential:
    """Linear layers of the given widths, tanh between them: [..., input_dim] → [..., widths[-1]].

    Dropout, a share in [0, 1), comes before each. The last layer is linear, so that an embedding is not confined to a
    cube, unless ``last_tanh`` adds a tanh after it; no widths give the identity.

    >>> feed_forward(3, [5, 2])
    Sequential(
      (0): Dropout(p=0.0, inplace=False)
      (1): Linear(in_features=3, out_features=5, bias=True)
      (2): Tanh()
      (3): Dropout(p=0.0, inplace=False)
      (4): Linear(in_features=5, out_features=2, bias=True)
    )
    """
    layers: list[nn.Module] = []
    for fan_in, width in zip([input_dim, *widths], widths, strict=False):
        layers += [nn.Tanh()] if layers else []
        layers += [nn.Dropout(dropout), nn.Linear(fan_in, width)]
    return nn.Sequential(*layers, *([nn.Tanh()] if layers and last_tanh else []))


def freeze(layers: nn.Module) -> None:
    """Make the weights of these layers constants: saved and loaded, but no parameters of an optimiser.

    >>> layers = feed_forward(3, [2])
    >>> freeze(layers)
    >>> list(layers.parameters()), sorted(layers.state_dict())
    ([], ['1.bias', '1.weight'])
    """
    for module in layers.modules():
        for name, weight in list(module.named_parameters(recurse=False)):
            delattr(module, name)
            module.register_buffer(name, weight.detach())
