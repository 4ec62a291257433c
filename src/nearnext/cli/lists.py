"""Lists of items as JSON and as tables, with titles where the model has an item table."""

from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from rich.markup import escape
from rich.table import Table

from nearnext.cli.output import Results

if TYPE_CHECKING:
    from nearnext.recommenders.base import Recommender
    from nearnext.types import RawId


def titles_of(recommender: "Recommender", items: "Sequence[RawId]") -> list[str]:
    """The title of each item, empty where it has none; no titles if the model has no item table."""
    table = recommender.items
    if table is None or "title" not in table.frame.columns:
        return []
    return [title or "" for title in table.titles(items)]


def write_answers(results: Results, recommender: "Recommender", answers: Sequence[Any]) -> list[list[str]]:
    """Write answers that have ``items`` as JSON, with titles where there are any; returns the titles of each."""
    titles = [titles_of(recommender, answer.items) for answer in answers]
    results.write(
        [asdict(one) | ({"titles": shown} if shown else {}) for one, shown in zip(answers, titles, strict=True)]
    )
    return titles


def list_table(
    heading: str, items: "Sequence[RawId]", scores: Sequence[float], titles: Sequence[str], sources: Sequence[str] = ()
) -> Table:
    """A list, best first; ``sources``: what each item comes from, if that is shown."""
    columns = ["rank", "item", *(["title"] if titles else []), "score", *(["from"] if sources else [])]
    table = Table(*columns, title=heading, title_justify="left")
    for at, (item, score) in enumerate(zip(items, scores, strict=True)):
        title = [escape(titles[at])] if titles else []
        table.add_row(str(at + 1), str(item), *title, f"{score:.6g}", *sources[at : at + 1])
    return table
