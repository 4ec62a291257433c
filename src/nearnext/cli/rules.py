"""Options for rules on items: conditions, boosts, and limits per category."""

from typing import Annotated, Any

import typer

Rules = dict[str, Any]
"""The arguments ``where``, ``boost`` and ``at_most`` of `Recommender.recommend`."""


def rule_options(
    where: Annotated[
        str | None,
        typer.Option(help="Only items that match, e.g. \"category = 'tent' and price < 50\"; docs/items.md has all."),
    ] = None,
    boost: Annotated[
        list[str] | None,
        typer.Option(metavar="FACTOR:CONDITION", help='Move items that match up, e.g. "2:price < 50". Repeatable.'),
    ] = None,
    at_most: Annotated[
        list[str] | None,
        typer.Option(metavar="NUMBER:COLUMN", help="At most so many per value, e.g. 2:category. Repeatable."),
    ] = None,
) -> Rules:
    """Rules as given on the command line."""
    if not boost and not at_most:
        return {"where": where, "boost": None, "at_most": None}
    from nearnext.recommenders.item_rules import numbered

    return {
        "where": where,
        "boost": numbered("--boost", boost or (), float),
        "at_most": numbered("--at-most", at_most or (), int),
    }
