"""Small session encoders of every kind, and sessions for them."""

import torch
from torch import Tensor

from nearnext.model.encoders import (
    GRU,
    LSTM,
    RNN,
    Attention,
    Caser,
    EncoderConfig,
    MaxPool,
    Narm,
    SelfAttention,
    SessionEncoder,
    TagSpace,
    TextCNN,
    WeightedPool,
)
from nearnext.registry import ENCODERS

DIM = 6
VARIANTS: dict[str, EncoderConfig] = {
    **{name: ENCODERS.make(name, dim=DIM) for name in ENCODERS},
    "maxpool dense": MaxPool(DIM, dense_layers=2, last_tanh=True),
    "maxpool with zeros": MaxPool(DIM, zeros_up_to=4),
    "weightedpool dense": WeightedPool(DIM, dense_layers=1),
    "weightedpool linear": WeightedPool(DIM, "linear"),
    "weightedpool log": WeightedPool(DIM, "log"),
    "weightedpool quadratic": WeightedPool(DIM, "quadratic"),
    "textcnn even": TextCNN(DIM, filter_sizes=(2, 4), filters=5),
    "tagspace even": TagSpace(DIM, filter_size=4, filters=5),
    "caser short": Caser(DIM, length=3, heights=(1, 3)),
    "caser even": Caser(DIM, length=6, heights=(2, 4, 6)),
    "gru deep": GRU(DIM, hidden=5, layers=2, dense_layers=2),
    "lstm deep": LSTM(DIM, hidden=5, layers=2, dense_layers=2),
    "gru in a cube": GRU(DIM, hidden=5, last_tanh=True),
    "rnn bare": RNN(DIM, hidden=DIM, dense_layers=0),
    "selfattention deep": SelfAttention(DIM, positions=3, blocks=3, heads=2),
    "narm": Narm(DIM, hidden=5),
    "attention inside": Attention(DIM, positions=3, correction=False),
}


def built(variant: str, seed: int = 7) -> SessionEncoder:
    torch.manual_seed(seed)
    return VARIANTS[variant].build(DIM)


def sessions(lengths: list[int], seed: int = 0) -> list[Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(length, DIM, generator=generator) for length in lengths]


def batch(clicks: list[Tensor], padded_to: int, padding: float = 0.0) -> tuple[Tensor, Tensor]:
    """Right-padded clicks [B, T, D] and their mask [B, T]."""
    padded = torch.full((len(clicks), padded_to, DIM), padding)
    mask = torch.zeros(len(clicks), padded_to, dtype=torch.bool)
    for row, session in enumerate(clicks):
        padded[row, : len(session)] = session
        mask[row, : len(session)] = True
    return padded, mask


def alone(encoder: SessionEncoder, session: Tensor) -> Tensor:
    return encoder(*batch([session], max(len(session), 1)))[0]
