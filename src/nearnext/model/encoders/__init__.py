"""Session encoders φ: one module each, swappable; `nearnext.registry.ENCODERS` has them by name.

Paper: §4.4.
"""

from nearnext.model.encoders.attention import Attention
from nearnext.model.encoders.avgpool import AvgPool
from nearnext.model.encoders.base import EncoderConfig, SessionEncoder
from nearnext.model.encoders.caser import Caser
from nearnext.model.encoders.lastitem import LastItem
from nearnext.model.encoders.maxpool import MaxPool
from nearnext.model.encoders.rnn import GRU, LSTM, RNN
from nearnext.model.encoders.tagspace import TagSpace
from nearnext.model.encoders.textcnn import TextCNN
from nearnext.model.encoders.weightedpool import WeightedPool

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
    "SessionEncoder",
    "TagSpace",
    "TextCNN",
    "WeightedPool",
]
