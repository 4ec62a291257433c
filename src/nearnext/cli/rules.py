"""Options for rules on items: conditions, boosts, and limits per category."""

from typing import Annotated, Any

import typer

Rules = dict[str, Any]
"""The arguments of `ItemRules.parse`."""


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
    """Rules as texts."""
    return {"where": where, "boost": tuple(boost or ()), "at_most": tuple(at_most or ())}


def rule_arguments(given: Rules) -> dict[str, Any]:
    """The same as arguments of `Recommender.recommend`."""
    from nearnext.recommenders.item_rules import numbered

    return {
        "where": given["where"],
        "boost": numbered("--boost", given["boost"], float),
        "at_most": numbered("--at-most", given["at_most"], int),
    }
