"""Commands about methods and saved models: options, explain, index, warm."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from nearnext.cli.app import JsonSwitch, app, ids, imports_parts, takes, within
from nearnext.cli.options import ModelArgument
from nearnext.cli.output import JsonFile, Results, console, require_extra, writable_folder
from nearnext.cli.recommending import titles_of
from nearnext.errors import ConfigError
from nearnext.options import Count, Probability
from nearnext.recommenders.named import BASELINES, DEFAULTS, canonical_name, make_recommender, method_options
from nearnext.shown import shortened, text

if TYPE_CHECKING:
    from nearnext.explanation import Evidence, Explanation, Pull
    from nearnext.types import RawId


IndexKind = Literal["auto", "exact", "approximate"]

OPTION_HEADINGS = ("option", "values", "default", "tuning tries", "what")


def option_facts(method: str) -> list[dict[str, Any]]:
    """The options of a method as plain data."""
    defaults = make_recommender(method).params()
    return [
        {
            "option": name,
            "values": str(option),
            "default": defaults.get(name, option.default if option.has_default else None),
            "search": str(option.search) if option.search is not None else None,
            "searched_where": {key: list(values) for key, values in option.search.where.items()}
            if option.search is not None
            else {},
            "help": option.help,
        }
        for name, option in method_options(method).items()
    ]


def option_row(facts: Mapping[str, Any]) -> tuple[str, ...]:
    """The texts of one option under `OPTION_HEADINGS`."""
    where = "".join(f"; {name} {', '.join(map(str, values))}" for name, values in facts["searched_where"].items())
    default = '""' if facts["default"] in ("", [], ()) else text(facts["default"])
    return facts["option"], facts["values"], default, (facts["search"] or "") + where, facts["help"].replace("`", "")


@app.command("options")
@imports_parts
@takes("results", Results, "json")
def list_options(
    method: Annotated[str, typer.Argument(metavar="METHOD", help="Method, e.g. vsknn or sml-gru-ncas.")],
    *,
    results: Results,
) -> None:
    """The options of a method: what each may be, its default, what tuning tries, and what it is for."""
    from nearnext.report.tables import framed

    facts = option_facts(method)
    results.write({"method": canonical_name(method), "options": facts})
    if not facts:
        console.print(f"{canonical_name(method)} has no options")
    table = framed()
    for heading in OPTION_HEADINGS:
        table.add_column(heading, overflow="fold", no_wrap=heading == "option")
    for each in facts:
        table.add_row(*map(Text, option_row(each)))
    if facts:
        console.print(table)
    results.announce()


@app.command(cls=JsonSwitch)
@imports_parts
def explain(
    model: ModelArgument,
    *,
    session: Annotated[str, typer.Option(help="Item ids, oldest first: a,b,c.")],
    item: Annotated[str, typer.Option(help="Item id to explain.")],
    k: Annotated[
        int, typer.Option("--k", callback=within(Count), help="How many similar items and training sessions.")
    ] = 5,
    json: JsonFile = None,
) -> None:
    """Why an item is recommended: the clicks that pulled it, items like it, training sessions like this one."""
    results = Results(json)
    clicked = ids(session, "--session")
    if not clicked:
        raise ConfigError(f"expected item ids as --session, found {session!r}; give for example --session a,b,c")
    from nearnext.artifact import load_artifact
    from nearnext.explanation import explain as explanation_of

    recommender = load_artifact(model).recommender
    why = explanation_of(recommender, clicked, item, n=k)
    named = [why.item, *(click.item for click in why.clicks), *(found for found, _ in why.similar)]
    titles = dict(zip(named, titles_of(recommender, named), strict=False))
    results.write(why.as_dict() | ({"titles": {str(item): title for item, title in titles.items()}} if titles else {}))
    if not results.printed:
        _print(why, titles)
        results.announce()


def _print(why: "Explanation", titles: "Mapping[RawId, str]") -> None:
    _print_place(why, titles)
    if why.clicks:
        console.print("contribution of each click to the score:", _clicks_table(why.clicks, titles))
    if why.similar:
        similar = Table("item", "score")
        for item, score in why.similar:
            similar.add_row(_shown(item, titles), f"{score:.6g}")
        console.print("most similar items:", similar)
    if why.evidence is not None:
        found = f"{why.evidence.containing:,} of the {why.evidence.nearest:,} nearest training sessions clicked it:"
        console.print(found, _sessions_table(why.evidence, why.item))
    if why.unknown:
        ignored = ", ".join(map(_shown, why.unknown))
        console.print(f"ignored, because training never saw them: {ignored}")
    for part, reason in why.left_out.items():
        console.print(f"no {part}: {reason}", style="dim")


def _print_place(why: "Explanation", titles: "Mapping[RawId, str]") -> None:
    rank = "not among the first 1,000" if why.rank is None else f"rank {why.rank:,}"
    score = "" if why.score is None else f", score {why.score:.6g}"
    console.print(
        f"[bold]{escape(_shown(why.item, titles))}[/bold] by {why.method}: {rank}{score}; {why.popularity:,} clicks in "
        f"training, number {why.popularity_rank:,} by popularity",
        markup=True,
    )


def _clicks_table(clicks: "Sequence[Pull]", titles: "Mapping[RawId, str]") -> Table:
    table = Table("click", "item", "effect", "score without it", "rank without it")
    for click in clicks:
        table.add_row(
            str(click.position),
            _shown(click.item, titles),
            "" if click.effect is None else f"{click.effect:+.6g}",
            "none" if click.without is None else f"{click.without:.6g}",
            "" if click.rank_without is None else f"{click.rank_without:,}",
        )
    return table


def _sessions_table(evidence: "Evidence", item: "RawId") -> Table:
    by_similarity = any(near.similarity is not None for near in evidence.sessions)
    table = Table("session", "similarity" if by_similarity else "distance", "shared items", "clicks")
    for near in evidence.sessions:
        shown = Text(" ").join(Text(_shown(clicked), "bold" if clicked == item else "") for clicked in near.items)
        name = "" if near.id is None else _shown(near.id)
        nearness = near.distance if near.similarity is None else near.similarity
        table.add_row(name, f"{nearness:.4f}", str(near.overlap), shown)
    return table


def _shown(raw: "RawId", titles: "Mapping[RawId, str] | None" = None) -> str:
    title = (titles or {}).get(raw)
    return f"{raw} ({shortened(title)})" if title else str(raw)


@app.command()
@imports_parts
def index(
    model: ModelArgument,
    *,
    kind: Annotated[
        str, typer.Option(callback=within(IndexKind, "kind of index"), help="auto, exact or approximate.")
    ] = "auto",
    recall_floor: Annotated[
        float, typer.Option(callback=within(Probability), help="Least recall@20 of an approximate index, 0 to 1.")
    ] = 0.95,
    out: Annotated[Path | None, typer.Option(help="Directory to write to; by default the model's own.")] = None,
    threads: Annotated[
        int, typer.Option(callback=within(Count), help="Threads that build; with 1 it is the same index every time.")
    ] = 1,
) -> None:
    """Build or rebuild the index of a metric model's items, measure it against exact search, and save it."""
    if kind == "approximate":
        require_extra("ann", "an approximate index")
    target = out or model
    writable_folder(target.absolute().parent, target)
    from nearnext.artifact import load_artifact, save_artifact
    from nearnext.recommenders.space import learned_space

    artifact = load_artifact(model)
    learned_space(artifact.recommender)  # before torch is needed
    from nearnext.indexing import reindex

    report = reindex(
        artifact.recommender,
        kind=kind,  # pyright: ignore[reportArgumentType] - checked there
        recall_floor=recall_floor,
        threads=threads,
    )
    written = save_artifact(artifact.recommender, target, {**artifact.provenance, "index": asdict(report)})
    console.print(f"[bold]{report.kind}[/bold]: {report.reason}", markup=True)
    console.print(f"{report.items:,} items of dimension {report.dim}, {report.bytes_per_item:,.0f} bytes per item")
    if report.recall is not None and report.exact and report.approximate:
        console.print(f"recall@20 {report.recall:.4f} on {report.queries}, search width {report.ef_search}")
        console.print(f"built in {report.build_seconds:.1f} s")
        for name, latency in (("exact", report.exact), ("approximate", report.approximate)):
            console.print(f"{name}: p50 {latency.p50:.2f} ms, p99 {latency.p99:.2f} ms for one query on one thread")
    console.print(f"model: {written}")


@app.command()
def push(
    model: ModelArgument,
    repo: Annotated[str, typer.Argument(metavar="REPO", help="NAME or OWNER/NAME of a model repository.")],
    *,
    public: Annotated[
        bool, typer.Option("--public", help="Make a repository that this creates public; default: private.")
    ] = False,
) -> None:
    """Upload a model and its card to a Hugging Face hub, at HF_ENDPOINT; it holds the sessions kept by --remember."""
    from nearnext.hub import push as upload

    console.print(f"model: {upload(model, repo, public=public)}")


@app.command()
def pull(
    repo: Annotated[str, typer.Argument(metavar="REPO", help="OWNER/NAME of a model repository.")],
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="Directory to write the model to.")],
    *,
    revision: Annotated[str | None, typer.Option(help="Branch, tag or commit; default: the newest.")] = None,
) -> None:
    """Download a model from a Hugging Face hub, at HF_ENDPOINT, and verify it."""
    from nearnext.hub import pull as download

    writable_folder(folder.absolute().parent, folder)
    console.print(f"model: {download(repo, folder, revision=revision)}")


METRIC: dict[str, object] = {
    "dim": 8,
    "epochs": 1,
    "negatives": 16,
    "hidden": 4,
    "reranker_steps": 5,
    "reranker_prefixes": 100,
}

TRAINED: dict[str, dict[str, object]] = {
    **dict.fromkeys(DEFAULTS, METRIC),
    "gru4rec": {"epochs": 1, "layers": "8", "batch_size": 16},
    "sml-gru-ncas": {"epochs": 1, "dim": 8, "hidden": 8},
}
"""Methods, and options that make them small: the compiled code is the same."""


def _list_candidates() -> None:
    """Compile what `metric` ranks with only when votes help, and what `serve` finds new items with."""
    import numpy as np

    from nearnext.recommenders.metric.candidates import best_candidates, followed_by
    from nearnext.recommenders.metric.features import Lists
    from nearnext.topk import best_scored

    near = Lists(np.ones((1, 1), np.int32), np.ones((1, 1), np.float32))
    items, scores = np.zeros((1, 2), np.int32), np.zeros((1, 2), np.float32)
    own = best_candidates(np.array([0, 1]), near.items[0], near.scores[0], items, scores)
    followed_by(near, own, items, scores, 1.0)
    best_scored(near.items[0], 1, np.zeros(2), items[0], scores[0])


@app.command()
def warm() -> None:
    """Compile what compare, fit, serve and explain need, once: for a container image, or after an installation."""
    from nearnext.data.sessionise import read_sessions
    from nearnext.data.splits import split_last
    from nearnext.data.synthetic import SyntheticShop, generate
    from nearnext.evaluation.protocol import evaluate
    from nearnext.explanation import explain
    from nearnext.progress import track

    begin = time.perf_counter()
    trains = find_spec("torch") is not None
    methods = {**{name: {} for name in BASELINES}, **(TRAINED if trains else {})}
    split = split_last(read_sessions(generate(SyntheticShop(sessions=400, items=60, categories=3))), fraction=0.1)
    items = split.train.vocabulary.ids.head(2).to_list()
    with track("compiling", len(methods), "methods") as advance:
        for name, options in methods.items():
            recommender = make_recommender(name, options).fit(split.train)
            recommender.remember(split.train)
            evaluate(recommender, split.test, k=(5, 20))
            recommender.recommend([items, []], k=2, exclude_seen=True)
            explain(recommender, items[:1], items[1])
            make_recommender(name, recommender.params()).restore(recommender.vocabulary, recommender.state())
            advance(1)
        if trains:
            _list_candidates()
    console.print(f"compiled code of {len(methods)} methods is ready, after {time.perf_counter() - begin:.0f} s")
