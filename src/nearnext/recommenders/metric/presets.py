"""Sets of options by name; an option that a method does not have is left out, one that is given overrules."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

__all__ = ["DEFAULT_PRESET", "PRESETS"]

PRESETS: Mapping[str, Mapping[str, Any]] = MappingProxyType(
    {
        "paper": {
            "dim": 400,
            "hidden": 400,
            "max_length": 15,
            "positives": 8,
            "negatives": 8,
            "fill": "knn",
            "margin": 0.3,
            "smoothing": 0.3,
            "filter_sizes": (1, 3, 5),
            "common_embedding": True,
            "learning_rate": 0.001,
            "batch_size": 32,
            "epochs": 150,
            "improvement": 0.005,
            "lowerings": 3,
            "validation_fraction": 0.05,
        },
        "quick": {
            "dim": 128,
            "hidden": 128,
            "max_length": 15,
            "positives": 8,
            "negatives": 8,
            "fill": "mask",
            "margin": 0.3,
            "smoothing": 0.3,
            "learning_rate": 0.004,
            "batch_size": 256,
            "epochs": 30,
        },
    }
)
"""``paper``: §5.2 and §4.5 of the paper. ``quick``: minutes on two cores, chosen on the validation part of RSC15/64."""

DEFAULT_PRESET = "quick"
"""Of a method that is asked for by name alone."""
