"""The command compare."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

import typer
from rich.markup import escape

from nearnext.cli.app import app, command_line, imports_parts, takes, within
from nearnext.cli.engine import Engine, runs_parts
from nearnext.cli.options import (
    Config,
    Cutoffs,
    Metrics,
    Protocol,
    Runs,
    Settings,
    TunedOptions,
    Work,
    cutoff_numbers,
    measures,
    method_names,
    method_options,
    method_settings,
    tuned_options,
    whole_numbers,
)
from nearnext.cli.output import Results, console, writable_folder
from nearnext.cli.reading import (
    ItemsOption,
    LogArgument,
    Reading,
    filters_by,
    print_result_warnings,
    read_both,
    read_item_table,
    reads_logs,
    require_logs,
    show_described,
)
from nearnext.errors import ConfigError
from nearnext.options import Fraction
from nearnext.recommenders.named import BASELINES

if TYPE_CHECKING:
    from nearnext.data.filters import Filter
    from nearnext.experiments.comparison import Comparison


class Asked(NamedTuple):
    """A comparison, and how it is measured."""

    comparison: "Comparison"
    protocol: Protocol


@takes("tuning", tuned_options)
@measures
@filters_by(min_support=1, max_length=1000)
def _asked(
    *,
    methods: Annotated[
        str, typer.Option(help=f"Methods to compare; default: {', '.join(BASELINES)}.", show_default=False)
    ] = ",".join(BASELINES),
    k: Cutoffs = "5,10,20",
    settings: Settings = None,
    config: Config = None,
    seed: Annotated[int, typer.Option(help="Seed of the bootstrap and of tuning.")] = 7,
    seeds: Annotated[
        str,
        typer.Option(
            help="Fit each stochastic method once per seed, e.g. 7,8,9: the table shows the mean ± the "
            "standard deviation."
        ),
    ] = "",
    metrics: Metrics = "",
    chosen: "Filter",
    protocol: Protocol,
    tuning: TunedOptions,
) -> Asked:
    from nearnext.experiments.comparison import Comparison

    names = method_names(methods)
    comparison = Comparison(
        methods=names,
        options=method_options(config, settings, names),
        plan=protocol.plan(chosen),
        ks=cutoff_numbers(k),
        seed=seed,
        replicates=protocol.replicates,
        threads=protocol.threads or None,
        tuning=replace(tuning, seed=seed) if tuning is not None else None,
        held={name: tuple(values) for name, values in method_settings(settings).items()},
        seeds=whole_numbers("--seeds", seeds, "7,8,9"),
        metrics=method_names(metrics),
    )
    return Asked(comparison, protocol)


@app.command()
@imports_parts
@reads_logs
@takes("results", Results)
@runs_parts
@takes("asked", _asked)
def compare(
    log: LogArgument,
    *,
    asked: Asked,
    work: Work = None,
    runs: Runs = None,
    items: ItemsOption = None,
    cold_items: Annotated[
        float | None,
        typer.Option(
            callback=within(Fraction),
            help="With --items: share of items whose clicks are taken from the training part; figures are then of "
            "cases whose next item has no click there, and of the rest; methods on attributes alone are added. "
            "Without it, --items gives --report the titles of items.",
        ),
    ] = None,
    dry_run: Annotated[
        bool,
        typer.Option(
            "--dry-run",
            help="Say what the comparison would take, time and memory of each method and of the whole; write nothing "
            "but --json.",
        ),
    ] = False,
    engine: Engine,
    results: Results,
    reading: Reading,
) -> None:
    """Fit, time and evaluate every method on the same cases, with intervals, significance and a leak audit."""
    from nearnext.evaluation.metrics import definitions
    from nearnext.experiments.compare import compare as run_comparison
    from nearnext.experiments.store import RunStore
    from nearnext.report.html import comparison_page
    from nearnext.report.tables import main_tables

    comparison, protocol = asked
    if cold_items is not None:
        given = {"--work": work, "--runs": runs, "--engine": engine.name != "local", "--workers": engine.workers}
        given |= {"--dry-run": dry_run}
        _require_cold(given, comparison, results)
        _compare_cold(log, items, cold_items, asked, results, reading)
        return
    engine = engine.for_log(log)
    if work is not None and runs is not None:
        raise ConfigError("--work does not store the lists that --runs writes; leave out --work or --runs")
    if dry_run:
        _size(log, asked, work, engine, results, reading)
        return
    writable_folder(runs)
    writable_folder(comparison.tuning and comparison.tuning.study)
    store = RunStore(work) if work is not None else None
    require_logs(log, protocol.test)
    table = read_item_table(items)
    sessions, test, readings = read_both(log, protocol.test, reading, comparison.plan.warnings)
    show_described(table, sessions)
    with engine.executor(default=1) as executor:
        result = run_comparison(
            sessions,
            test,
            comparison,
            items=table,
            reading=readings,
            command=command_line(),
            store=store,
            lists=runs,
            executor=executor,
        )
    results.write(result, lambda: comparison_page(result, definitions(comparison.metrics)))
    results.write_tables(lambda width: main_tables(result, width))
    _print_comparison(result)
    results.announce()


def _size(log: str, asked: Asked, work: Path | None, engine: Engine, results: Results, reading: Reading) -> None:
    """Say what a comparison would take."""
    from nearnext.experiments.comparison_sizing import size_comparison
    from nearnext.experiments.store import RunStore
    from nearnext.report.sizing import comparison_sizing_lines, comparison_sizing_table

    comparison, protocol = asked
    reading = replace(reading, options=replace(reading.options, rejects=None))
    sessions, test, _ = read_both(log, protocol.test, reading, comparison.plan.warnings)
    store = RunStore(work) if work is not None and work.is_dir() else None
    sized = size_comparison(sessions, test, comparison, store=store, workers=engine.workers or 1)
    results.write(sized)
    results.write_tables(lambda _: [comparison_sizing_table(sized)])
    console.print(comparison_sizing_table(sized))
    for line in comparison_sizing_lines(sized):
        console.print(line, highlight=False)
    if comparison.tuning is not None:
        console.print("fits and rankings are of the options that tuning begins with; those it finds may take longer")
    if not sized["fits"]:
        console.print(
            "[red]this is more memory than is free[/red]: leave methods out, or take fewer workers", markup=True
        )
    if results.json is None:
        console.print("nothing was written", style="dim")
    results.announce()


def _require_cold(given: dict[str, Any], comparison: "Comparison", results: Results) -> None:
    """A check that no option was given that has no meaning with items without clicks."""
    given |= {"--seeds": comparison.seeds, "--metrics": comparison.metrics, "--tuned": comparison.tuning}
    if other := [name for name, value in given.items() if value]:
        raise ConfigError(f"{other[0]} has no meaning with --cold-items; leave one of them out")
    if results.report is not None:
        raise ConfigError("--report has no page for items without clicks; write --json")


def _compare_cold(
    log: str, items: list[str] | None, share: float, asked: Asked, results: Results, reading: Reading
) -> None:
    """Compare methods on items without clicks."""
    from nearnext.experiments.cold_items import compare_cold
    from nearnext.report.tables import cold_findings, cold_table

    comparison, protocol = asked
    table = read_item_table(items)
    if table is None:
        raise ConfigError("--cold-items needs the attributes of items; name their table with --items FILE")
    sessions, test, readings = read_both(log, protocol.test, reading, comparison.plan.warnings)
    show_described(table, sessions)
    result = compare_cold(sessions, table, test, comparison, share=share, reading=readings, command=command_line())
    results.write(result)
    results.write_tables(lambda _: [cold_table(result)])
    measured, taken = result["protocol"], result["data"]["taken_items"]
    console.print(
        f"[bold]{measured['cases']:,} cases[/bold], {measured['cold_cases']:,} of them with a next item that has "
        f"attributes and no click in training; clicks on {taken:,} items were taken from it",
        markup=True,
    )
    console.print(cold_table(result))
    for line in cold_findings(result):
        console.print(line, highlight=False)
    console.print(f"{measured['duration_seconds']:.1f} s for fitting and evaluating", style="dim")
    results.announce()


def _print_comparison(result: Mapping[str, Any]) -> None:
    from nearnext.report.comparison import finding
    from nearnext.report.tables import comparison_table, main_tables, tuning_table

    protocol, data = result["protocol"], result["data"]
    print_result_warnings(result)
    console.print(
        f"[bold]{protocol['cases']:,} cases[/bold] in {data['test']['sessions']:,} test sessions from "
        f"{data['test']['first']}; {data['train']['sessions']:,} training sessions with {data['train']['items']:,} "
        f"items; {data['unknown_test_clicks']:,} test clicks on items that training lacks ({protocol['unknown']})",
        markup=True,
    )
    main, *at_each_k = main_tables(result, console.width)
    console.print(main)
    for table in at_each_k:
        console.print("[bold]at each k[/bold]", markup=True)
        console.print(table)
    console.print("[bold]each method's own lists[/bold], not filled from popularity where they are short", markup=True)
    console.print(comparison_table(result, width=console.width, lists="unfilled_metrics"))
    for found in finding(result):
        console.print(f"{found.claim} {found.lead}".strip(), highlight=False)
    if any(method.get("tuning") for method in result["methods"]):
        console.print(f"[bold]tuning[/bold]: {protocol['tuning']}", markup=True)
        console.print(tuning_table(result))
    print_audit(result["audit"])
    console.print(f"{protocol['duration_seconds']:.1f} s for fitting and evaluating", style="dim")


def print_audit(audit: Mapping[str, Any]) -> None:
    """The verdict of a leak audit, and each check that failed."""
    from nearnext.evaluation.audit import not_tried

    if audit["passed"]:
        skipped = [check["name"] for check in audit["checks"] if not check.get("tried", True)]
        text = f"[green]leak audit passed[/green]: {len(audit['checks']) - len(skipped)} checks with planted sessions"
        console.print(text + escape(not_tried(skipped)), markup=True)
    for check in audit["checks"]:
        if not check["passed"]:
            text = f"[red]leak audit: not clean[/red]: {escape(check['name'])}: {escape(check['detail'])}"
            console.print(text, markup=True)
