"""The command tune."""

from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from nearnext.cli.app import app, command_line, imports_parts, takes, within
from nearnext.cli.engine import Engine, runs_parts
from nearnext.cli.options import OwnConfig, OwnSettings, Threads, Unknown, own_options, own_settings, tunes
from nearnext.cli.output import Results, console, require_extra, writable, writable_folder
from nearnext.cli.reading import LogArgument, Reading, filters_by, print_warnings, read_log, reads_logs
from nearnext.experiments.tuning.budget import Tuning
from nearnext.options import Natural
from nearnext.report.formats import duration, fixed

if TYPE_CHECKING:
    from nearnext.data.filters import Filter


@app.command()
@imports_parts
@reads_logs
@tunes
@takes("results", Results, "json", "form")
@runs_parts
@filters_by(min_support=1, max_length=1000)
def tune(
    log: LogArgument,
    *,
    method: Annotated[str, typer.Option(help="Method to tune.")] = "vsknn",
    out: Annotated[Path | None, typer.Option(help="Put the best options into this TOML file, for --config.")] = None,
    settings: OwnSettings = None,
    config: OwnConfig = None,
    unknown: Unknown = "miss",
    seed: Annotated[int, typer.Option(callback=within(Natural), help="Seed of the search.")] = Tuning.seed,
    threads: Threads = 0,
    chosen: "Filter",
    engine: Engine,
    results: Results,
    tuning: Tuning,
    reading: Reading,
) -> None:
    """Find the best options of a method on the end of a log; the search begins at --config and keeps --set."""
    require_extra("tune", "tuning")
    from nearnext.experiments.tuning.search import Space
    from nearnext.experiments.tuning.tune import options_table, readable_options, write_options
    from nearnext.experiments.tuning.tune import tune as run_tuning
    from nearnext.report.tables import trials_table

    writable(out, replaces_input=True)  # the options of other methods in it are kept
    if out is not None:
        readable_options(out)
    if tuning.study is not None and not tuning.study.is_file():
        writable_folder(tuning.study.parent if tuning.study.suffix else tuning.study)
    held = own_settings(settings, method)
    options = own_options(config, method) | held
    Space.of(method, options, held)  # report methods that cannot be tuned before reading a long log
    engine = engine.for_log(log)
    sessions, read = read_log(log, reading)
    with engine.executor(default=1) as executor:
        result = run_tuning(
            sessions,
            method,
            replace(tuning, seed=seed),
            options=options,
            held=tuple(held),
            chosen=chosen,
            unknown=unknown,  # type: ignore[arg-type]
            threads=threads or None,
            reading=[asdict(read)],
            command=command_line(),
            executor=executor,
        )
    table = options_table(result["method"], result["options"], _notes(result))
    if out is not None:
        write_options(out, result["method"], table)
    results.write(result)
    results.write_tables(lambda _: [trials_table(result)])
    _print_tuned(result)
    if out is None:
        console.print(table, end="", highlight=False)
    else:
        console.print(f"options: {out}")
    console.print(f"study: {result['study']}")
    results.announce()


def _notes(result: Mapping[str, Any]) -> list[str]:
    """Comments above the best options in their file."""
    found, begun = fixed(result["best_figure"]), fixed(result["start_figure"])
    return [
        f"best of {result['used']['trials']} trials: {result['metric']} {found} on the end of a training log, begun "
        f"with {begun}",
        f"log {result['data']['fingerprint'][:16]}, nearnext {result['protocol']['versions']['nearnext']}",
    ]


def _print_tuned(result: Mapping[str, Any]) -> None:
    from nearnext.report.tables import trials_table

    data, used = result["data"], result["used"]
    print_warnings(result["warnings"])
    console.print(
        f"[bold]{result['method']}[/bold]: {used['trials']} trials in {duration(used['seconds'])} "
        f"({used['earlier_trials']} from earlier runs, {used['pruned']} pruned, {used['failed']} failed), learned from "
        f"{data['train']['sessions']:,} sessions, measured on the {data['validation']['sessions']:,} that follow, from "
        f"{data['validation']['first']}",
        markup=True,
    )
    if result["note"]:
        console.print(f"{result['method']}: {result['note']}", style="yellow")
    console.print(trials_table(result))
    if failed := [trial for trial in result["trials"] if trial["state"] == "failed"]:
        console.print(f"trial {failed[0]['number']} failed: {failed[0]['reason']}", style="yellow")
    metric, start, best = result["metric"], result["start_figure"], result["best_figure"]
    text = f"nothing was better than what the search began with: {metric} {fixed(best)}"
    if result["best_trial"] != 0:
        ahead = f", {(best / start - 1):+.1%}" if start else ""
        text = f"best: trial {result['best_trial']} with {metric} {fixed(best)}, begun with {fixed(start)}{ahead}"
    console.print(text)
