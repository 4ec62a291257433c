"""The options of a metric model as one flat list: from names and text to its parts, and back."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import product
from typing import Any, Literal, NamedTuple

from nearnext.errors import ConfigError
from nearnext.model.encoders import EncoderConfig
from nearnext.model.losses import Loss, MetricLearning, loss_named
from nearnext.options import Option, checked, named, options_of, require_known, require_option
from nearnext.recommenders.sml.presets import DEFAULT_PRESET, PRESETS, preset_options
from nearnext.registry import ENCODERS, LOSSES, NEGATIVES, SAMPLERS, Registry, parts_of_name
from nearnext.sampling import Sampler
from nearnext.training.config import TrainingConfig

PARTS = ("encoder", "loss", "sampler", "training")
"""Fields of `SML` that have options of their own."""

RENAMED = {"n_positives": "positives", "n_negatives": "negatives", "n_items": "catalogue"}
"""Fields whose option has a shorter name."""


class _Slot(NamedTuple):
    """Where an option belongs: the part, and its field."""

    part: str
    option: Option


class _Choice(NamedTuple):
    """The names that decide which options there are."""

    encoder: str
    loss: str
    sampler: str
    source: str

    def slots(self) -> dict[str, _Slot]:
        """Every option of these parts."""
        from nearnext.recommenders.sml.recommender import SML  # which is made from these options

        loss: type[Any] = MetricLearning if self.loss.startswith("pml") else LOSSES[self.loss]
        found: dict[str, _Slot] = {}
        for slots in (
            _slots("model", SML, without=PARTS),
            {each.name: _Slot("choice", each) for each in _choices()},
            _slots("encoder", ENCODERS[self.encoder]),
            _slots("loss", loss, without=("loss", "miner", "distance") if loss is MetricLearning else ()),
            _slots("sampler", SAMPLERS[self.sampler], without=("negatives", "max_length")),
            _slots("negatives", NEGATIVES[self.source]),
            _slots("training", TrainingConfig),
        ):
            if both := sorted(found.keys() & slots.keys()):
                name, parts = both[0], f"{found[both[0]].part} and {slots[both[0]].part}"
                raise ConfigError(f"{parts} both have an option '{name}'; rename that of your own part")
            found |= slots
        return found


def _choices() -> tuple[Option, ...]:
    names: Any = Literal
    return (
        Option(
            "preset", names[tuple(PRESETS)], DEFAULT_PRESET, help="set of options to begin with; others overrule it."
        ),
        Option("sampler", names[tuple(SAMPLERS)], help="what becomes a training example."),
        Option("negative_source", names[tuple(NEGATIVES)], help="where negatives come from."),
    )


def _slots(part: str, config: type[Any], *, without: tuple[str, ...] = ()) -> dict[str, _Slot]:
    known = options_of(config).values()
    return {RENAMED.get(each.name, each.name): _Slot(part, each) for each in known if each.name not in without}


def metric_options(name: str) -> dict[str, Option]:
    """All options of a metric model, whatever sampler is chosen; what only some have is searched with these alone.

    >>> options = metric_options("sml-maxpool-triplet")
    >>> "margin" in options, "smoothing" in options, options["extra"].search.where
    (True, False, {'negative_source': ('in-batch',)})
    """
    encoder, loss = parts_of_name(name)
    found: dict[str, Option] = {}
    homes: dict[str, list[tuple[str, str]]] = {}
    for sampler, source in product(SAMPLERS, NEGATIVES):
        for option, slot in _Choice(encoder, loss, sampler, source).slots().items():
            found.setdefault(option, replace(slot.option, name=option))
            homes.setdefault(option, []).append((sampler, source))
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
    slots = _Choice(encoder, loss, sampler, source).slots()
    for option in options:
        if option not in slots:
            _refuse(name, option, sampler, source)
    parts: dict[str, dict[str, Any]] = {}
    with named(name):
        for option, value in chosen.items():
            if option in slots:
                part, known = slots[option]
                parts.setdefault(part, {})[known.name] = checked(option, value, known.kind, text=True)
        return _built(encoder, loss, sampler, source, parts)


def _refuse(name: str, option: str, sampler: str, source: str) -> None:
    known = metric_options(name)
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
        **model,
        **{
            option: getattr(parts[slot.part], slot.option.name)
            for option, slot in choice.slots().items()
            if slot.part in parts
        },
    }
