"""The options of a metric model as one flat list: presets, from names and text to its parts, and back."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import product
from types import MappingProxyType
from typing import Any, Literal

from nearnext.errors import ConfigError
from nearnext.model.encoders import EncoderConfig
from nearnext.model.losses import Loss, MetricLearning, loss_named
from nearnext.options import Option, checked, named, options_of, require_known, require_option
from nearnext.registry import ENCODERS, LOSSES, NEGATIVES, SAMPLERS, Registry, parts_of_name
from nearnext.sampling import Sampler
from nearnext.training.config import TrainingConfig

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


PARTS = ("encoder", "loss", "sampler", "training")
"""Fields of `SML` that have options of their own."""

RENAMED = {"n_positives": "positives", "n_negatives": "negatives", "n_items": "catalogue"}
"""Fields whose option has a shorter name."""


def _slots(encoder: str, loss: str, sampler: str, source: str) -> dict[str, tuple[str, Option]]:
    """Every option of a model made of these: the part that it belongs to, and its field there."""
    from nearnext.recommenders.sml.recommender import SML  # which is made from these options

    names: Any = Literal
    choices = (
        Option(
            "preset", names[tuple(PRESETS)], DEFAULT_PRESET, help="set of options to begin with; others overrule it."
        ),
        Option("sampler", names[tuple(SAMPLERS)], help="what becomes a training example."),
        Option("negative_source", names[tuple(NEGATIVES)], help="where negatives come from."),
    )
    library = loss.startswith("pml")
    found: dict[str, tuple[str, Option]] = {}
    for part, known, without in (
        ("model", options_of(SML).values(), PARTS),
        ("choice", choices, ()),
        ("encoder", options_of(ENCODERS[encoder]).values(), ()),
        (
            "loss",
            options_of(MetricLearning if library else LOSSES[loss]).values(),
            ("loss", "miner", "distance") if library else (),
        ),
        ("sampler", options_of(SAMPLERS[sampler]).values(), ("negatives", "max_length")),
        ("negatives", options_of(NEGATIVES[source]).values(), ()),
        ("training", options_of(TrainingConfig).values(), ()),
    ):
        for each in known:
            name = RENAMED.get(each.name, each.name)
            if name in found and each.name not in without:
                both = f"{found[name][0]} and {part}"
                raise ConfigError(f"{both} both have an option '{name}'; rename that of your own part")
            if each.name not in without:
                found[name] = part, each
    return found


def metric_options(name: str) -> dict[str, Option]:
    """All options of a metric model, whatever sampler is chosen; what only some have is searched with these alone.

    >>> options = metric_options("sml-maxpool-triplet")
    >>> "margin" in options, "smoothing" in options, options["extra"].search.where
    (True, False, {'negative_source': ('in-batch',)})
    """
    encoder, loss = parts_of_name(name)
    found: dict[str, Option] = {}
    homes: dict[str, list[tuple[str, str]]] = {}
    for home in product(SAMPLERS, NEGATIVES):
        for option, (_, each) in _slots(encoder, loss, *home).items():
            found.setdefault(option, replace(each, name=option))
            homes.setdefault(option, []).append(home)
    return {option: _where(each, homes[option]) for option, each in found.items()}


def _where(option: Option, homes: Sequence[tuple[str, str]]) -> Option:
    """An option whose search is limited to the samplers and kinds of negatives that have it."""
    if option.search is None:
        return option
    where = dict(option.search.where)
    for choice, names, known in zip(
        ("sampler", "negative_source"), zip(*homes, strict=True), (SAMPLERS, NEGATIVES), strict=True
    ):
        if set(names) != set(known):
            where[choice] = tuple(dict.fromkeys(names))
    return replace(option, search=replace(option.search, where=where))


def parts_from_options(name: str, options: Mapping[str, Any]) -> dict[str, Any]:
    """What a `SML` is made of, from a name and options; values may be text.

    >>> parts = parts_from_options("sml-gru-ncas", {"dim": "64", "preset": "paper", "positives": 4})
    >>> parts["encoder"].dim, parts["encoder"].hidden, parts["sampler"].n_positives, parts["training"].epochs
    (64, 400, 4, 150)
    """
    encoder, loss = parts_of_name(name)
    chosen = {**preset_options(options.get("preset", DEFAULT_PRESET), encoder, loss), **options}
    sampler, source = chosen.get("sampler", "positive-negative"), chosen.get("negative_source", "uniform")
    require_known("sampler", sampler, SAMPLERS)
    require_known("negative_source", source, NEGATIVES)
    slots = _slots(encoder, loss, sampler, source)
    for option in options:
        if option not in slots:
            require_option(name, option, metric_options(name))
            raise ConfigError(
                f"{name}: {option} is no option of sampler '{sampler}' with negatives '{source}'; leave it out"
            )
    parts: dict[str, dict[str, Any]] = {part: {} for part, _ in slots.values()}
    with named(name):
        for option, value in chosen.items():
            if option in slots:
                part, known = slots[option]
                parts[part][known.name] = checked(option, value, known.kind, text=True)
        drawn, model = parts["sampler"], parts["model"]
        if "max_length" in SAMPLERS.option_names(sampler) and "max_length" in model:
            drawn["max_length"] = model["max_length"]
        return {
            **model,
            "encoder": ENCODERS.make(encoder, **parts.get("encoder", {})),
            "loss": loss_named(loss, **parts.get("loss", {})),
            "sampler": SAMPLERS.make(sampler, negatives=NEGATIVES.make(source, **parts.get("negatives", {})), **drawn),
            "training": TrainingConfig(**parts["training"]),
        }


def name_of_parts(encoder: EncoderConfig, loss: Loss | MetricLearning) -> str:
    """The name of the model that these parts make.

    >>> from nearnext.model.encoders import GRU
    >>> name_of_parts(GRU(), MetricLearning("multi-similarity", miner="batch-hard"))
    'sml-gru-pml:multi-similarity+batch-hard'
    """
    if isinstance(loss, MetricLearning):
        miner = f"+{loss.miner}" if loss.miner else ""
        distance = f"@{loss.distance}" if loss.distance else ""
        return f"sml-{_called(encoder, ENCODERS)}-pml:{loss.loss}{miner}{distance}"
    return f"sml-{_called(encoder, ENCODERS)}-{_called(loss, LOSSES)}"


def _called(part: object, registered: Registry[Any]) -> str:
    return registered.name_of(part) or type(part).__name__.lower()


def options_of_parts(
    encoder: EncoderConfig, loss: Loss | MetricLearning, sampler: Sampler, training: TrainingConfig, **model: Any
) -> dict[str, Any]:
    """The options that make these parts, all of them: the inverse of `parts_from_options`.

    >>> options = parts_from_options("sml-maxpool-ncas", {"dim": 8})
    >>> options_of_parts(**options)["dim"]
    8
    """
    for part, known in ((encoder, ENCODERS), (loss, LOSSES), (sampler, SAMPLERS), (sampler.negatives, NEGATIVES)):
        if known.name_of(part) is None and not isinstance(part, MetricLearning):
            raise ConfigError(
                f"the {known.label} {type(part).__name__} has no name, so that options cannot describe it; put "
                "@nearnext.register above its class"
            )
    names = _called(sampler, SAMPLERS), _called(sampler.negatives, NEGATIVES)
    of_loss = "pml" if isinstance(loss, MetricLearning) else _called(loss, LOSSES)
    parts: dict[str, Any] = {"encoder": encoder, "loss": loss, "sampler": sampler, "training": training}
    parts["negatives"] = sampler.negatives
    slots = _slots(_called(encoder, ENCODERS), of_loss, *names)
    options = {option: getattr(parts[part], each.name) for option, (part, each) in slots.items() if part in parts}
    return {"sampler": names[0], "negative_source": names[1], **model, **options}
