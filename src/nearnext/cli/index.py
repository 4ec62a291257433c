"""The command that builds the index of a model's items."""

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from nearnext.cli.app import app
from nearnext.cli.output import console, require_extra
from nearnext.cli.parts import imports_parts

__all__ = ["index"]


@app.command()
@imports_parts
def index(
    model: Annotated[Path, typer.Argument(help="Model directory made by fit.")],
    *,
    kind: Annotated[str, typer.Option(help="auto, exact or approximate.")] = "auto",
    recall_floor: Annotated[float, typer.Option(help="Least recall@20 of an approximate index, 0 to 1.")] = 0.95,
    out: Annotated[Path | None, typer.Option(help="Directory to write to; by default the model's own.")] = None,
    threads: Annotated[int, typer.Option(help="Threads that build; with 1 it is the same index every time.")] = 1,
) -> None:
    """Build or rebuild the index of a metric model's items, measure it against exact search, and save it."""
    if kind == "approximate":
        require_extra("ann", "an approximate index")
    from nearnext.artifact import load_artifact, save_artifact
    from nearnext.indexing import reindex

    artifact = load_artifact(model)
    report = reindex(
        artifact.recommender,
        kind=kind,  # pyright: ignore[reportArgumentType] - checked there
        recall_floor=recall_floor,
        threads=threads,
    )
    written = save_artifact(artifact.recommender, out or model, {**artifact.provenance, "index": asdict(report)})
    console.print(f"[bold]{report.kind}[/bold]: {report.reason}", soft_wrap=True)
    console.print(f"{report.items:,} items of dimension {report.dim}, {report.bytes_per_item:,.0f} bytes per item")
    if report.recall is not None and report.exact and report.approximate:
        console.print(f"recall@20 {report.recall:.4f} on {report.queries}, a walk of breadth {report.breadth}")
        console.print(f"built in {report.build_seconds:.1f} s")
        for name, latency in (("exact", report.exact), ("approximate", report.approximate)):
            console.print(f"{name}: p50 {latency.p50:.2f} ms, p99 {latency.p99:.2f} ms for one query on one thread")
    console.print(f"model: {written}")
