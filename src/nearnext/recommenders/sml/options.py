"""The options of a metric model as one flat list: from names and text to its parts, and back."""

from collections.abc import Mapping
from dataclasses import fields
from typing import Any, NamedTuple, get_type_hints

from nearnext.errors import ConfigError
from nearnext.model.distances import DistanceName
from nearnext.model.encoders import EncoderConfig
from nearnext.model.losses import Loss, MetricLearning, loss_named
from nearnext.options import read_option, require_known, require_option
from nearnext.recommenders.sml.names import parts_of_name
from nearnext.recommenders.sml.presets import DEFAULT_PRESET, preset_options
from nearnext.registry import ENCODERS, LOSSES, NEGATIVES, SAMPLERS, Registry
from nearnext.sampling import Sampler
from nearnext.training.config import TrainingConfig

__all__ = ["metric_option_names", "name_of_parts", "options_of_parts", "parts_from_options"]

SETTINGS: Mapping[str, Any] = {
    "item_hidden": int,
    "item_tanh": bool,
    "item_frozen": bool,
    "initial_std": float | None,
    "max_norm": float | None,
    "common_embedding": bool,
    "distance": DistanceName,
    "max_length": int,
    "logq": bool,
    "seed": int,
    "directory": str,
    "resume": bool,
}
"""Options of the model as a whole, and their types."""

NOT_KEPT = ("directory", "resume")
"""Options that say how a fit runs, not what it gives."""

RENAMED = {"n_positives": "positives", "n_negatives": "negatives", "n_items": "catalogue"}
"""Fields whose option has a shorter name."""


class _Slot(NamedTuple):
    """Where an option belongs: the part, its field, and the type of that."""

    part: str
    field: str
    type: Any


class _Choice(NamedTuple):
    """The names that decide which options there are."""

    encoder: str
    loss: str
    sampler: str
    source: str

    def slots(self) -> dict[str, _Slot]:
        """Every option of these parts."""
        loss: type[Any] = MetricLearning if self.loss.startswith("pml") else LOSSES[self.loss]
        return {
            **{name: _Slot("model", name, kind) for name, kind in SETTINGS.items()},
            "preset": _Slot("choice", "preset", str),
            "sampler": _Slot("choice", "sampler", str),
            "negative_source": _Slot("choice", "negative_source", str),
            **_slots("encoder", ENCODERS[self.encoder]),
            **_slots("loss", loss, without=("loss", "miner", "distance") if loss is MetricLearning else ()),
            **_slots("sampler", SAMPLERS[self.sampler], without=("negatives", "max_length")),
            **_slots("negatives", NEGATIVES[self.source]),
            **_slots("training", TrainingConfig),
        }


def _slots(part: str, config: type[Any], *, without: tuple[str, ...] = ()) -> dict[str, _Slot]:
    types = get_type_hints(config)
    names = [entry.name for entry in fields(config) if entry.name not in without]
    return {RENAMED.get(name, name): _Slot(part, name, types[name]) for name in names}


def metric_option_names(name: str) -> list[str]:
    """Names of all options of a metric model, whatever sampler is chosen.

    Raises:
        ConfigError: no such model.

    >>> [option for option in metric_option_names("sml-maxpool-triplet") if option in ("margin", "smoothing")]
    ['margin']
    """
    encoder, loss = parts_of_name(name)
    choices = [_Choice(encoder, loss, sampler, source) for sampler in SAMPLERS for source in NEGATIVES]
    return list(dict.fromkeys(option for choice in choices for option in choice.slots()))


def parts_from_options(name: str, options: Mapping[str, Any]) -> dict[str, Any]:
    """What a `SML` is made of, from a name and options; values may be text.

    Raises:
        ConfigError: an unknown name, option or preset, an option of a part that was not chosen, or a bad value.

    >>> parts = parts_from_options("sml-gru-ncas", {"dim": "64", "preset": "paper", "positives": 4})
    >>> parts["encoder"].dim, parts["encoder"].hidden, parts["sampler"].n_positives, parts["training"].epochs
    (64, 400, 4, 150)
    """
    encoder, loss = parts_of_name(name)
    chosen = {**preset_options(options.get("preset", DEFAULT_PRESET), encoder, loss), **options}
    sampler, source = chosen.get("sampler", "positive-negative"), chosen.get("negative_source", "uniform")
    require_known("sampler", sampler, SAMPLERS)
    require_known("negative_source", source, NEGATIVES)
    slots = _Choice(encoder, loss, sampler, source).slots()
    for option in options:
        if option not in slots:
            _refuse(name, option, sampler, source)
    parts: dict[str, dict[str, Any]] = {}
    for option, value in chosen.items():
        if option in slots:
            slot = slots[option]
            parts.setdefault(slot.part, {})[slot.field] = read_option(f"{name}: {option}", value, slot.type)
    return _built(encoder, loss, sampler, source, parts)


def _refuse(name: str, option: str, sampler: str, source: str) -> None:
    known = metric_option_names(name)
    if option in known:
        raise ConfigError(
            f"{name}: {option} is no option of sampler '{sampler}' with negatives '{source}'; leave it out"
        )
    require_option(name, option, known)


def _built(
    encoder: str, loss: str, sampler: str, source: str, parts: Mapping[str, Mapping[str, Any]]
) -> dict[str, Any]:
    model = dict(parts.get("model", {}))
    drawn = dict(parts.get("sampler", {}))
    if "max_length" in SAMPLERS.option_names(sampler) and "max_length" in model:
        drawn["max_length"] = model["max_length"]
    return {
        **model,
        "encoder": ENCODERS.make(encoder, **parts.get("encoder", {})),
        "loss": loss_named(loss, **parts.get("loss", {})),
        "sampler": SAMPLERS.make(sampler, negatives=NEGATIVES.make(source, **parts.get("negatives", {})), **drawn),
        "training": TrainingConfig(**parts.get("training", {})),
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
    encoder: EncoderConfig,
    loss: Loss | MetricLearning,
    sampler: Sampler,
    training: TrainingConfig,
    **model: Any,
) -> dict[str, Any]:
    """The options that make these parts, all of them: the inverse of `parts_from_options`.

    Raises:
        ConfigError: a part that has no name, so that options cannot describe it.

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
    choice = _Choice(
        _called(encoder, ENCODERS),
        "pml" if isinstance(loss, MetricLearning) else _called(loss, LOSSES),
        _called(sampler, SAMPLERS),
        _called(sampler.negatives, NEGATIVES),
    )
    parts: dict[str, Any] = {"encoder": encoder, "loss": loss, "sampler": sampler, "training": training}
    parts["negatives"] = sampler.negatives
    return {
        "sampler": choice.sampler,
        "negative_source": choice.source,
        **{name: value for name, value in model.items() if name not in NOT_KEPT},
        **{
            option: getattr(parts[slot.part], slot.field)
            for option, slot in choice.slots().items()
            if slot.part in parts
        },
    }
