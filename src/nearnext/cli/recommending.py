"""Commands that ask a saved model: recommend, similar, export."""

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table

from nearnext.cli.app import JsonSwitch, app, ids, imports_parts, takes, within
from nearnext.cli.engine import Engine, runs_parts
from nearnext.cli.options import ModelArgument, Rules, Threads, rule_arguments, rule_options
from nearnext.cli.output import JsonFile, Results, console, require_extra, writable
from nearnext.cli.reading import Reading, read_log, reads_logs, require_logs
from nearnext.errors import ConfigError
from nearnext.options import Count, NonNegative
from nearnext.shown import shortened

if TYPE_CHECKING:
    from nearnext.recommenders.base import Recommender
    from nearnext.recommenders.ranking import Recommendation
    from nearnext.types import RawId


@app.command(cls=JsonSwitch)
@imports_parts
@reads_logs
@runs_parts
@takes("given", rule_options)
def recommend(
    model: ModelArgument,
    *,
    session: Annotated[list[str] | None, typer.Option(help="Item ids, oldest first: a,b,c. Repeatable.")] = None,
    log: Annotated[
        str | None, typer.Option(help="Recommend after every session of this click log instead; needs --out.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="Parquet file for the lists: session_id, items, scores, sources, own, unknown.")
    ] = None,
    k: Annotated[int, typer.Option("--k", callback=within(Count), help="How many items.")] = 20,
    exclude: Annotated[str, typer.Option(help="Item ids never to recommend: a,b,c.")] = "",
    allow: Annotated[str | None, typer.Option(help="Recommend only these item ids: a,b,c.")] = None,
    exclude_seen: Annotated[bool, typer.Option("--exclude-seen", help="Leave out items of the session.")] = False,
    given: Rules,
    after: Annotated[
        str | None,
        typer.Option(
            metavar="EVENT",
            help="Type of each session's last event, e.g. purchase: leave out the last item's category if sessions "
            "leave it after such an event. With --log, sessions that end with another event keep it.",
        ),
    ] = None,
    threads: Threads = 0,
    json: JsonFile = None,
    engine: Engine,
    reading: Reading,
) -> None:
    """Next items for sessions of item ids, or for all sessions of a log."""
    from nearnext.manifest import require_model
    from nearnext.recommenders.item_rules import ItemRules

    limits: dict[str, Any] = {
        "exclude": ids(exclude, "--exclude"),
        "allow": ids(allow, "--allow") if allow is not None else None,
        "exclude_seen": exclude_seen,
    }
    if log is None:
        if out is not None or not session:
            raise ConfigError("expected --session a,b,c or --log LOG --out lists.parquet; give one of them")
        rules: dict[str, Any] = rule_arguments(given) | {"after": after}
        sessions = [ids(text, "--session") for text in session]
        headings = [f"after {text or 'nothing'}" for text in session]
        results = Results(json)
        require_model(model, ItemRules.of(**rules))
        from nearnext.artifact import load_artifact

        recommender = load_artifact(model).recommender
        answers = recommender.recommend(sessions, k, **limits, **rules)
        _show(results, recommender, headings, answers, sources=True)
        return
    if out is None or session or json is not None:
        raise ConfigError("--log needs --out, e.g. --out lists.parquet, and cannot be used with --session or --json")
    _require_parquet("--out", out)
    writable(out)
    asked_rules = ItemRules.of(**rule_arguments(given), after=after)
    require_model(model, asked_rules)
    engine = engine.for_log(log)
    require_logs(log)
    from nearnext.artifact import load_artifact
    from nearnext.recommenders.batch import batch_request, write_lists

    recommender = load_artifact(model).recommender
    # what cannot be asked for is refused before a long log is read
    asked = batch_request(recommender, k, **limits, rules=asked_rules, threads=threads or None)
    sessions, _ = read_log(log, reading)
    with engine.executor(default=1) as executor:
        written = write_lists(recommender, sessions, out, asked, executor)
    console.print(f"{written:,} lists of {recommender.name}: {out}")


def _show(
    results: Results, recommender: "Recommender", headings: list[str], answers: "list[Recommendation]", *, sources: bool
) -> None:
    """Write and print lists, with titles where there are any, and what each item comes from if that is shown."""
    titles = [titles_of(recommender, answer.items) for answer in answers]
    results.write(
        [asdict(one) | ({"titles": shown} if shown else {}) for one, shown in zip(answers, titles, strict=True)]
    )
    if results.printed:
        return
    names = {"model": recommender.name, "popular": "popularity"}
    for heading, answer, shown in zip(headings, answers, titles, strict=True):
        columns = ["rank", "item", *(["title"] if shown else []), "score", *(["from"] if sources else [])]
        table = Table(*columns, title=heading, title_justify="left")
        for at, (item, score) in enumerate(zip(answer.items, answer.scores, strict=True)):
            title = [shortened(shown[at])] if shown else []
            source = [names.get(answer.sources[at], answer.sources[at])] if sources else []
            table.add_row(str(at + 1), str(item), *title, f"{score:.6g}", *source)
        console.print(table)
        if sources and answer.unknown:
            console.print(f"ignored, because training never saw them: {', '.join(map(str, answer.unknown))}")
        if answer.unmatched:
            console.print(f"no such items to exclude or allow: {', '.join(map(str, answer.unmatched))}")
        if answer.shortage:
            console.print(answer.shortage)
    results.announce()


@app.command()
@imports_parts
def similar(
    model: ModelArgument,
    items: Annotated[list[str], typer.Argument(metavar="ITEM...", help="Ids of the items.")],
    *,
    k: Annotated[int, typer.Option("--k", callback=within(Count), help="How many items.")] = 10,
    json: JsonFile = None,
) -> None:
    """Items most similar to an item: nearest in the metric space, or clicked in the same training sessions."""
    if not all(map(str.strip, items)):
        raise ConfigError("expected the ids of items, found an empty one; give for example: nearnext similar MODEL a b")
    results = Results(json)
    from nearnext.artifact import load_artifact

    recommender = load_artifact(model).recommender
    _show(results, recommender, [f"like {item}" for item in items], recommender.similar(items, k), sources=False)


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
    tolerance: Annotated[
        float,
        typer.Option(callback=within(NonNegative), help="Largest difference allowed in any dimension, with --onnx."),
    ] = 1e-5,
) -> None:
    """Export a metric model: the session encoder as verified ONNX, the item embeddings for a vector database."""
    if onnx is None and vectors is None:
        raise ConfigError("nothing to export: name a file with --onnx, --vectors or both")
    if onnx is not None:
        require_extra("onnx", "export")
    if vectors is not None:
        _require_parquet("--vectors", vectors)
    if onnx is not None and vectors in (onnx, onnx.with_suffix(".items.parquet")):
        raise ConfigError(f"--vectors {vectors}: --onnx {onnx} writes this file too; choose another name")
    writable(onnx, vectors, *(onnx.with_suffix(suffix) for suffix in (".items.parquet", ".json") if onnx is not None))
    if vectors is not None:
        _export_vectors(model, vectors)
    if onnx is not None:
        _export_encoder(model, onnx, tolerance)


def _require_parquet(option: str, path: Path) -> None:
    if path.suffix.lower() != ".parquet":
        raise ConfigError(f"{option} {path}: it is written as Parquet; name a file that ends in .parquet")


def _export_vectors(model: Path, file: Path) -> None:
    from nearnext.artifact import load_artifact
    from nearnext.atomic import whole_file
    from nearnext.recommenders.space import learned_space

    recommender = load_artifact(model).recommender
    frame, distance = recommender.item_vectors(), learned_space(recommender).distance
    with whole_file(file) as unfinished:
        frame.write_parquet(unfinished)
    dimension = frame["vector"].dtype.shape[0]  # type: ignore[attr-defined]
    console.print(f"{len(frame):,} items, {dimension} dimensions, {distance} distance: {file}")
    if getattr(recommender, "reranker", None) is not None:
        text = f"{recommender.name} re-ranks the nearest items; search by these vectors alone is less accurate"
        console.print(text, style="yellow")


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
        f"{done.max_difference:.2g} (tolerance {tolerance:g})"
    )
    latency = encoder_latency(artifact.recommender, done.file)
    console.print(
        f"one session, median on one thread: onnxruntime {latency.onnx:.0f} µs, the model {latency.model:.0f} µs"
    )


def titles_of(recommender: "Recommender", items: "Sequence[RawId]") -> list[str]:
    """The title of each item, empty where it has none; no titles if the model has no item table."""
    table = recommender.items
    if table is None or "title" not in table.frame.columns:
        return []
    return [title or "" for title in table.titles(items)]
