"""Sets of options by name; an option that a method does not have is left out, one that is given overrules."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from nearnext.options import require_known

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
            "item_hidden": 400,
            "item_tanh": True,
            "learning_rate": 0.001,
            "batch_size": 32,
            "epochs": 150,
            "improvement": 0.005,
            "lowerings": 3,
            "validation_fraction": 0.05,
            "ncas": {"share": "batch"},
        },
        "authors": {
            "dim": 400,
            "hidden": 500,
            "dense_layers": 2,
            "last_tanh": True,
            "item_hidden": 400,
            "item_tanh": True,
            "item_frozen": True,
            "initial_std": 0.05,
            "max_norm": 1.0,
            "max_length": 15,
            "positives": 8,
            "negatives": 8,
            "negative_source": "reversed-popularity",
            "fill": "own",
            "overlaps": False,
            "filter_sizes": (1, 3, 5),
            "learning_rate": 0.001,
            "lr_factor": 0.8,
            "lower_every": 1,
            "batch_size": 32,
            "epochs": 8,
            "lowerings": 3,
            "validation_metric": "MRR",
            "maxpool": {"zeros_up_to": 15},
            "rnn": {"dense_layers": 1},
            "gru": {"dense_layers": 1},
            "lstm": {"dense_layers": 1},
            "ncas": {
                "share": "batch",
                "distance": "squared_euclidean",
                "labels": "softmax",
                "direction": "cross_entropy",
            },
            "triplet": {"chord": True, "margin": 0.5},
            "maxpool-triplet": {"batch_size": 64},
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
            "initial_std": 0.05,
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
            "epochs": 5,
            "lr_factor": 0.6,
            "lower_every": 1,
            "validation_fraction": 0.0,
            "tagspace": {"filters": 256},
            "maxpool-ncas": {"dense_layers": 1},
        },
    }
)
"""``paper``: §5.2 and §4.5 of the paper, with Z of eq. (9) the mini-batch, as §4.3 says. ``authors``: the program that
made the paper's Table 2, in fewer epochs (docs/decisions/0009). ``quick``: the paper's samplers and losses in a smaller
dimension, larger batches, fewer epochs, from shorter embeddings, which Adam turns faster: minutes on two cores.
``tuned``: what does better than the paper's sampling and temperature on validation parts of RSC15/64 and Retailrocket:
every prefix, negatives shared in the batch and corrected for popularity, short embeddings, and five epochs of a falling
learning rate over all sessions, none held out. A nested set is for methods with that encoder, that loss, or both."""

DEFAULT_PRESET = "tuned"
"""Of a method that is asked for by name alone."""


def preset_options(preset: str, encoder: str, loss: str) -> dict[str, Any]:
    """The options that a preset gives a method with this encoder and this loss.

    >>> [preset_options("authors", "maxpool", loss)["batch_size"] for loss in ("ncas", "triplet")]
    [32, 64]
    """
    require_known("preset", preset, PRESETS)
    options = PRESETS[preset]
    chosen = {name: value for name, value in options.items() if not isinstance(value, Mapping)}
    for part in (loss, encoder, f"{encoder}-{loss}"):
        chosen |= options.get(part, {})
    return chosen
