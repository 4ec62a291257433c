"""Session encoders φ: one module each, swappable; `nearnext.registry.ENCODERS` has them by name.

Paper: §4.4.
"""

from nearnext.model.encoders.attention import Attention as Attention
from nearnext.model.encoders.base import EncoderConfig as EncoderConfig
from nearnext.model.encoders.base import SessionEncoder as SessionEncoder
from nearnext.model.encoders.convolution import Caser as Caser
from nearnext.model.encoders.convolution import TagSpace as TagSpace
from nearnext.model.encoders.convolution import TextCNN as TextCNN
from nearnext.model.encoders.narm import Narm as Narm
from nearnext.model.encoders.pooling import AvgPool as AvgPool
from nearnext.model.encoders.pooling import LastItem as LastItem
from nearnext.model.encoders.pooling import MaxPool as MaxPool
from nearnext.model.encoders.pooling import WeightedPool as WeightedPool
from nearnext.model.encoders.rnn import GRU as GRU
from nearnext.model.encoders.rnn import LSTM as LSTM
from nearnext.model.encoders.rnn import RNN as RNN
from nearnext.model.encoders.self_attention import SelfAttention as SelfAttention
