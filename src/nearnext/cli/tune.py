"""The command tune."""

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from nearnext.cli.app import (
    FilterMode,
    LogArgument,
    MaxLength,
    MinLength,
    MinSupport,
    Reading,
    app,
    command_line,
    make_filter,
    pairs,
    print_warnings,
    read_log,
    reads_logs,
    takes,
)
from nearnext.cli.options import (
    STUDY,
    OwnConfig,
    OwnSettings,
    Threads,
    Unknown,
    own_options,
    tuning_of,
)
from nearnext.cli.output import Results, console, json_file, require_extra, writable
from nearnext.cli.parts import imports_parts
from nearnext.experiments.tuning.budget import Tuning
from nearnext.report.numbers import duration, fixed


@app.command()
@imports_parts
@reads_logs
@takes("results", json_file)
def tune(
    log: LogArgument,
    *,
    method: Annotated[str, typer.Option(help="Method to tune.")] = "vsknn",
    trials: Annotated[
        int, typer.Option(help="Option sets to try, the first being the one to begin with.")
    ] = Tuning.trials,
    budget: Annotated[
        float, typer.Option(help="Minutes of fitting and evaluating, earlier runs included.")
    ] = Tuning.minutes,
    metric: Annotated[
        str, typer.Option(help="What is maximised: NAME@K; of several, NAME+NAME@K, the geometric mean.")
    ] = Tuning.metric,
    validation: Annotated[
        float, typer.Option(help="Last part of the training sessions, by start time, that trials are measured on.")
    ] = Tuning.fraction,
    out: Annotated[Path | None, typer.Option(help="Put the best options into this TOML file, for --config.")] = None,
    study: Annotated[
        Path, typer.Option(help="File or folder where trials are kept: the same command goes on with them.")
    ] = STUDY,
    settings: OwnSettings = None,
    config: OwnConfig = None,
    unknown: Unknown = "miss",
    min_length: MinLength = 2,
    min_support: MinSupport = 1,
    filter_mode: FilterMode = "paper",
    max_length: MaxLength = 1000,
    seed: Annotated[int, typer.Option(help="Seed of the search.")] = Tuning.seed,
    threads: Threads = 0,
    results: Results,
    reading: Reading,
) -> None:
    """The best options of a method, found on the end of a training log; begins with --config, holds --set as it is."""
    require_extra("tune", "tuning")
    from nearnext.experiments.tuning.options_file import options_table, readable_options, write_options
    from nearnext.experiments.tuning.tune import Search
    from nearnext.experiments.tuning.tune import tune as run_tuning

    budgeted = {"trials": trials, "budget": budget, "metric": metric, "validation": validation}
    tuning = tuning_of({**budgeted, "seed": seed, "study": study})
    chosen = make_filter(filter_mode, min_length, min_support, max_length)
    writable(out)
    if out is not None:
        readable_options(out)
    held = pairs(settings or [], "--set")
    options = own_options(config, method) | held
    Search.of(method, options, held)  # what cannot be tuned is said before a long log is read
    sessions, event_log = read_log(log, reading)
    result = run_tuning(
        sessions,
        method,
        tuning,
        options=options,
        held=tuple(held),
        chosen=chosen,
        unknown=unknown,  # type: ignore[arg-type]
        threads=threads or None,
        reading=[asdict(event_log.report)],
        command=command_line(),
    )
    table = options_table(result["method"], result["options"], _notes(result))
    if out is not None:
        write_options(out, result["method"], table)
    results.write(result)
    _show(result)
    if out is None:
        console.print(table, end="", markup=False, highlight=False, soft_wrap=True)
    else:
        console.print(f"options: {out}")
    console.print(f"study: {result['study']}")
    results.announce()


def _show(result: Mapping[str, Any]) -> None:
    data, used = result["data"], result["used"]
    print_warnings(result["warnings"])
    console.print(
        f"[bold]{result['method']}[/bold]: {used['trials']} trials in {duration(used['seconds'])} "
        f"({used['earlier_trials']} from earlier runs, {used['pruned']} pruned, {used['failed']} failed), learned from "
        f"{data['train']['sessions']:,} sessions, measured on the {data['validation']['sessions']:,} that follow, from "
        f"{data['validation']['first']}",
        soft_wrap=True,
    )
    from nearnext.report.tables import trials_table

    if result["note"]:
        console.print(f"[yellow]{result['method']}: {result['note']}[/yellow]", soft_wrap=True)
    console.print(trials_table(result))
    if failed := [trial for trial in result["trials"] if trial["state"] == "failed"]:
        console.print(f"trial {failed[0]['number']} failed: {failed[0]['reason']}", style="yellow", markup=False)
    console.print(_gain(result), soft_wrap=True)


def _gain(result: Mapping[str, Any]) -> str:
    metric, start, best = result["metric"], result["start_figure"], result["best_figure"]
    if result["best_trial"] == 0:
        return f"nothing was better than what the search began with: {metric} {fixed(best)}"
    ahead = f", {(best / start - 1):+.1%}" if start else ""
    return f"best: trial {result['best_trial']} with {metric} {fixed(best)}, begun with {fixed(start)}{ahead}"


def _notes(result: Mapping[str, Any]) -> list[str]:
    return [
        f"best of {result['used']['trials']} trials: {result['metric']} {fixed(result['best_figure'])} on the end of a "
        f"training log, begun with {fixed(result['start_figure'])}",
        f"log {result['data']['fingerprint'][:16]}, nearnext {result['protocol']['versions']['nearnext']}",
    ]
