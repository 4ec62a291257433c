"""Any loss and miner of pytorch-metric-learning, an optional library, by name, on the embeddings of a batch."""

import inspect
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, Self

import torch
from torch import Tensor, nn

from nearnext.errors import ConfigError
from nearnext.extras import needed
from nearnext.options import Count, checked, require_known

Indices = tuple[Tensor, ...]
"""Pairs (anchor, positive, anchor, negative) or triplets (anchor, positive, negative), row numbers each."""

Reading = Literal["references", "one set", "labels", "item classes"]
"""How a loss sees the batch: items as references of the sessions, all rows in one set, that set with its labels alone,
or rows under one class per item."""

REFERENCES = frozenset(
    {
        "AngularLoss",
        "CircleLoss",
        "ContrastiveLoss",
        "GeneralizedLiftedStructureLoss",
        "IntraPairVarianceLoss",
        "MarginLoss",
        "MultiSimilarityLoss",
        "NCALoss",
        "NTXentLoss",
        "SignalToNoiseRatioContrastiveLoss",
        "SupConLoss",
        "TripletMarginLoss",
        "TupletMarginLoss",
    }
)
"""Losses that keep row numbers of sessions and of references apart; in 2.9 others, and any swap, mix them up."""

LABELS = frozenset({"RankedListLoss", "InstanceLoss", "PNPLoss", "P2SGradLoss"})
"""Losses that build their relations from the labels and refuse chosen pairs."""


@dataclass(frozen=True, eq=False)
class _Items:
    """The items of a batch in one list, positives first, padding left out."""

    embeddings: Tensor  # at least float32: [M, D]
    owners: Tensor  # row of the session that each positive belongs to: [n_positives]
    indices: Tensor  # item indices: [M]
    n_sessions: int

    @property
    def n_positives(self) -> int:
        return len(self.owners)

    @classmethod
    def of(cls, positives: Tensor, negatives: Tensor, positive_indices: Tensor, negative_indices: Tensor) -> Self:
        positive, negative = positive_indices > 0, negative_indices > 0
        return cls(
            embeddings=_at_least_float32(torch.cat([positives[positive], negatives[negative]])),
            owners=torch.where(positive)[0],
            indices=torch.cat([positive_indices[positive], negative_indices[negative]]),
            n_sessions=len(positives),
        )

    def numbered(self, pairs: Indices, first: int) -> Indices:
        """The pairs or triplets with the items' row numbers counted from ``first``.

        A pair that would make a negative of an item that is, by its index, one of the session's positives is left out.
        """
        own = torch.zeros(self.n_sessions, len(self.indices), dtype=torch.bool, device=self.indices.device)
        positive, item = torch.where(self.indices[: self.n_positives, None] == self.indices)
        own[self.owners[positive], item] = True
        kept = ~own[pairs[-2] if len(pairs) == 4 else pairs[0], pairs[-1]]  # noqa: PLR2004
        if len(pairs) == 3:  # noqa: PLR2004
            anchor, positive, negative = pairs
            return anchor[kept], positive[kept] + first, negative[kept] + first
        anchor, positive, other_anchor, negative = pairs
        return anchor, positive + first, other_anchor[kept], negative[kept] + first


class MetricLearningLoss(nn.Module):
    """The built loss: ``[B, D]`` sessions, ``[B, P, D]`` positives and ``[B, N, D]`` negatives to a scalar.

    Each session is a class that its positives share; every negative is a class of its own. Pairs and triplets lead
    from a session to items, those of other sessions included, so that neither sessions nor items repel each other;
    item indices take out the pairs that would make a negative of one of the session's own positives. Losses that
    refuse chosen pairs see the labels alone, and a few (angular, NCA, fast-AP) consult them besides. Losses that
    learn a weight per class (proxy-NCA, ArcFace, ...) have one class per item: each session is given once with the
    class of each of its positives, each item with its own. Miners that draw at random draw from torch's global
    generator.
    """

    def __init__(self, loss: nn.Module, miner: nn.Module | None, reading: Reading) -> None:
        super().__init__()
        self.loss = loss
        self.miner = miner
        self.reading: Reading = reading

    def forward(
        self, sessions: Tensor, positives: Tensor, negatives: Tensor, positive_indices: Tensor, negative_indices: Tensor
    ) -> Tensor:
        """The loss of a batch, a scalar; 0 where no session has a positive, or none a negative.

        Item indices are ``[B, P]`` and ``[B, N]``, 0 where padded.
        """
        items = _Items.of(positives, negatives, positive_indices, negative_indices)
        if items.n_positives in (0, len(items.embeddings)):
            return (sessions.sum() + items.embeddings.sum()).float() * 0.0
        # The library's margins and exponentials are written for float32; mixed precision stops at its door.
        with torch.autocast(sessions.device.type, enabled=False):
            if self.reading == "item classes":
                return self._by_item(_at_least_float32(sessions), items)
            return self._by_session(_at_least_float32(sessions), items)

    def _by_session(self, sessions: Tensor, items: _Items) -> Tensor:
        labels = torch.arange(items.n_sessions, device=sessions.device)
        n_negatives = len(items.embeddings) - items.n_positives
        own_labels = items.n_sessions + torch.arange(n_negatives, device=sessions.device)
        item_labels = torch.cat([items.owners, own_labels])
        one_set = torch.cat([sessions, items.embeddings]), torch.cat([labels, item_labels])
        if self.reading == "labels":
            return self.loss(*one_set, None)
        if self.miner is None:
            same = labels[:, None] == item_labels
            pairs: Indices = (*torch.where(same), *torch.where(~same))
        else:
            pairs = self.miner(sessions, labels, items.embeddings, item_labels)
        if self.reading == "references":
            return self.loss(sessions, labels, items.numbered(pairs, 0), items.embeddings, item_labels)
        return self.loss(*one_set, items.numbered(pairs, items.n_sessions))

    def _by_item(self, sessions: Tensor, items: _Items) -> Tensor:
        rows = torch.cat([sessions[items.owners], items.embeddings])
        labels = torch.cat([items.indices[: items.n_positives], items.indices])
        return self.loss(rows, labels, None if self.miner is None else self.miner(rows, labels))


@dataclass(frozen=True)
class MetricLearning:
    """A loss of pytorch-metric-learning, with an optional miner and distance, all by name.

    Names are the library's class names or their short form (``multi-similarity``, ``n-pairs``, ``proxy-nca``; miners
    ``batch-hard``, ``distance-weighted``; distances ``snr``, ``cosine-similarity``). ``metric_learning_names`` lists
    them. In the registry: ``pml:<loss>[+<miner>][@<distance>]``.

    Attributes:
        loss: name of the loss.
        miner: name of a miner that chooses pairs or triplets inside the batch, or None for all of them.
        distance: name of a distance for both, or None for what each of them takes by default.
        loss_options: arguments of the loss, numbers and switches as the library names them.
        miner_options: arguments of the miner.

    Raises:
        ConfigError: on ``build``: the library is missing, a name is unknown, or options do not fit.

    Reference: Musgrave, Belongie, Lim, PyTorch Metric Learning, 2020.

    >>> config = MetricLearning("multi-similarity", miner="batch-hard", loss_options={"beta": 40})
    >>> config.loss, config.distance
    ('multi-similarity', None)
    """

    loss: str
    miner: str | None = None
    distance: str | None = None
    loss_options: Mapping[str, Any] = field(default_factory=dict[str, Any])
    miner_options: Mapping[str, Any] = field(default_factory=dict[str, Any])

    def build(self, dim: int, n_items: int) -> MetricLearningLoss:
        """The loss as a module; give its parameters, where it has any (proxies), to the optimiser.

        Args:
            dim: D, size of the embeddings.
            n_items: catalogue size; item indices are 1 to ``n_items``.
        """
        dim, n_items = checked("dim", dim, Count), checked("n_items", n_items, Count)
        loss_class = find_class("loss", self.loss)
        options = dict(self.loss_options)
        reading = _reading(loss_class, options)
        if reading == "item classes":
            size = "descriptors_dim" if requires(loss_class, "descriptors_dim") else "embedding_size"
            options = {"num_classes": n_items + 1, size: dim, **options}
        if self.miner is not None and loss_class.__name__ in LABELS:
            raise ConfigError(
                f"loss '{self.loss}' takes no chosen pairs, found miner '{self.miner}'; leave the miner out"
            )
        loss = construct(loss_class, options, self.distance)
        miner: nn.Module | None = None
        if self.miner is not None:
            miner = construct(find_class("miner", self.miner), self.miner_options, self.distance)
        return MetricLearningLoss(loss, miner, reading)


def _reading(loss: type[nn.Module], options: Mapping[str, Any]) -> Reading:
    if requires(loss, "num_classes"):
        return "item classes"
    if loss.__name__ in LABELS:
        return "labels"
    return "references" if loss.__name__ in REFERENCES and not options.get("swap") else "one set"


def _at_least_float32(values: Tensor) -> Tensor:
    return values.to(torch.promote_types(values.dtype, torch.float32))


Kind = Literal["loss", "miner", "distance"]

FAMILIES = {
    "loss": ("losses", "BaseMetricLossFunction"),
    "miner": ("miners", "BaseMiner"),
    "distance": ("distances", "BaseDistance"),
}

UNSUITABLE = frozenset(
    {
        "GenericPairLoss",  # a base class
        "VICRegLoss",  # without labels
        "ManifoldLoss",  # without labels
        "SmoothAPLoss",  # classes of equal size only, and a negative is a class of its own
        "DynamicSoftMarginLoss",  # 2.9 keeps a batch's graph into the next one
        "HistogramLoss",  # 2.9 indexes in a way that torch reads differently from 2.9 on
        "EmbeddingsAlreadyPackagedAsTriplets",  # another order of rows
    }
)


def metric_learning_names(kind: Kind = "loss") -> list[str]:
    """The short names of the library's losses, miners or distances that ``MetricLearning`` builds, sorted.

    >>> metric_learning_names("distance")
    ['cosine-similarity', 'dot-product-similarity', 'lp', 'snr']
    """
    return sorted(_classes(kind))


def _classes(kind: str) -> dict[str, type[nn.Module]]:
    require_known("kind", kind, FAMILIES)
    package_name, base_name = FAMILIES[kind]
    package = needed(f"pytorch_metric_learning.{package_name}", "metric-learning", "this loss")
    base: type[nn.Module] = getattr(package, base_name)
    return {
        _short(name): found
        for name, found in inspect.getmembers(package, inspect.isclass)
        if issubclass(found, base) and found is not base and name not in UNSUITABLE
    }


def _short(name: str) -> str:
    """``MultiSimilarityLoss`` as ``multi-similarity``."""
    words = re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "-", name).lower()
    return re.sub(r"-(loss|miner|distance)$", "", words)


def find_class(kind: Kind, name: str) -> type[nn.Module]:
    """The library's class of that name, long or short."""
    known = _classes(kind)
    plain = {short.replace("-", ""): found for short, found in known.items()}
    found = plain.get(re.sub(r"(loss|miner|distance)$", "", re.sub("[-_]", "", name.lower())))
    if found is None:
        raise ConfigError(f"unknown metric-learning {kind} '{name}'; known: {', '.join(sorted(known))}")
    return found


def requires(loss: type[nn.Module], argument: str) -> bool:
    """Whether a constructor of the class, or of one that it passes its arguments to, demands the argument."""
    constructors = (vars(parent).get("__init__") for parent in loss.__mro__ if parent is not object)
    parameters = (inspect.signature(init).parameters.get(argument) for init in constructors if init is not None)
    return any(parameter is not None and parameter.default is inspect.Parameter.empty for parameter in parameters)


def construct(part: type[nn.Module], options: Mapping[str, Any], distance: str | None) -> nn.Module:
    """A loss or a miner with these options and the distance of that name."""
    arguments = dict(options)
    if distance is not None:
        arguments["distance"] = find_class("distance", distance)()
    try:
        return part(**arguments)
    except (AssertionError, TypeError, ValueError) as error:
        raise ConfigError(f"{part.__name__} cannot be built with {sorted(arguments)}: {error}") from error
