"""Requests: the one definition that bodies are parsed by and documented from."""

from typing import Annotated, Any, ClassVar, cast

from msgspec import Meta, Struct

from nearnext.data.conditions import LONGEST
from nearnext.data.ids import BLANKS, NO_ID, NOTHING, tidy_text
from nearnext.recommenders.item_rules import MOST, STRONGEST, WEAKEST
from nearnext.serving.problems import HTTPError

MAX_ID = 512
"""Longest id in characters, without surrounding blanks."""

MAX_ITEMS = 1000
"""Clicks of the longest list in one request."""

MAX_SESSIONS = 256
"""Sessions of one request: other requests are answered between batches of 64."""

MAX_FILTER = 10_000
"""Ids of the longest list of exclusions or allowed items: ten times as many would delay all requests by tens of ms."""

ID_SCHEMA: dict[str, Any] = {
    "minLength": 1,
    "maxLength": MAX_ID,
    "pattern": "[^" + "".join(f"\\u{ord(blank):04x}" for blank in BLANKS) + "]",
    "not": {"enum": [*NOTHING]},
}
"""Constraints on string ids in the OpenAPI description; `require_id` checks the rest."""

IntegerId = Annotated[int, Meta(ge=-(2**63), le=2**63 - 1)]
TextId = Annotated[str, Meta(min_length=1, extra_json_schema=ID_SCHEMA)]
ItemId = IntegerId | TextId
"""An item's id as the log had it: an integer of 64 bits or a text."""

Clicks = Annotated[list[ItemId], Meta(max_length=MAX_ITEMS)]
Ids = Annotated[list[ItemId], Meta(max_length=MAX_FILTER)]
TextIds = Annotated[list[TextId], Meta(max_length=MAX_FILTER)]
Condition = Annotated[str, Meta(max_length=LONGEST)]
Factor = Annotated[float, Meta(ge=WEAKEST, le=STRONGEST)]
Name = Annotated[str, Meta(max_length=MAX_ID)]
Names = Annotated[
    list[Name], Meta(max_length=20, description="Attributes to show with each item, e.g. title and price.")
]
Length = Annotated[int, Meta(ge=1)]
Seconds = Annotated[float, Meta(ge=0, le=1e11)]


IDS = frozenset(("items", "sessions", "item", "exclude", "allow", "like"))
"""Fields of requests that hold ids."""


class Request(Struct, forbid_unknown_fields=True, kw_only=True):
    """A request body; its ids are valid ids of logs."""

    def __post_init__(self) -> None:
        for name in IDS.intersection(self.__struct_fields__):
            _require_ids(getattr(self, name))


class Restrictions(Request, kw_only=True):
    """What a list of next items must respect."""

    k: Annotated[Length, Meta(description="How many items.")] = 20
    exclude: Annotated[Ids, Meta(description="Never recommend these.")] = []
    allow: Annotated[Ids | None, Meta(description="Recommend only these; null: everything.")] = None
    exclude_seen: Annotated[bool, Meta(description="Nothing that is in the session.")] = False
    where: Annotated[Condition | None, Meta(description="Only items that match, e.g. price < 50 and available.")] = None
    boost: Annotated[
        dict[Condition, Factor], Meta(max_length=MOST, description="Factors by condition; 2 moves rank 10 to rank 5.")
    ] = {}
    at_most: Annotated[
        dict[Name, Length], Meta(max_length=MOST, description="Most items of each value of a column, e.g. category.")
    ] = {}
    after: Annotated[
        Name | None,
        Meta(
            description="Leave out the last item's category if sessions leave it after an event of this type; null: if "
            "the service has --after and the session's last stored event is of that type."
        ),
    ] = None
    time: Annotated[
        Seconds | None,
        Meta(description="When it is asked, seconds since 1970; null: the end of training, and now for the rules."),
    ] = None
    show: Names = []


class RecommendRequest(Restrictions, kw_only=True):
    """A session of clicks, oldest first, or several sessions, and what the lists of next items must respect."""

    ONE_OF: ClassVar = ("items", "sessions")  # lists of which a request has exactly one

    items: Annotated[Clicks | None, Meta(description="The clicks of one session.")] = None
    sessions: Annotated[
        Annotated[list[Clicks], Meta(max_length=MAX_SESSIONS)] | None, Meta(description="The clicks of each session.")
    ] = None

    def __post_init__(self) -> None:
        if (self.items is None) == (self.sessions is None):
            raise HTTPError(422, "expected either items, the clicks of one session, or sessions, a list of such lists")
        Request.__post_init__(self)


class EventsRequest(Restrictions, kw_only=True):
    """Clicks to append to a session, oldest first; with ``k``, recommendations are answered in the same call."""

    items: Annotated[list[ItemId], Meta(min_length=1, max_length=MAX_ITEMS)]
    event: Annotated[
        Annotated[str, Meta(min_length=1, max_length=MAX_ID)] | None,
        Meta(description="Type of the clicks, e.g. purchase; an item's view and purchase in a row are one click."),
    ] = None
    consent: Annotated[bool, Meta(description="Whether the clicks may be stored and logged.")] = False
    k: Annotated[Length | None, Meta(description="How many items to recommend; null: none.")] = None  # pyright: ignore[reportIncompatibleVariableOverride] - requests are only read
    time: Annotated[
        Seconds | None,
        Meta(description="When it was clicked, seconds since 1970; null: now, and for the model the end of training."),
    ] = None


class ListParameters(Restrictions, kw_only=True):
    """What the list of next items of a stored session must respect; write a comma in an id as %2C."""

    exclude: Annotated[TextIds, Meta(description="Never recommend these; write a comma in an id as %2C.")] = []  # pyright: ignore[reportIncompatibleVariableOverride] - requests are only read
    allow: Annotated[TextIds | None, Meta(description="Recommend only these.")] = None  # pyright: ignore[reportIncompatibleVariableOverride] - requests are only read
    boost: Annotated[list[str], Meta(max_length=MOST, description="FACTOR:CONDITION, e.g. 2:price < 50.")] = []  # pyright: ignore[reportIncompatibleVariableOverride] - requests are only read
    at_most: Annotated[list[str], Meta(max_length=MOST, description="NUMBER:COLUMN, e.g. 2:category.")] = []  # pyright: ignore[reportIncompatibleVariableOverride] - requests are only read


class SimilarParameters(Request):
    """How many similar items."""

    k: Annotated[Length, Meta(description="How many items.")] = 20
    show: Names = []


class SearchParameters(Request):
    """Which items to look for."""

    query: Annotated[str, Meta(max_length=MAX_ID, description="Part of an id or a title, in any case.")] = ""
    limit: Annotated[int, Meta(ge=1, le=1000, description="How many items at most.")] = 20


class ExplainRequest(Request):
    """A session of clicks, oldest first, and the item whose recommendation is to be explained."""

    items: Clicks
    item: ItemId
    show: Names = []


class MapRequest(Request):
    """A session of clicks, oldest first, to be placed on the map."""

    items: Clicks


class CatalogueEntry(Request):
    """What the catalogue says of an item."""

    available: Annotated[bool, Meta(description="False: out of stock, never recommended.")] = True
    like: Annotated[
        list[ItemId],
        Meta(max_length=100, description="Known items that a new item is like, until sessions have touched it."),
    ] = []
    attributes: Annotated[
        dict[Name, Any],
        Meta(max_length=100, description="Values by column of the item table, e.g. title, category, price."),
    ] = {}


def _require_ids(found: Any) -> None:
    """A check of an id, or of all ids in nested lists."""
    for one in cast("list[Any]", found) if isinstance(found, list) else [found]:
        if isinstance(one, list):
            _require_ids(one)
        elif isinstance(one, str) and not _ordinary(one):
            require_id(one)


def _ordinary(text: str) -> bool:
    """Fast check that a text needs no tidying, which holds for nearly all ids."""
    return text[0].isalnum() and text[-1].isalnum() and text not in NO_ID and len(text) <= MAX_ID


def require_id(text: str) -> str:
    """An id read as in logs; values that logs read as missing are refused, since no item or session has them."""
    tidied = tidy_text(text)
    if tidied in NO_ID:
        raise HTTPError(422, f"expected an id, found {text[:99]!r}, which means a missing id in logs")
    if len(tidied) > MAX_ID:
        raise HTTPError(422, f"expected an id of at most {MAX_ID} characters, found {len(tidied)}")
    return tidied
