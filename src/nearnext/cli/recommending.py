"""The command recommend: lists for sessions on the command line, or for every session of a log."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from nearnext.cli.app import app, ids, imports_parts, takes
from nearnext.cli.engine import Engine, runs_parts
from nearnext.cli.lists import list_table, write_answers
from nearnext.cli.options import ModelArgument, Threads
from nearnext.cli.output import JsonFile, JsonSwitch, Results, console, writable
from nearnext.cli.reading import Reading, read_log, reads_logs
from nearnext.cli.rules import Rules, rule_arguments, rule_options
from nearnext.errors import ConfigError

if TYPE_CHECKING:
    from nearnext.recommenders.ranking import Recommendation


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
    k: Annotated[int, typer.Option("--k", help="How many items.")] = 20,
    exclude: Annotated[str, typer.Option(help="Item ids never to recommend: a,b,c.")] = "",
    allow: Annotated[str | None, typer.Option(help="Recommend only these item ids: a,b,c.")] = None,
    exclude_seen: Annotated[bool, typer.Option("--exclude-seen", help="Leave out items of the session.")] = False,
    given: Rules,
    threads: Threads = 0,
    json: JsonFile = None,
    engine: Engine,
    reading: Reading,
) -> None:
    """Next items for sessions of item ids, or for all sessions of a log."""
    limits: dict[str, Any] = {
        "exclude": ids(exclude, "--exclude"),
        "allow": ids(allow, "--allow") if allow is not None else None,
        "exclude_seen": exclude_seen,
    }
    if log is None:
        if out is not None or not session:
            raise ConfigError("expected --session a,b,c or --log LOG --out lists.parquet; give one of them")
        _recommend_sessions(model, session, k, limits | rule_arguments(given), json)
        return
    if out is None or session or json is not None:
        raise ConfigError("--log needs --out, e.g. --out lists.parquet, and cannot be used with --session or --json")
    writable(out)
    from nearnext.artifact import load_artifact
    from nearnext.recommenders.batch import write_lists
    from nearnext.recommenders.item_rules import ItemRules

    recommender = load_artifact(model).recommender
    sessions, _ = read_log(log, reading)
    rules = ItemRules.of(**rule_arguments(given))
    with engine.executor(default=1) as executor:
        written = write_lists(
            recommender, sessions, out, k, rules=rules, threads=threads or None, executor=executor, **limits
        )
    console.print(f"{written:,} lists of {recommender.name}: {out}", soft_wrap=True)


def _recommend_sessions(model: Path, session: list[str], k: int, limits: dict[str, Any], json: Path | None) -> None:
    results = Results(json)
    from nearnext.artifact import load_artifact

    recommender = load_artifact(model).recommender
    answers = recommender.recommend([ids(text, "--session") for text in session], k, **limits)
    titles = write_answers(results, recommender, answers)
    if results.printed:
        return
    for text, answer, shown in zip(session, answers, titles, strict=True):
        _print_list(text, answer, shown, recommender.name)
    results.announce()


def _print_list(text: str, answer: "Recommendation", titles: list[str], method: str) -> None:
    names = {"model": method, "popular": "popularity"}
    sources = [names.get(source, source) for source in answer.sources]
    console.print(list_table(f"after {text or 'nothing'}", answer.items, answer.scores, titles, sources))
    if answer.unknown:
        console.print(f"ignored, because training never saw them: {', '.join(map(str, answer.unknown))}")
    if answer.unmatched:
        console.print(f"no such items to exclude or allow: {', '.join(map(str, answer.unmatched))}", markup=False)
    if answer.shortage:
        console.print(answer.shortage)
