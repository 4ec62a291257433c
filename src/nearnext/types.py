"""The names that every layer shares: raw ids and array types."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

RawId = int | str
"""An id as the user's log has it: an integer or a string."""

IndexArray = NDArray[np.int32]
"""Item indices."""

Int64Array = NDArray[np.int64]
"""Offsets, counts, and times in microseconds since 1970-01-01 UTC."""

FloatArray = NDArray[np.float64]
"""Metric values and statistics."""

ScoreArray = NDArray[np.float32]
"""Recommendation scores: higher is better."""

BoolArray = NDArray[np.bool_]
"""Masks."""

Rows = Int64Array | Sequence[int] | slice
"""Which rows of arrays to take."""
