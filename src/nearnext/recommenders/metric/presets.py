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
            "dim": 64,
            "hidden": 64,
            "filters": 64,
            "initial_std": 0.05,
            "max_length": 15,
            "positives": 8,
            "negatives": 8,
            "fill": "repeat",
            "margin": 0.3,
            "smoothing": 0.3,
            "filter_sizes": (1, 3, 5),
            "learning_rate": 0.004,
            "batch_size": 256,
            "epochs": 8,
            "improvement": 0.0,
        },
        "tuned": {
            "dim": 128,
            "hidden": 128,
            "max_length": 15,
            "sampler": "every-prefix",
            "positives": 1,
            "negative_source": "in-batch",
            "extra": 1024,
            "alpha": 0.5,
            "logq": True,
            "smoothing": 0.3,
            "temperature": 0.1,
            "direction": "cross_entropy",
            "margin": 0.3,
            "pairing": "all",
            "learning_rate": 0.004,
            "batch_size": 256,
            "epochs": 10,
        },
    }
)
"""``paper``: §5.2 and §4.5 of the paper. ``quick``: its samplers and losses in a smaller dimension, larger batches,
fewer epochs, from shorter embeddings, which Adam turns faster: minutes on two cores (docs/decisions/0009). ``tuned``:
what does better than the paper's sampling and temperature on the validation part of RSC15/64: every prefix, negatives
shared in the batch and corrected for popularity."""

DEFAULT_PRESET = "tuned"
"""Of a method that is asked for by name alone."""
