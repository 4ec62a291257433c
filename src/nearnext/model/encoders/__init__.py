"""Session encoders φ by name: one module each, swappable; a config file names what Python code constructs.

Paper: §4.4.
"""

from dataclasses import fields
from typing import Any

from nearnext.errors import ConfigError
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
from nearnext.options import require_known

__all__ = [
    "ENCODERS",
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
    "encoder_named",
]

AnyEncoder = MaxPool | AvgPool | WeightedPool | LastItem | TextCNN | TagSpace | Caser | RNN | GRU | LSTM | Attention

ENCODERS: dict[str, type[AnyEncoder]] = {
    "maxpool": MaxPool,
    "avgpool": AvgPool,
    "weightedpool": WeightedPool,
    "lastitem": LastItem,
    "textcnn": TextCNN,
    "tagspace": TagSpace,
    "caser": Caser,
    "rnn": RNN,
    "gru": GRU,
    "lstm": LSTM,
    "attention": Attention,
}
"""Config class of each session encoder, by the name that config files and the command line use."""


def encoder_named(name: str, **options: Any) -> AnyEncoder:
    """The config of the encoder of this name; options not given keep their defaults.

    Raises:
        ConfigError: the name or an option is unknown (the known ones are listed), or an option is out of range.

    >>> encoder_named("textcnn", dim=64, filter_sizes=[1, 3])
    TextCNN(dim=64, filter_sizes=(1, 3), filters=100, dropout=0.0, last_tanh=False)
    >>> encoder_named("transformer")
    Traceback (most recent call last):
    nearnext.errors.ConfigError: unknown session encoder 'transformer'; known: maxpool, avgpool, weightedpool, ...
    """
    require_known("session encoder", name, ENCODERS)
    config = ENCODERS[name]
    known = [field.name for field in fields(config)]
    if unknown := sorted(options.keys() - known):
        raise ConfigError(f"{name} has no option '{unknown[0]}'; known: {', '.join(known)}")
    return config(**options)
