"""Commands about embeddings: similar items, export as ONNX or as vectors."""

from pathlib import Path
from typing import Annotated

import typer

from nearnext.cli.app import app, imports_parts
from nearnext.cli.lists import list_table, write_answers
from nearnext.cli.options import ModelArgument
from nearnext.cli.output import JsonFile, Results, console, require_extra, writable
from nearnext.errors import ConfigError


@app.command()
@imports_parts
def similar(
    model: ModelArgument,
    items: Annotated[list[str], typer.Argument(metavar="ITEM...", help="Ids of the items.")],
    *,
    k: Annotated[int, typer.Option("--k", help="How many items.")] = 10,
    json: JsonFile = None,
) -> None:
    """Items most similar to an item: nearest in the metric space, or clicked in the same training sessions."""
    if not all(map(str.strip, items)):
        raise ConfigError("expected the ids of items, found an empty one; give for example: nearnext similar MODEL a b")
    results = Results(json)
    from nearnext.artifact import load_artifact

    recommender = load_artifact(model).recommender
    answers = recommender.similar(items, k)
    titles = write_answers(results, recommender, answers)
    if results.printed:
        return
    for item, answer, shown in zip(items, answers, titles, strict=True):
        console.print(list_table(f"like {item}", answer.items, answer.scores, shown))
        if answer.shortage:
            console.print(answer.shortage, markup=False)
    results.announce()


@app.command()
@imports_parts
def export(
    model: ModelArgument,
    *,
    onnx: Annotated[
        Path | None, typer.Option(help="ONNX file of the session encoder; its items and description go next to it.")
    ] = None,
    vectors: Annotated[
        Path | None, typer.Option(help="Parquet file of the item embeddings: item_id, vector, clicks.")
    ] = None,
    tolerance: Annotated[float, typer.Option(help="Largest difference allowed in any dimension, with --onnx.")] = 1e-5,
) -> None:
    """Export a metric model: the session encoder as verified ONNX, the item embeddings for a vector database."""
    if onnx is None and vectors is None:
        raise ConfigError("nothing to export: name a file with --onnx, --vectors or both")
    if onnx is not None:
        require_extra("onnx", "export")
    if vectors is not None and vectors.suffix.lower() != ".parquet":
        raise ConfigError(f"--vectors {vectors}: the vectors are written as Parquet; name a file that ends in .parquet")
    writable(onnx, vectors)
    if vectors is not None:
        _export_vectors(model, vectors)
    if onnx is not None:
        _export_encoder(model, onnx, tolerance)


def _export_vectors(model: Path, file: Path) -> None:
    from nearnext.artifact import load_artifact
    from nearnext.atomic import whole_file
    from nearnext.recommenders.space import embedded, space_of

    recommender = load_artifact(model).recommender
    frame = embedded(recommender).item_vectors()
    space = space_of(recommender)
    distance = "" if space is None else space.distance
    with whole_file(file) as unfinished:
        frame.write_parquet(unfinished)
    dimension = frame["vector"].dtype.shape[0]  # type: ignore[attr-defined]
    console.print(f"{len(frame):,} items, {dimension} dimensions, {distance} distance: {file}", soft_wrap=True)
    if getattr(recommender, "reranker", None) is not None:
        text = f"{recommender.name} re-ranks the nearest items; search by these vectors alone is less accurate"
        console.print(text, style="yellow", soft_wrap=True)


def _export_encoder(model: Path, file: Path, tolerance: float) -> None:
    from nearnext.artifact import load_artifact
    from nearnext.portable.encoder import encoder_latency, export_encoder

    artifact = load_artifact(model)
    done = export_encoder(artifact.recommender, artifact.manifest, file, tolerance=tolerance)
    console.print(f"graph: {done.file}")
    console.print(f"items: {done.items}")
    console.print(f"description: {done.description}")
    console.print(
        f"largest difference from the model on {done.sessions} random sessions of every length: "
        f"{done.max_difference:.2g} (tolerance {tolerance:g})",
        soft_wrap=True,
    )
    latency = encoder_latency(artifact.recommender, done.file)
    console.print(
        f"one session, median on one thread: onnxruntime {latency.onnx:.0f} µs, the model {latency.model:.0f} µs",
        soft_wrap=True,
    )
