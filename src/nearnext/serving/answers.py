"""Answers: the one definition that they are encoded by and documented from."""

from typing import Annotated, Any, Literal

from msgspec import UNSET, Meta, Struct, UnsetType

from nearnext.recommenders.ranking import Source
from nearnext.types import RawId

Attributes = Annotated[
    list[dict[str, Any]] | UnsetType, Meta(description="Attributes of each item, if the request asks to show some.")
]


class RecommendationAnswer(Struct):
    """Recommended items, best first."""

    items: list[RawId]
    scores: Annotated[list[float], Meta(description="One per item, falling; 0 where filled in from popularity.")]
    own: Annotated[int, Meta(description="How many leading items the model itself scored.")]
    unknown: Annotated[list[RawId], Meta(description="Ids of the session that the model does not know.")]
    shortage: Annotated[str | None, Meta(description="Why fewer than k items are given.")]
    unmatched: Annotated[list[RawId], Meta(description="Ids of exclude and allow that name no item.")]
    sources: Annotated[
        list[Source],
        Meta(
            description="What each item comes from: model; cold, the model, for an item without clicks; similar, the "
            "items or sessions that it is like; popular, filled in from popularity."
        ),
    ]
    model: Annotated[str, Meta(description="Version of the model.")]
    shown: Attributes = UNSET


class ListsAnswer(Struct):
    """Recommended items of several sessions."""

    recommendations: Annotated[list[RecommendationAnswer], Meta(description="One per session, in their order.")]


class EventsAnswer(Struct):
    """What became of clicks."""

    length: Annotated[int, Meta(description="Clicks of the session, these included.")]
    stored: bool
    reason: Annotated[str | None, Meta(description="Why the clicks were not stored.")]
    logged: Annotated[bool | None, Meta(description="Whether they are in the event log; null: there is none.")]
    recommendations: RecommendationAnswer | None


class SessionAnswer(RecommendationAnswer, kw_only=True):
    """Recommended items for a stored session."""

    length: Annotated[int, Meta(description="Clicks that the store has of the session.")]
    reason: Annotated[str | None, Meta(description="Why the session could not be read.")]


class SimilarAnswer(Struct):
    """Items similar to one item, the most similar first."""

    items: list[RawId]
    scores: Annotated[list[float], Meta(description="One per item, falling; what it means depends on the basis.")]
    basis: Annotated[
        Literal["embeddings", "sessions", "recommendations"],
        Meta(
            description="What makes items similar: that they are near in the model's space; that they were clicked in "
            "the same training sessions; or that the model recommends them after this item."
        ),
    ]
    shortage: Annotated[str | None, Meta(description="Why fewer than k items are given.")]
    model: Annotated[str, Meta(description="Version of the model.")]
    shown: Attributes = UNSET


class FoundItem(Struct):
    """An item that can be recommended."""

    id: RawId
    clicks: Annotated[int, Meta(description="Clicks on it in training.")]
    title: str | None


class ItemsAnswer(Struct):
    """Items whose id or title contains what was asked for: those that begin with it first, each part by popularity."""

    items: list[FoundItem]


class MapPoint(Struct):
    """Where a session is on the map; null without a known click."""

    x: float | None
    y: float | None


class CatalogueChange(Struct):
    """A catalogue change that is on disk."""

    item: RawId
    available: bool
    known: Annotated[bool, Meta(description="Whether the model was trained with the item.")]
    unknown: Annotated[
        list[RawId], Meta(description="Ids of ``like`` that it was not trained with, which are ignored.")
    ]
    note: Annotated[str | UnsetType, Meta(description="Why its attributes alone do not put it into lists.")] = UNSET


class ModelAnswer(Struct):
    """The model that answers now."""

    version: str
    method: str
    items: Annotated[int, Meta(description="Items that it was trained with.")]
    new_items: Annotated[int, Meta(description="Items that joined since, and can be recommended.")]
    hidden_items: Annotated[int, Meta(description="Items that are removed or out of stock.")]
    attributes: Annotated[list[str], Meta(description="Columns of its item table, for rules and to be shown.")]
    params: dict[str, Any]
    refused: Annotated[str | None, Meta(description="Why the artifact there now is not served.")]
    items_without_clicks: Annotated[str, Meta(description="What its fit measured of the item table.")]
    data: dict[str, Any] | UnsetType = UNSET


class Health(Struct):
    """Whether the service works; ``store`` is ``up``, ``down`` or ``memory``."""

    status: Literal["ok", "starting", "stopping"]
    store: Literal["up", "down", "memory"]
