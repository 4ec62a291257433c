"""The laws of session encoders."""

import dataclasses
from collections.abc import Iterable, Sequence
from typing import cast

import torch
from torch import Tensor, nn

from nearnext.model.encoders.base import EncoderConfig, SessionEncoder
from nearnext.model.tensors import own_randomness, seed_draws
from nearnext.registration import Laws, require_lawful

LENGTHS = (3, 1, 5, 2)
"""Clicks of the sessions that an encoder is tried on."""

ROUNDING = 1e-5


def check_encoder(encoder: EncoderConfig) -> None:
    """A check that a session encoder keeps the laws of its kind; it draws from no generator but its own.

    Raises:
        ContractError: it breaks one; the message names the law and an example.

    >>> from nearnext.model.encoders import GRU
    >>> check_encoder(GRU(dim=8, hidden=4))
    """
    with own_randomness():
        require_lawful(encoder, LAWS, f"session encoder {type(encoder).__name__}")


def _frozen(config: EncoderConfig) -> str | None:
    if not dataclasses.is_dataclass(config) or isinstance(config, type):
        return f"found {config!r}; put @dataclass(frozen=True) above the class"
    if dataclasses.replace(config) != config:
        return "a copy made of its options is not equal to it; leave __eq__ to the dataclass"
    hash(config)
    return None


def _module(config: EncoderConfig) -> str | None:
    found = config.build(config.dim)
    if isinstance(found, SessionEncoder):  # pyright: ignore[reportUnnecessaryIsInstance] - an own part may give anything
        return None
    return f"found {type(found).__name__}; derive its class from nearnext.SessionEncoder, which also gives every_prefix"


def _parameters(config: EncoderConfig) -> str | None:
    encoder = _built(config)
    known = {id(one) for one in (*encoder.parameters(), *encoder.buffers(), *encoder.modules())}
    modules: list[tuple[str, nn.Module]] = list(encoder.named_modules())  # pyright: ignore[reportUnknownArgumentType]
    for name, module in modules:
        for attribute in vars(module).keys() - vars(nn.Module()).keys():
            value = vars(module)[attribute]
            held = [value] if isinstance(value, Tensor | nn.Module) else _inside(value)
            if any(isinstance(one, Tensor | nn.Module) and id(one) not in known for one in held):
                where = ".".join(filter(None, [name, attribute]))
                return (
                    f"found a {type(value).__name__} as {where}, which is neither trained nor saved; use nn.Parameter, "
                    "nn.ModuleList or register_buffer"
                )
    return None


def _inside(value: object) -> Iterable[object]:
    if isinstance(value, dict):
        return cast("dict[object, object]", value).values()
    return cast("Iterable[object]", value) if isinstance(value, list | tuple) else ()


def _seeded(config: EncoderConfig) -> str | None:
    first, second = _built(config).state_dict(), _built(config).state_dict()
    differing = [name for name in first if not torch.equal(first[name], second[name])]
    return f"found two values of {differing[0]}; draw from torch's generator alone" if differing else None


def _shape(config: EncoderConfig) -> str | None:
    found = _built(config)(*_batch(config.dim))
    expected = (len(LENGTHS), config.dim)
    return None if tuple(found.shape) == expected else f"expected {list(expected)}, found {list(found.shape)}"


def _finite(config: EncoderConfig) -> str | None:
    for length in (0, 1, 40):
        clicks, mask = _batch(config.dim, [length])
        encoder = _built(config)
        found = encoder(clicks.requires_grad_(), mask)
        if found.requires_grad:
            found.sum().backward()
        gradients = [one.grad for one in (clicks, *encoder.parameters()) if one.grad is not None]
        if not all(bool(one.isfinite().all()) for one in (found, *gradients)):
            return f"found NaN or infinity for a session of {length} clicks"
    return None


def _padding(config: EncoderConfig) -> str | None:
    encoder = _built(config)
    together = encoder(*_batch(config.dim, padded_to=9, padding=7.0))
    for row, length in enumerate(LENGTHS):
        clicks, mask = _batch(config.dim)
        alone = encoder(clicks[row : row + 1, :length], mask[row : row + 1, :length])
        if not _close(together[row], alone[0]):
            return (
                f"alone a session of {length} clicks begins {_shown(alone[0])}, in a batch with padding "
                f"{_shown(together[row])}; give no weight to steps where mask is False"
            )
    return None


def _prefixes(config: EncoderConfig) -> str | None:
    encoder = _built(config)
    clicks, mask = _batch(config.dim)
    try:
        every = encoder.every_prefix(clicks, mask)
    except Exception as error:  # the user's own code
        return (
            f"found {type(error).__name__}: {error}; training of metric needs it: leave every_prefix out, and each "
            "prefix is encoded on its own"
        )
    expected = (*mask.shape, config.dim)
    if tuple(every.shape) != expected:
        return f"expected {list(expected)}, found {list(every.shape)}"
    for row, length in enumerate(LENGTHS):
        for end in range(1, length + 1):
            alone = encoder(clicks[row : row + 1, :end], mask[row : row + 1, :end])
            if not _close(every[row, end - 1], alone[0]):
                return f"the prefix of {end} clicks is {_shown(every[row, end - 1])} there, {_shown(alone[0])} alone"
    return None


def _learns(config: EncoderConfig) -> str | None:
    encoder = _built(config)
    clicks, mask = _batch(config.dim)
    found = encoder(clicks.requires_grad_(), mask)
    (found * torch.linspace(-1, 1, found.numel()).view_as(found)).sum().backward()
    still = [name for name, weight in encoder.named_parameters() if weight.grad is None or not weight.grad.any()]
    if still:
        return f"{still[0]} has no gradient; use it in forward, or freeze it with requires_grad_(False)"
    return None if clicks.grad is not None and clicks.grad.any() else "the clicks have no gradient"


def _unmodified(config: EncoderConfig) -> str | None:
    clicks, mask = _batch(config.dim)
    before = clicks.clone(), mask.clone()
    _built(config)(clicks, mask)
    same = torch.equal(clicks, before[0]) and torch.equal(mask, before[1])
    return None if same else "clicks or mask were changed in place; work on a copy"


LAWS: Laws[EncoderConfig] = {
    "its config is a frozen dataclass": _frozen,
    "build(input_dim) gives a SessionEncoder": _module,
    "all its tensors are parameters or buffers of the module": _parameters,
    "the same seed gives the same weights": _seeded,
    "clicks [B, T, D] become session embeddings [B, dim]": _shape,
    "inputs are not modified": _unmodified,
    "embeddings and gradients are finite": _finite,
    "neither padding nor the other sessions of a batch change an embedding": _padding,
    "every_prefix gives at each click what the clicks up to it give alone": _prefixes,
    "every parameter, and the clicks, get a gradient": _learns,
}


def _built(config: EncoderConfig) -> SessionEncoder:
    seed_draws(7)
    return config.build(config.dim).eval()


def _batch(
    dim: int, lengths: Sequence[int] = LENGTHS, padded_to: int = 0, padding: float = 0.0
) -> tuple[Tensor, Tensor]:
    """Clicks of sessions [B, T, D], the same each time, and their mask."""
    steps = torch.arange(max(*lengths, padded_to, 1))
    mask = steps < torch.tensor(lengths)[:, None]
    drawn = torch.randn(len(lengths), 64, dim, generator=torch.Generator().manual_seed(0))[:, : len(steps)]
    return drawn.where(mask[:, :, None], padding), mask


def _close(one: Tensor, other: Tensor) -> bool:
    return torch.allclose(one, other, rtol=ROUNDING, atol=ROUNDING)


def _shown(embedding: Tensor) -> str:
    return str([round(float(value), 4) for value in embedding.detach()[:2]])
