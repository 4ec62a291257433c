"""One registry: every part by name, built in or the user's own.

Names are known without an import; a part's module is imported when the part is first used. Own parts come from
`nearnext.register`, and from what `nearnext.own_parts` imports when a name is unknown, or when names are listed.
"""

import re
from collections.abc import Iterator, Mapping
from importlib import import_module
from typing import TYPE_CHECKING, Any, Generic, Literal, TypeVar

from nearnext.errors import ConfigError
from nearnext.extras import training_extra
from nearnext.options import checked, make, options_of, require_known, require_option
from nearnext.own_parts import find_own_parts

if TYPE_CHECKING:
    from nearnext.evaluation.case_metric import CaseMetric
    from nearnext.model.encoders.base import EncoderConfig
    from nearnext.model.losses.loss_input import Loss
    from nearnext.recommenders.base import Recommender
    from nearnext.sampling.negatives import Negatives
    from nearnext.sampling.sampler import Sampler

Kind = Literal["encoder", "loss", "sampler", "negatives", "recommender", "metric"]

P = TypeVar("P")

WORD, WORDS, NAME = "[a-z][a-z0-9_]*", "[a-z][a-z0-9_-]*", "[A-Za-z][A-Za-z0-9_]*"


def place_of(part: type[Any]) -> str:
    """Module and name of a class."""
    return f"{part.__module__}:{part.__qualname__}"


def is_built_in(part: object) -> bool:
    """Whether a part is one of nearnext's own."""
    return is_built_in_class(type(part))


def is_built_in_class(part: type[Any]) -> bool:
    """Whether a class is one of nearnext's own."""
    return part.__module__.partition(".")[0] == "nearnext"


class Registry(Mapping[str, type[P]], Generic[P]):
    """The parts of one kind by name: a mapping to their classes, in which own parts follow the built-in ones.

    ``label`` is what messages call such a part, ``base`` its base class and ``built_in`` the class of each within
    ``nearnext``, ``pattern`` what an own part's name must match, ``reserved`` names with another meaning.

    >>> from nearnext.registry import ENCODERS
    >>> list(ENCODERS)[:2], ENCODERS.make("gru", dim=8).dim
    (['maxpool', 'avgpool'], 8)
    """

    def __init__(
        self, label: str, base: str, built_in: Mapping[str, str], *, pattern: str = WORD, reserved: tuple[str, ...] = ()
    ) -> None:
        self.label, self.base = label, f"nearnext.{base}"
        self._built_in = {name: f"nearnext.{path}" for name, path in built_in.items()}
        self._own: dict[str, type[P]] = {}
        self._pattern, self._reserved = pattern, reserved

    def __getitem__(self, name: str) -> type[P]:
        if name in self._built_in:
            module, _, attribute = self._built_in[name].partition(":")
            with training_extra(f"the {self.label} {name}"):
                return getattr(import_module(module), attribute)
        if name not in self._own:
            find_own_parts()
        return self._own[name]

    def __contains__(self, name: object) -> bool:
        return name in self._built_in or name in self._own or any(name == known for known in self)

    def __iter__(self) -> Iterator[str]:
        find_own_parts()
        return iter((*self._built_in, *self._own))

    def __len__(self) -> int:
        find_own_parts()
        return len(self._built_in) + len(self._own)

    def make(self, name: str, **options: Any) -> P:
        """The part of this name; options not given keep their defaults.

        >>> ENCODERS.make("transformer")
        Traceback (most recent call last):
        nearnext.errors.ConfigError: unknown session encoder 'transformer'; known: maxpool, avgpool, ...
        """
        self.require(name)
        return make(self[name], options, name)

    def require(self, name: str) -> None:
        """A check that there is a part of this name."""
        if not isinstance(name, str) or name not in self:  # pyright: ignore[reportUnnecessaryIsInstance] - from a file
            require_known(self.label, name, self)

    def spelled(self, text: str, taken: Mapping[str, str] | None = None) -> tuple[str, dict[str, Any]]:
        """Name and options of a part written ``NAME:OPTION=VALUE,OPTION=VALUE``, values as their types have them.

        ``taken`` says of some options where they are set instead.

        >>> LOSSES.spelled("triplet:swap=true,margin=0.5")
        ('triplet', {'swap': True, 'margin': 0.5})
        """
        name, _, rest = text.partition(":")
        self.require(name)
        known, given, owner = options_of(self[name]), dict[str, Any](), f"{self.label.split()[-1]} {text}"
        for each in filter(None, re.split(r",(?=\w+=)", rest)):
            option, equals, value = each.partition("=")
            if not equals:
                raise ConfigError(f"{owner}: expected NAME:OPTION=VALUE,OPTION=VALUE, found '{each}' after {name}:")
            if option in (taken or {}):
                raise ConfigError(f"{owner}: {option} is an option of {(taken or {})[option]}; set it there")
            require_option(f"{self.label.split()[-1]} {name}", option, known)
            given[option] = checked(option, value, known[option].kind, text=True)
        return name, given

    def option_names(self, name: str) -> list[str]:
        """Names of the options of a part."""
        return list(options_of(self[name]))

    def name_of(self, part: object) -> str | None:
        """The name under which a part, or its class, is known; None: it is not registered."""
        path = place_of(part if isinstance(part, type) else type(part))
        own = {name: place_of(known) for name, known in self._own.items()}
        return next((name for name, known in {**self._built_in, **own}.items() if known == path), None)

    def add(self, name: str, part: type[P]) -> None:
        """Know an own part by this name; the same class, defined again, replaces itself."""
        if not re.fullmatch(self._pattern, name):
            letters = "letters" if self._pattern == NAME else "lower-case letters"
            dash = ", digits, _ and -" if self._pattern == WORDS else ", digits and _"
            raise ConfigError(f"{name!r} cannot name a {self.label}: expected {letters}{dash}, a letter first")
        if name in self._built_in or name in self._reserved or name.startswith(("sml-", "pml")):
            raise ConfigError(f"the {self.label} '{name}' is one of nearnext's own names; choose another name")
        known = self._own.get(name)
        if known is not None and place_of(known) != place_of(part):
            raise ConfigError(
                f"the {self.label} '{name}' is registered twice, by {place_of(known)} and {place_of(part)}; rename one"
            )
        self._own[name] = part

    def remove(self, name: str) -> None:
        """Forget an own part, if there is one of this name."""
        self._own.pop(name, None)


ENCODERS: "Registry[EncoderConfig]" = Registry(
    "session encoder",
    "model.encoders.base:EncoderConfig",
    {
        "maxpool": "model.encoders.pooling:MaxPool",
        "avgpool": "model.encoders.pooling:AvgPool",
        "weightedpool": "model.encoders.pooling:WeightedPool",
        "lastitem": "model.encoders.pooling:LastItem",
        "textcnn": "model.encoders.convolution:TextCNN",
        "tagspace": "model.encoders.convolution:TagSpace",
        "caser": "model.encoders.convolution:Caser",
        "rnn": "model.encoders.rnn:RNN",
        "gru": "model.encoders.rnn:GRU",
        "lstm": "model.encoders.rnn:LSTM",
        "attention": "model.encoders.attention:Attention",
        "selfattention": "model.encoders.self_attention:SelfAttention",
        "narm": "model.encoders.narm:Narm",
    },
)
"""Session encoders φ: the config class of each. Paper: §4.4."""

LOSSES: "Registry[Loss]" = Registry(
    "loss",
    "model.losses.loss_input:Loss",
    {
        "ncas": "model.losses.ncas:NCAS",
        "triplet": "model.losses.triplet:Triplet",
        "contrastive": "model.losses.pairs:Contrastive",
        "bpr": "model.losses.pairs:BPR",
        "top1": "model.losses.pairs:TOP1",
        "warp": "model.losses.pairs:WARP",
    },
    reserved=("sampled-softmax",),
)
"""Losses on distances; ``pml:<loss>[+<miner>][@<distance>]`` names those of pytorch-metric-learning besides."""

SAMPLERS: "Registry[Sampler]" = Registry(
    "sampler",
    "sampling.sampler:Sampler",
    {
        "positive-negative": "sampling.samplers:PositiveNegative",
        "sliding-window": "sampling.samplers:SlidingWindow",
        "every-prefix": "sampling.samplers:EveryPrefix",
    },
    pattern=WORDS,
)
"""Samplers: what becomes a training example."""

NEGATIVES: "Registry[Negatives]" = Registry(
    "negatives",
    "sampling.negatives:Negatives",
    {
        "uniform": "sampling.negatives:Uniform",
        "popularity": "sampling.negatives:Popularity",
        "inverse-popularity": "sampling.negatives:InversePopularity",
        "reversed-popularity": "sampling.negatives:ReversedPopularity",
        "in-batch": "sampling.negatives:InBatch",
    },
    pattern=WORDS,
)
"""Kinds of negatives: where a sampler takes them from."""

RECOMMENDERS: "Registry[Recommender]" = Registry(
    "method",
    "recommenders.base:Recommender",
    {
        "metric": "recommenders.metric.recommender:Metric",
        "metric-fast": "recommenders.metric.peers:MetricFast",
        "pop": "recommenders.popularity:Pop",
        "spop": "recommenders.popularity:SessionPop",
        "markov-1": "recommenders.rules:Markov",
        "ar": "recommenders.rules:AssociationRules",
        "sr": "recommenders.rules:SequentialRules",
        "sknn": "recommenders.neighbours:SKNN",
        "vsknn": "recommenders.neighbours:VSKNN",
        "vstan": "recommenders.neighbours:VSTAN",
        "gru4rec": "recommenders.gru4rec.recommender:GRU4Rec",
        "sasrec": "recommenders.metric.peers:SASRec",
        "narm": "recommenders.metric.peers:NARM",
        "content-knn": "recommenders.content:ContentKNN",
        "category-pop": "recommenders.content:CategoryPopularity",
    },
    pattern=WORDS,
    reserved=("markov", "popularity", "session-pop", "sml"),
)
"""Recommenders; ``sml-<encoder>-<loss>`` names the metric models that are made of parts besides."""

DEFAULT_METRICS: Mapping[str, bool] = {
    **dict.fromkeys(("HitRate", "MRR", "Precision", "Recall", "MAP", "AP", "Coverage"), True),
    **dict.fromkeys(("Popularity", "Gini"), False),
}
"""The default metrics, in the order of reports, and whether a higher value is better."""

FURTHER_METRICS = (
    "NDCG", "HeadHitRate", "TailHitRate", "Novelty", "Diversity", "Serendipity", "Overconfidence", "Brier",
)  # fmt: skip
"""The built-in metrics that are measured on request."""

METRICS: "Registry[CaseMetric]" = Registry(
    "metric",
    "evaluation.case_metric:CaseMetric",
    {name: f"evaluation.case_metric:{name}" for name in FURTHER_METRICS},
    pattern=NAME,
    reserved=tuple(DEFAULT_METRICS),
)
"""Additional metrics, measured on request."""


def is_better_when_higher(metric: str) -> bool:
    """Whether a higher value of a metric is better; False for unknown metrics."""
    return DEFAULT_METRICS[metric] if metric in DEFAULT_METRICS else metric in METRICS and METRICS[metric].best


REGISTRIES: Mapping[Kind, Registry[Any]] = {
    "encoder": ENCODERS,
    "loss": LOSSES,
    "sampler": SAMPLERS,
    "negatives": NEGATIVES,
    "recommender": RECOMMENDERS,
    "metric": METRICS,
}
"""The registry of each kind of part."""

SML_NAME = re.compile(r"sml-(?P<encoder>[a-z0-9_]+)-(?P<loss>[a-z0-9_]+(:.+)?)")


def metric_names() -> str:
    """All names of metric models in one line."""
    return (
        f"sml-<encoder>-<loss> with encoder {'|'.join(ENCODERS)} and loss "
        f"{'|'.join(LOSSES)}|pml:<loss>[+<miner>][@<distance>]"
    )


def is_metric_name(name: str) -> bool:
    """Whether a method's name is meant as that of a metric model."""
    return name.startswith("sml-")


def parts_of_name(name: str) -> tuple[str, str]:
    """Encoder and loss of a metric model's name.

    >>> parts_of_name("sml-gru-pml:multi-similarity+batch-hard")
    ('gru', 'pml:multi-similarity+batch-hard')
    >>> parts_of_name("sml-transformer-ncas")
    Traceback (most recent call last):
    nearnext.errors.ConfigError: unknown method 'sml-transformer-ncas'; known: sml-<encoder>-<loss> with encoder ...
    """
    match = SML_NAME.fullmatch(name)
    if (
        not match
        or match["encoder"] not in ENCODERS
        or not (match["loss"].startswith("pml:") or match["loss"] in LOSSES)
    ):
        if match and ":" in match["loss"]:
            raise ConfigError(
                f"unknown method '{name}': options of its parts are options of the method; for example sml-"
                f"{match['encoder']}-{match['loss'].partition(':')[0]} with {match['loss'].partition(':')[2]} (--set)"
            )
        raise ConfigError(f"unknown method '{name}'; known: {metric_names()}")
    return match["encoder"], match["loss"]
