"""Commands about the paper's tables: paper table1, fig1, table2, table3, coverage."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from nearnext.cli.app import (
    FilterMode,
    LogArgument,
    MaxLength,
    MinLength,
    MinSupport,
    QuickGroup,
    Reading,
    app,
    command_line,
    make_filter,
    print_warnings,
    read_log,
    read_test_log,
    reads_logs,
    takes,
)
from nearnext.cli.models import print_audit
from nearnext.cli.options import Config, Settings, Threads, Unknown, method_names, method_options
from nearnext.cli.output import JsonFile, ReportFile, Results, console
from nearnext.cli.parts import imports_parts
from nearnext.errors import ConfigError

if TYPE_CHECKING:
    from nearnext.data.filters import Filter
    from nearnext.experiments.paper.lineup import Entry, Experiment, Setting
    from nearnext.experiments.result import Result

paper = typer.Typer(
    name="paper",
    cls=QuickGroup,
    help="The paper's tables and figure, made from any log (arXiv:2101.02655).",
    no_args_is_help=True,
)
app.add_typer(paper)

Methods = Annotated[
    str, typer.Option(help="Only these rows, by the paper's names or ours, and any other method; default: all.")
]


@dataclass(frozen=True)
class Statistics:
    """The options of the tables that only describe a log."""

    chosen: "Filter"
    results: Results


def _statistics_options(
    min_length: MinLength = 2,
    min_support: MinSupport = 5,
    filter_mode: FilterMode = "paper",
    max_length: MaxLength = 0,
    json: JsonFile = None,
    report: ReportFile = None,
) -> Statistics:
    return Statistics(make_filter(filter_mode, min_length, min_support, max_length), Results(json, report))


@dataclass(frozen=True)
class Training:
    """The options of the tables that train and evaluate methods."""

    test: str | None
    setting: "Setting"
    config: Path | None
    settings: list[str]
    work: Path | None
    results: Results


def _training_options(
    test: Annotated[str | None, typer.Option(help="Test log; LOG is then the training log.")] = None,
    split: Annotated[
        str, typer.Option(help="last:FRACTION, days:N, windows:N, or authors:SEED, which looks into the future.")
    ] = "last:0.1",
    unknown: Unknown = "miss",
    min_length: MinLength = 2,
    min_support: Annotated[
        int, typer.Option(help="Fewest clicks in training of an item that is kept; 1 for a log filtered by its source.")
    ] = 5,
    filter_mode: FilterMode = "paper",
    max_length: MaxLength = 1000,
    preset: Annotated[
        str | None,
        typer.Option(
            help="Of the metric models: paper (the paper's text, the default), authors (the program that made its "
            "tables), tuned (ours) or quick."
        ),
    ] = None,
    quick: Annotated[
        bool, typer.Option("--quick", help="The same as --preset quick: smaller models, fewer epochs, minutes.")
    ] = False,
    config: Config = None,
    settings: Settings = None,
    seed: Annotated[int, typer.Option(help="Seed of training and bootstrap.")] = 7,
    replicates: Annotated[int, typer.Option(help="Resamplings of the bootstrap.")] = 2000,
    threads: Threads = 0,
    work: Annotated[
        Path | None, typer.Option(help="Folder for finished rows: an interrupted table goes on where it stopped.")
    ] = None,
    json: JsonFile = None,
    report: ReportFile = None,
) -> Training:
    results = Results(json, report)
    from nearnext.experiments.paper.lineup import Setting
    from nearnext.experiments.plan import SplitPlan

    plan = SplitPlan.parse(
        split,
        chosen=make_filter(filter_mode, min_length, min_support, max_length),
        unknown=unknown,  # type: ignore[arg-type]
    )
    if quick and preset not in (None, "quick"):
        raise ConfigError(f"--quick is a preset of its own, found --preset {preset} as well; give one of the two")
    setting = Setting(plan, "quick" if quick else preset or "paper", seed, replicates, threads or None)
    return Training(test, setting, config, settings or [], work, results)


@paper.command()
@reads_logs
@takes("statistics", _statistics_options)
def table1(log: LogArgument, *, statistics: Statistics, reading: Reading) -> None:
    """Table 1: items, sessions and events of a log, after and (before) preprocessing."""
    from nearnext.experiments.paper.tables import table1_result

    _describe(table1_result, log, statistics, reading)


@paper.command()
@reads_logs
@takes("statistics", _statistics_options)
def fig1(log: LogArgument, *, statistics: Statistics, reading: Reading) -> None:
    """Figure 1: session lengths and recurring items of a log; drawn with --report."""
    from nearnext.experiments.paper.tables import figure1_result

    _describe(figure1_result, log, statistics, reading)


@paper.command()
@imports_parts
@reads_logs
@takes("training", _training_options)
def table2(log: LogArgument, *, methods: Methods = "", training: Training, reading: Reading) -> None:
    """Table 2: MAP, PREC, REC, HR and MRR at 20 of the baselines, GRU4Rec+ and the metric models, sorted by REC."""
    from nearnext.experiments.paper.lineup import TABLE_2_LINEUP, chosen_entries
    from nearnext.experiments.paper.tables import table2_result

    entries = chosen_entries(TABLE_2_LINEUP, method_names(methods))
    _compare(partial(table2_result, entries=entries), entries, log, training, reading)


@paper.command()
@imports_parts
@reads_logs
@takes("training", _training_options)
def table3(
    log: LogArgument,
    *,
    encoders: Annotated[str, typer.Option(help="Only these session encoders, as in the paper; default: all.")] = "",
    training: Training,
    reading: Reading,
) -> None:
    """Table 3: what common embedding, sampler, margin and swap contribute to REC@20 and MRR@20, for two encoders."""
    from nearnext.experiments.paper.lineup import Entry
    from nearnext.experiments.paper.tables import ENCODERS, table3_result

    known = {name.lower(): name for name in ENCODERS}
    names = [name.lower() for name in method_names(encoders)]
    if unknown := [name for name in names if name not in known]:
        raise ConfigError(f"'{unknown[0]}' is not an encoder of this table; known: {', '.join(ENCODERS)}")
    chosen = {known[name]: ENCODERS[known[name]] for name in names} or dict(ENCODERS)
    entries = [Entry(label, name) for label, name in chosen.items()]
    _compare(partial(table3_result, encoders=chosen), entries, log, training, reading)


@paper.command()
@imports_parts
@reads_logs
@takes("training", _training_options)
def coverage(log: LogArgument, *, methods: Methods = "", training: Training, reading: Reading) -> None:
    """Section 5.5: how many different items each method recommends, of how many there are."""
    from nearnext.experiments.paper.lineup import TABLE_2_LINEUP, chosen_entries
    from nearnext.experiments.paper.tables import coverage_result

    entries = chosen_entries(TABLE_2_LINEUP, method_names(methods))
    _compare(partial(coverage_result, entries=entries), entries, log, training, reading)


def _describe(make: Callable[..., dict[str, Any]], log: str, statistics: Statistics, reading: Reading) -> None:
    sessions, event_log = read_log(log, reading)
    read = asdict(event_log.report)
    result = make(sessions, statistics.chosen, name=_name(log), reading=read, command=command_line())
    _show(result, statistics.results)


def _compare(
    make: "Callable[[Experiment], Result]", entries: "Sequence[Entry]", log: str, training: Training, reading: Reading
) -> None:
    from nearnext.experiments.paper.lineup import Experiment
    from nearnext.experiments.store import RunStore

    store = RunStore(training.work) if training.work is not None else None
    options = method_options(training.config, training.settings, [entry.name for entry in entries])
    print_warnings(training.setting.plan.warnings if training.test is None else [])
    sessions, event_log = read_log(log, reading, show=training.test is None)
    experiment = Experiment(
        sessions,
        setting=replace(training.setting, options=options),
        name=_name(log),
        reading=[asdict(event_log.report)],
        command=command_line(),
        store=store,
    )
    if training.test is not None:
        test_sessions, test_log = read_test_log(training.test, reading, sessions, [event_log])
        experiment = replace(
            experiment,
            test=test_sessions,
            name=f"{experiment.name}, tested on {_name(training.test)}",
            reading=[*experiment.reading, asdict(test_log.report)],
        )
    _show(make(experiment), training.results)


def _name(log: str) -> str:
    return Path(log).name or log


def _show(result: Mapping[str, Any], results: Results) -> None:
    from nearnext.data.repeats import repeat_notes
    from nearnext.report.numbers import duration
    from nearnext.report.paper import paper_page, paper_tables

    results.write(result, lambda: paper_page(result))
    printed = repeat_notes(result.get("data", {}).get("reading") or [])
    warnings: list[str] = result.get("warnings") or []
    print_warnings([line for line in warnings if line not in printed])
    for table in paper_tables(result, width=console.width):
        console.print(table)
    if kept := [method.get("label") or method["name"] for method in result.get("methods", []) if method.get("kept")]:
        console.print(f"taken from finished runs: {', '.join(kept)}", style="dim")
    if "audit" in result:
        print_audit(result["audit"])
    console.print(duration(result["protocol"]["duration_seconds"]), style="dim")
    results.announce()
