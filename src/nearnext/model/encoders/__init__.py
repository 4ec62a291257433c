"""Session encoders φ: one module each, swappable; `nearnext.registry.ENCODERS` has them by name.

Paper: §4.4.
"""

from nearnext.model.encoders.attention import Attention
from nearnext.model.encoders.base import EncoderConfig, SessionEncoder
from nearnext.model.encoders.convolution import Caser, TagSpace, TextCNN
from nearnext.model.encoders.narm import Narm
from nearnext.model.encoders.pooling import AvgPool, LastItem, MaxPool, WeightedPool
from nearnext.model.encoders.rnn import GRU, LSTM, RNN
from nearnext.model.encoders.self_attention import SelfAttention

__all__ = [
    "GRU",
    "LSTM",
    "RNN",
    "Attention",
    "AvgPool",
    "Caser",
    "EncoderConfig",
    "LastItem",
    "MaxPool",
    "Narm",
    "SelfAttention",
    "SessionEncoder",
    "TagSpace",
    "TextCNN",
    "WeightedPool",
]
