"""Commands about methods: compare, fit, evaluate, recommend."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.markup import escape
from rich.table import Table

from nearnext.cli.app import (
    FilterMode,
    LogArgument,
    MaxLength,
    MinLength,
    MinSupport,
    Reading,
    app,
    command_line,
    ids,
    make_filter,
    pairs,
    print_warnings,
    read_log,
    read_test_log,
    reads_logs,
    takes,
)
from nearnext.cli.options import (
    Config,
    Cutoffs,
    OwnConfig,
    OwnSettings,
    Settings,
    Threads,
    TunedOptions,
    Unknown,
    cutoff_numbers,
    method_names,
    method_options,
    method_settings,
    own_options,
    tuned_options,
)
from nearnext.cli.output import JsonFile, JsonSwitch, Results, console, json_file, result_files
from nearnext.cli.parts import imports_parts
from nearnext.errors import ConfigError
from nearnext.recommenders.named import BASELINES


@app.command()
@imports_parts
@reads_logs
@takes("tuning", tuned_options)
@takes("results", result_files)
def compare(
    log: LogArgument,
    *,
    test: Annotated[str | None, typer.Option(help="Test log; LOG is then the training log.")] = None,
    methods: Annotated[
        str, typer.Option(help=f"Methods to compare; default: {', '.join(BASELINES)}.", show_default=False)
    ] = ",".join(BASELINES),
    split: Annotated[
        str, typer.Option(help="last:FRACTION, days:N, windows:N, or authors:SEED, which looks into the future.")
    ] = "last:0.1",
    unknown: Unknown = "miss",
    k: Cutoffs = "5,10,20",
    settings: Settings = None,
    config: Config = None,
    min_length: MinLength = 2,
    min_support: MinSupport = 1,
    filter_mode: FilterMode = "paper",
    max_length: MaxLength = 1000,
    seed: Annotated[int, typer.Option(help="Seed of the bootstrap and of tuning.")] = 7,
    replicates: Annotated[int, typer.Option(help="Resamplings of the bootstrap.")] = 2000,
    threads: Threads = 0,
    results: Results,
    tuning: TunedOptions,
    reading: Reading,
) -> None:
    """Fit, time and evaluate every method on the same cases, with intervals, significance and a leak audit."""
    from nearnext.data.repeats import repeat_notes
    from nearnext.evaluation.metrics import METRIC_DEFINITIONS
    from nearnext.experiments.compare import Comparison
    from nearnext.experiments.compare import compare as run_comparison
    from nearnext.experiments.plan import SplitPlan
    from nearnext.report.html import comparison_page

    chosen = make_filter(filter_mode, min_length, min_support, max_length)
    names = method_names(methods)
    comparison = Comparison(
        methods=names,
        options=method_options(config, settings, names),
        plan=SplitPlan.parse(split, chosen=chosen, unknown=unknown),  # type: ignore[arg-type]
        ks=cutoff_numbers(k),
        seed=seed,
        replicates=replicates,
        threads=threads or None,
        tuning=replace(tuning, seed=seed) if tuning is not None else None,
        held={name: tuple(values) for name, values in method_settings(settings).items()},
    )
    print_warnings(comparison.plan.warnings if test is None else [])
    sessions, event_log = read_log(log, reading, show=test is None)
    readings = [asdict(event_log.report)]
    test_sessions = None
    if test is not None:
        test_sessions, test_log = read_test_log(test, reading, sessions, [event_log])
        readings.append(asdict(test_log.report))
    result = run_comparison(sessions, test_sessions, comparison, reading=readings, command=command_line())
    results.write(result, lambda: comparison_page(result, METRIC_DEFINITIONS))
    _print_comparison(result, comparison.ks[-1], printed=repeat_notes(readings))
    results.announce()


def _print_comparison(result: Mapping[str, Any], k: int, printed: Sequence[str]) -> None:
    from nearnext.report.comparison import finding
    from nearnext.report.tables import comparison_table, tuning_table

    protocol, data, audit = result["protocol"], result["data"], result["audit"]
    print_warnings([line for line in result["warnings"] if line not in printed])
    console.print(
        f"[bold]{protocol['cases']:,} cases[/bold] in {data['test']['sessions']:,} test sessions from "
        f"{data['test']['first']}; {data['train']['sessions']:,} training sessions with {data['train']['items']:,} "
        f"items; {data['unknown_test_clicks']:,} test clicks on items that training lacks ({protocol['unknown']})",
        soft_wrap=True,
    )
    console.print(comparison_table(result, k, width=console.width))
    console.print(
        "[bold]each method's own lists[/bold], not filled from popularity where they are short", soft_wrap=True
    )
    console.print(comparison_table(result, k, width=console.width, lists="unfilled_metrics"))
    for found in finding(result, k):
        console.print(f"{found.claim} {found.lead}".strip(), markup=False, highlight=False, soft_wrap=True)
    if any(method.get("tuning") for method in result["methods"]):
        console.print(f"[bold]tuning[/bold]: {protocol['tuning']}", soft_wrap=True)
        console.print(tuning_table(result))
    print_audit(audit)
    console.print(f"{protocol['duration_seconds']:.1f} s for fitting and evaluating", style="dim")


def print_audit(audit: Mapping[str, Any]) -> None:
    """The verdict of a leak audit, and each check that failed."""
    if audit["passed"]:
        skipped = [check["name"] for check in audit["checks"] if not check.get("tried", True)]
        text = f"[green]leak audit passed[/green]: {len(audit['checks']) - len(skipped)} checks with planted sessions"
        console.print(text + (f"; not tried: {escape(', '.join(skipped))}" if skipped else ""), soft_wrap=True)
    for check in audit["checks"]:
        if not check["passed"]:
            text = f"[red]leak audit: not clean[/red]: {escape(check['name'])}: {escape(check['detail'])}"
            console.print(text, soft_wrap=True)


@app.command()
@imports_parts
@reads_logs
def fit(
    log: LogArgument,
    *,
    out: Annotated[
        Path | None, typer.Option(help="Directory to write the model to; needed unless --dry-run is given.")
    ] = None,
    method: Annotated[str, typer.Option(help="Method to fit.")] = "metric",
    settings: OwnSettings = None,
    config: OwnConfig = None,
    preset: Annotated[
        str | None,
        typer.Option(help="Options of a metric model by name: tuned (default), paper, authors or quick."),
    ] = None,
    seed: Annotated[int | None, typer.Option(help="Seed of a method that draws at random.")] = None,
    run: Annotated[Path | None, typer.Option(help="Directory for checkpoints and logs of the training.")] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on from the checkpoint in the run directory.")] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what the fit would take, memory and time among it; write nothing.")
    ] = False,
    remember: Annotated[
        int | None, typer.Option(help="Most recent sessions kept to explain by; 0: none.", show_default="100000")
    ] = None,
    keep_session_ids: Annotated[
        bool, typer.Option("--keep-session-ids", help="Keep the raw ids of these sessions, for explain; else numbers.")
    ] = False,
    min_length: MinLength = 2,
    min_support: MinSupport = 1,
    filter_mode: FilterMode = "paper",
    max_length: MaxLength = 1000,
    reading: Reading,
) -> None:
    """Fit one method on a whole log and save it as a model directory."""
    from nearnext.cli.saving import announce_replacement, save
    from nearnext.experiments.single import fit_model, size_model
    from nearnext.recommenders.named import make_recommender
    from nearnext.recommenders.session_index import REMEMBERED

    given = {"preset": preset, "seed": seed, "directory": str(run) if run else None, "resume": resume or None}
    options = own_options(config, method) | {name: value for name, value in given.items() if value is not None}
    recommender = make_recommender(method, options | pairs(settings or [], "--set"))
    chosen = make_filter(filter_mode, min_length, min_support, max_length)
    if dry_run:
        sessions, _ = read_log(log, replace(reading, rejects=None))
        _print_size(size_model(recommender, sessions, chosen))
        return
    if out is None:
        raise ConfigError("--out is missing: name a directory to write the model to, or add --dry-run")
    announce_replacement(out, recommender.name)
    sessions, event_log = read_log(log, reading)
    read = asdict(event_log.report)
    remember = REMEMBERED if remember is None else remember
    provenance = fit_model(
        recommender,
        sessions,
        chosen,
        remember=remember,
        keep_ids=keep_session_ids,
        reading=read,
        command=command_line(),
    )
    save(recommender, out, provenance)
    console.print(
        f"{recommender.name} fitted on {provenance['data']['sessions']:,} sessions in "
        f"{provenance['fit_seconds']:.2f} s: {out}"
    )
    if note := getattr(recommender, "note", ""):
        console.print(f"[yellow]{note}[/yellow]", soft_wrap=True)


def _print_size(sized: Mapping[str, Any]) -> None:
    from nearnext.report.tables import sizing_table

    console.print(sizing_table(sized))
    if not sized["fits"]:
        console.print("[red]this is more memory than is free[/red]: choose a smaller dim, or filter rare items")
    console.print("nothing was written", style="dim")


@app.command()
@imports_parts
@reads_logs
@takes("results", json_file)
def evaluate(
    model: Annotated[Path, typer.Argument(help="Model directory made by fit.")],
    log: LogArgument,
    *,
    unknown: Unknown = "miss",
    k: Cutoffs = "5,10,20",
    max_length: MaxLength = 1000,
    threads: Threads = 0,
    results: Results,
    reading: Reading,
) -> None:
    """Evaluate a saved model on all sessions of a later log."""
    from nearnext.artifact import load_artifact
    from nearnext.experiments.single import evaluate_model
    from nearnext.report.tables import comparison_table

    artifact = load_artifact(model)
    sessions, event_log = read_test_log(log, reading, artifact.recommender.imprint)
    result = evaluate_model(
        artifact,
        sessions,
        ks=cutoff_numbers(k),
        unknown=unknown,
        max_length=max_length or None,
        threads=threads or None,
        reading=asdict(event_log.report),
        command=command_line(),
    )
    results.write(result)
    console.print(comparison_table(result, result["protocol"]["k"][-1], width=console.width))
    print_warnings([f"{result['leaks']['verdict']}: compared by times, ids and clicks with the training sessions"])
    results.announce()


@app.command(cls=JsonSwitch)
@imports_parts
def recommend(
    model: Annotated[Path, typer.Argument(help="Model directory made by fit.")],
    *,
    session: Annotated[list[str], typer.Option(help="Item ids, oldest first: a,b,c. Repeatable.")],
    k: Annotated[int, typer.Option("--k", help="How many items.")] = 20,
    exclude: Annotated[str, typer.Option(help="Item ids never to recommend: a,b,c.")] = "",
    allow: Annotated[str | None, typer.Option(help="Recommend only these item ids: a,b,c.")] = None,
    exclude_seen: Annotated[bool, typer.Option("--exclude-seen", help="Nothing that is in the session.")] = False,
    json: JsonFile = None,
) -> None:
    """Next items for sessions of item ids."""
    results = Results(json)
    from nearnext.artifact import load_artifact

    recommender = load_artifact(model).recommender
    sessions = [ids(text) for text in session]
    answers = recommender.recommend(
        sessions,
        k,
        exclude=ids(exclude),
        allow=ids(allow) if allow is not None else None,
        exclude_seen=exclude_seen,
    )
    results.write([asdict(answer) for answer in answers])
    if results.printed:
        return
    for text, answer in zip(session, answers, strict=True):
        table = Table("rank", "item", "score", "from", title=f"after {text or 'nothing'}", title_justify="left")
        for rank, (item, score) in enumerate(zip(answer.items, answer.scores, strict=True), start=1):
            table.add_row(
                str(rank), str(item), f"{score:.6g}", recommender.name if rank <= answer.own else "popularity"
            )
        console.print(table)
        if answer.unknown:
            console.print(f"ignored, because training never saw them: {', '.join(map(str, answer.unknown))}")
        if answer.unmatched:
            console.print(f"no such items to exclude or allow: {', '.join(map(str, answer.unmatched))}", markup=False)
        if answer.shortage:
            console.print(answer.shortage)
    results.announce()
