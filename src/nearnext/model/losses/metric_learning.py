"""Any loss and miner of pytorch-metric-learning, by name, on the embeddings of a batch."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, Self

import torch
from torch import Tensor, nn

from nearnext.errors import ConfigError
from nearnext.model.losses.metric_learning_names import construct, find_class, requires
from nearnext.options import Count, checked

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

    embeddings: Tensor
    """``[M, D]``, at least float32."""
    owners: Tensor
    """``[n_positives]`` row of the session that each positive belongs to."""
    indices: Tensor | None
    """``[M]`` item indices, where the batch gives them."""
    n_sessions: int

    @property
    def n_positives(self) -> int:
        return len(self.owners)

    @classmethod
    def of(
        cls,
        positives: Tensor,
        negatives: Tensor,
        *,
        positive_mask: Tensor | None,
        negative_mask: Tensor | None,
        positive_indices: Tensor | None,
        negative_indices: Tensor | None,
    ) -> Self:
        positive_mask = _mask(positive_mask, positive_indices, positives)
        negative_mask = _mask(negative_mask, negative_indices, negatives)
        indices = None
        if positive_indices is not None and negative_indices is not None:
            indices = torch.cat([positive_indices[positive_mask], negative_indices[negative_mask]])
        return cls(
            embeddings=_at_least_float32(torch.cat([positives[positive_mask], negatives[negative_mask]])),
            owners=torch.where(positive_mask)[0],
            indices=indices,
            n_sessions=len(positives),
        )

    def numbered(self, pairs: Indices, first: int) -> Indices:
        """The pairs or triplets with the items' row numbers counted from ``first``.

        A pair that would make a negative of an item that is, by its index, one of the session's positives is left out.
        """
        if len(pairs) == 3:  # noqa: PLR2004
            anchor, positive, negative = pairs
            kept = self._foreign(anchor, negative)
            return anchor[kept], positive[kept] + first, negative[kept] + first
        anchor, positive, other_anchor, negative = pairs
        kept = self._foreign(other_anchor, negative)
        return anchor, positive + first, other_anchor[kept], negative[kept] + first

    def _foreign(self, sessions: Tensor, items: Tensor) -> Tensor:
        if self.indices is None:
            return torch.ones_like(items, dtype=torch.bool)
        own = torch.zeros(self.n_sessions, len(self.indices), dtype=torch.bool, device=self.indices.device)
        positive, item = torch.where(self.indices[: self.n_positives, None] == self.indices)
        own[self.owners[positive], item] = True
        return ~own[sessions, items]


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
        self,
        sessions: Tensor,
        positives: Tensor,
        negatives: Tensor,
        *,
        positive_mask: Tensor | None = None,
        negative_mask: Tensor | None = None,
        positive_indices: Tensor | None = None,
        negative_indices: Tensor | None = None,
    ) -> Tensor:
        """The loss of a batch, a scalar; 0 where no session has a positive, or none a negative.

        Masks are ``[B, P]`` and ``[B, N]`` booleans, False where padded; item indices have the same shapes.
        """
        _require_embeddings(sessions, positives, negatives)
        items = _Items.of(
            positives,
            negatives,
            positive_mask=positive_mask,
            negative_mask=negative_mask,
            positive_indices=positive_indices,
            negative_indices=negative_indices,
        )
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
        if items.indices is None:
            raise ConfigError(
                f"{type(self.loss).__name__} learns a weight per item and needs item indices, found none; "
                "give positive_indices and negative_indices"
            )
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


def _require_embeddings(sessions: Tensor, positives: Tensor, negatives: Tensor) -> None:
    expected = (len(sessions), sessions.shape[-1])
    if sessions.ndim != 2 or any(t.ndim != 3 or (len(t), t.shape[-1]) != expected for t in (positives, negatives)):  # noqa: PLR2004
        found = ", ".join(str(list(tensor.shape)) for tensor in (sessions, positives, negatives))
        raise ConfigError(
            f"embeddings must be [B, D] sessions, [B, P, D] positives and [B, N, D] negatives, found {found}"
        )


def _mask(mask: Tensor | None, indices: Tensor | None, embeddings: Tensor) -> Tensor:
    shape = embeddings.shape[:2]
    for name, tensor in (("mask", mask), ("item indices", indices)):
        if tensor is not None and tensor.shape != shape:
            raise ConfigError(f"{name} must have shape {list(shape)} to fit the items, found {list(tensor.shape)}")
    real = torch.ones(shape, dtype=torch.bool, device=embeddings.device) if mask is None else mask
    return real if indices is None else real & (indices > 0)


def _at_least_float32(values: Tensor) -> Tensor:
    return values.to(torch.promote_types(values.dtype, torch.float32))
