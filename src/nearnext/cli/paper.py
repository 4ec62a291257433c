"""Commands about the paper's tables: paper table1, fig1, table2, table3, coverage."""

from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from nearnext.cli.app import QuickGroup, app, command_line, imports_parts, takes
from nearnext.cli.comparing import print_audit
from nearnext.cli.options import Config, Protocol, Settings, Work, measures, method_names, method_options
from nearnext.cli.output import Results, console
from nearnext.cli.reading import (
    LogArgument,
    Reading,
    filters_by,
    print_result_warnings,
    read_both,
    read_log,
    reads_logs,
)
from nearnext.errors import ConfigError
from nearnext.recommenders.named import method_name

if TYPE_CHECKING:
    from nearnext.data.filters import Filter
    from nearnext.experiments.paper.lineup import Entry
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

Tables = Callable[["Callable[[Result, str], Result]", "Sequence[Entry]", str, Reading], None]
"""Trains the methods of some rows, and prints the table that a function makes of their comparison on a log."""


@takes("results", Results)
@measures
@filters_by(min_support=5, max_length=1000)
def _training_options(
    *,
    preset: Annotated[
        str | None,
        typer.Option(
            help="Options of the sml-* methods: paper (as its text says, the default), authors (as the program ran "
            "that made its tables), tuned (chosen on validation) or quick (smaller, minutes)."
        ),
    ] = None,
    quick: Annotated[bool, typer.Option("--quick", help="The same as --preset quick.")] = False,
    config: Config = None,
    settings: Settings = None,
    seed: Annotated[int, typer.Option(help="Seed of training and bootstrap.")] = 7,
    work: Work = None,
    chosen: "Filter",
    protocol: Protocol,
    results: Results,
) -> Tables:
    if quick and preset not in (None, "quick"):
        raise ConfigError(f"--quick is a preset of its own, found --preset {preset} as well; give one of the two")
    preset = "quick" if quick else preset or "paper"

    def table(make: "Callable[[Result, str], Result]", rows: "Sequence[Entry]", log: str, reading: Reading) -> None:
        from nearnext.experiments.compare import compare
        from nearnext.experiments.paper.lineup import comparison_of
        from nearnext.experiments.store import RunStore

        plan = protocol.plan(chosen)
        store = RunStore(work) if work is not None else None
        comparison = comparison_of(
            rows,
            preset,
            seed=seed,
            options=method_options(config, settings, [entry.name for entry in rows]),
            plan=plan,
            replicates=protocol.replicates,
            threads=protocol.threads or None,
        )
        sessions, test, readings = read_both(log, protocol.test, reading, plan.warnings)
        result = compare(sessions, test, comparison, reading=readings, command=command_line(), store=store)
        result["protocol"]["preset"] = preset
        name = _name(log) if protocol.test is None else f"{_name(log)}, tested on {_name(protocol.test)}"
        _show(make(result, name), results)

    return table


trains = takes("table", _training_options)


@paper.command()
@reads_logs
@takes("results", Results)
@filters_by(min_support=5, max_length=0)
def table1(log: LogArgument, *, chosen: "Filter", results: Results, reading: Reading) -> None:
    """Table 1: items, sessions and events of a log, after and (before) preprocessing."""
    from nearnext.experiments.paper.tables import table1_result

    _describe(table1_result, log, chosen, results, reading)


@paper.command()
@reads_logs
@takes("results", Results)
@filters_by(min_support=5, max_length=0)
def fig1(log: LogArgument, *, chosen: "Filter", results: Results, reading: Reading) -> None:
    """Figure 1: session lengths and recurring items of a log; drawn with --report."""
    from nearnext.experiments.paper.tables import figure1_result

    _describe(figure1_result, log, chosen, results, reading)


@paper.command()
@imports_parts
@reads_logs
@trains
def table2(log: LogArgument, *, methods: Methods = "", table: Tables, reading: Reading) -> None:
    """Table 2: MAP, PREC, REC, HR and MRR at 20 of the baselines, GRU4Rec+ and the metric models, sorted by REC."""
    from nearnext.experiments.paper.lineup import chosen_entries
    from nearnext.experiments.paper.tables import table2_result

    table(table2_result, chosen_entries(method_names(methods)), log, reading)


@paper.command()
@imports_parts
@reads_logs
@trains
def table3(
    log: LogArgument,
    *,
    encoders: Annotated[str, typer.Option(help="Only these session encoders, as in the paper; default: all.")] = "",
    table: Tables,
    reading: Reading,
) -> None:
    """Table 3: what common embedding, sampler, margin and swap contribute to REC@20 and MRR@20, for two encoders."""
    from nearnext.experiments.paper.lineup import ENCODERS, table_3_lineup
    from nearnext.experiments.paper.tables import table3_result

    known = {name.lower(): name for name in ENCODERS}
    names = [name.lower() for name in method_names(encoders)]
    if unknown := [name for name in names if name not in known]:
        raise ConfigError(f"'{unknown[0]}' is not an encoder of this table; known: {', '.join(ENCODERS)}")
    chosen = {known[name]: ENCODERS[known[name]] for name in names} or ENCODERS
    table(table3_result, table_3_lineup(chosen), log, reading)


@paper.command()
@imports_parts
@reads_logs
@trains
def coverage(log: LogArgument, *, methods: Methods = "", table: Tables, reading: Reading) -> None:
    """Section 5.5: how many different items each method recommends, of how many there are."""
    from nearnext.experiments.paper.lineup import chosen_entries
    from nearnext.experiments.paper.tables import coverage_result

    table(coverage_result, chosen_entries(method_names(methods)), log, reading)


def _describe(make: "Callable[..., Result]", log: str, chosen: "Filter", results: Results, reading: Reading) -> None:
    sessions, report = read_log(log, reading)
    read = asdict(report)
    _show(make(sessions, chosen, name=_name(log), reading=read, command=command_line()), results)


def _name(log: str) -> str:
    return Path(log).name or log


def _show(result: "Result", results: Results) -> None:
    from nearnext.report.formats import duration
    from nearnext.report.paper import paper_page, paper_tables

    results.write(result, lambda: paper_page(result))
    results.write_tables(lambda width: paper_tables(result, width=width))
    print_result_warnings(result)
    for table in paper_tables(result, width=console.width):
        console.print(table)
    if kept := [method_name(method) for method in result.get("methods", []) if method.get("kept")]:
        console.print(f"taken from finished runs: {', '.join(kept)}", style="dim")
    if "audit" in result:
        print_audit(result["audit"])
    console.print(duration(result["protocol"]["duration_seconds"]), style="dim")
    results.announce()
