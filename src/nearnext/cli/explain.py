"""The command that says why an item is recommended."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape
from rich.table import Table

from nearnext.cli.app import app, ids
from nearnext.cli.output import JsonFile, JsonSwitch, Results, console
from nearnext.cli.parts import imports_parts

if TYPE_CHECKING:
    from nearnext.explanation import Evidence, Explanation, Pull
    from nearnext.types import RawId

__all__ = ["explain"]


@app.command(cls=JsonSwitch)
@imports_parts
def explain(
    model: Annotated[Path, typer.Argument(help="Model directory made by fit.")],
    *,
    session: Annotated[str, typer.Option(help="Item ids, oldest first: a,b,c.")],
    item: Annotated[str, typer.Option(help="Item id to explain.")],
    k: Annotated[int, typer.Option("--k", help="How many similar items and training sessions.")] = 5,
    json: JsonFile = None,
) -> None:
    """Why an item is recommended: the clicks that pulled it, items like it, training sessions like this one."""
    results = Results(json)
    from nearnext.artifact import load_artifact
    from nearnext.explanation import explain as explanation_of

    why = explanation_of(load_artifact(model).recommender, ids(session), item, n=k)
    results.write(why.as_dict())
    if not results.printed:
        _print(why)
        results.announce()


def _print(why: "Explanation") -> None:
    _print_place(why)
    if why.clicks:
        console.print("what each click does for the score:", _clicks_table(why.clicks))
    if why.similar:
        console.print("items most like it:", _similar_table(why.similar))
    if why.evidence is not None:
        found = f"{why.evidence.containing:,} of the {why.evidence.nearest:,} nearest training sessions clicked it:"
        console.print(found, _sessions_table(why.evidence, why.item))
    if why.unknown:
        ignored = ", ".join(map(_shown, why.unknown))
        console.print(f"ignored, because training never saw them: {ignored}", soft_wrap=True)
    for part, reason in why.left_out.items():
        console.print(f"no {part}: {escape(reason)}", style="dim", soft_wrap=True)


def _print_place(why: "Explanation") -> None:
    rank = "none of the first 1,000 places" if why.rank is None else f"rank {why.rank:,}"
    score = "" if why.score is None else f", score {why.score:.6g}"
    console.print(
        f"[bold]{_shown(why.item)}[/bold] by {why.method}: {rank}{score}; {why.popularity:,} clicks in training, "
        f"number {why.popularity_rank:,} by popularity",
        soft_wrap=True,
    )


def _clicks_table(clicks: "Sequence[Pull]") -> Table:
    table = Table("click", "item", "effect", "score without it", "rank without it")
    for click in clicks:
        table.add_row(
            str(click.position),
            _shown(click.item),
            "" if click.effect is None else f"{click.effect:+.6g}",
            "none" if click.without is None else f"{click.without:.6g}",
            "" if click.rank_without is None else f"{click.rank_without:,}",
        )
    return table


def _similar_table(similar: "Sequence[tuple[RawId, float]]") -> Table:
    table = Table("item", "score")
    for item, score in similar:
        table.add_row(_shown(item), f"{score:.6g}")
    return table


def _sessions_table(evidence: "Evidence", item: "RawId") -> Table:
    table = Table("session", "distance", "shared items", "clicks")
    for near in evidence.sessions:
        shown = [f"[bold]{_shown(clicked)}[/bold]" if clicked == item else _shown(clicked) for clicked in near.items]
        name = "" if near.id is None else _shown(near.id)
        table.add_row(name, f"{near.distance:.4f}", str(near.overlap), " ".join(shown))
    return table


def _shown(raw: "RawId") -> str:
    return escape(str(raw))
