"""Commands about one model: fit, evaluate."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from nearnext.cli.app import app, command_line, imports_parts, takes, within
from nearnext.cli.engine import Engine, runs_parts
from nearnext.cli.options import (
    Cutoffs,
    Metrics,
    ModelArgument,
    OwnConfig,
    OwnSettings,
    Runs,
    Threads,
    Unknown,
    cutoff_numbers,
    method_names,
    own_options,
    own_settings,
)
from nearnext.cli.output import Results, console, writable_folder
from nearnext.cli.reading import (
    ItemsOption,
    LogArgument,
    MaxLength,
    Reading,
    filters_by,
    print_warnings,
    read_item_table,
    read_log,
    read_test_log,
    reads_logs,
    require_logs,
    show_described,
)
from nearnext.cli.saving import announce_replacement, save
from nearnext.errors import ConfigError
from nearnext.extras import training_extra
from nearnext.options import Natural
from nearnext.processes import launched

if TYPE_CHECKING:
    from nearnext.data.filters import Filter
    from nearnext.recommenders.base import Recommender


@dataclass(frozen=True)
class Asked:
    """The method that a fit is asked for, its options, and the model that it starts from."""

    method: Annotated[str | None, typer.Option(help="Method to fit; default: metric.")] = None
    start: Annotated[
        Path | None,
        typer.Option(
            "--from",
            metavar="MODEL",
            help="Model to start from, with its method and options, for daily retraining: few epochs from its weights. "
            "LOG is all that the new model may know.",
        ),
    ] = None
    settings: OwnSettings = None
    config: OwnConfig = None
    preset: Annotated[
        str | None,
        typer.Option(
            help="Options of an sml-* method by name: tuned (chosen on validation, the default), paper (as its text "
            "says), authors (as their program ran) or quick (smaller, minutes)."
        ),
    ] = None
    seed: Annotated[int | None, typer.Option(help="Seed of a method that draws at random; default: its own.")] = None
    run: Annotated[Path | None, typer.Option(help="Directory for checkpoints and logs of the training.")] = None
    resume: Annotated[bool, typer.Option("--resume", help="Go on from the checkpoint in the run directory.")] = False
    track: Annotated[
        str | None,
        typer.Option(
            help="Experiment tracker for options and metrics: tensorboard (the default with --run), mlflow or wandb."
        ),
    ] = None

    @property
    def switches(self) -> dict[str, Any]:
        """Options that have a switch of their own, by name."""
        given = {
            "preset": self.preset,
            "seed": self.seed,
            "directory": self.run and str(self.run),
            "resume": self.resume or None,
            "track": self.track,
        }
        return {name: value for name, value in given.items() if value is not None}

    def recommender(self, model: "Recommender | None", engine: Engine, *, dry_run: bool) -> "Recommender":
        """What is to be fitted; ``model`` is the one to start from."""
        from nearnext.recommenders.named import make_recommender, method_options

        method = self.method or (model.name if model else "metric")
        workers = {"workers": engine.workers} if engine.name == "local" and engine.workers else {}
        _require_switches(method, self.switches | (workers if engine.name == "local" else {"workers": 1}))
        options = own_options(self.config, method) | self.switches | workers | own_settings(self.settings, method)
        if model is None:
            free = engine.name == "local" and not dry_run and "workers" in method_options(method)
            return make_recommender(method, ({"workers": 0} if free else {}) | options)
        if dry_run or "directory" in self.switches:
            switch = "--run" if "directory" in self.switches else "--dry-run"
            raise ConfigError(f"{switch} is for fits from scratch; leave it or --from out")
        return _successor(model, method, options)


@app.command()
@imports_parts
@reads_logs
@runs_parts
@filters_by(min_support=1, max_length=1000)
@takes("asked", Asked)
def fit(
    log: LogArgument,
    *,
    out: Annotated[
        Path | None, typer.Option(help="Directory to write the model to; needed unless --dry-run is given.")
    ] = None,
    asked: Asked,
    items: ItemsOption = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what the fit would take, memory and time among it; write nothing.")
    ] = False,
    remember: Annotated[
        int | None,
        typer.Option(
            callback=within(Natural), help="Most recent sessions kept to explain by; 0: none; default: 100000."
        ),
    ] = None,
    keep_session_ids: Annotated[
        bool, typer.Option("--keep-session-ids", help="Keep the raw ids of these sessions, for explain; else numbers.")
    ] = False,
    chosen: "Filter",
    engine: Engine,
    reading: Reading,
) -> None:
    """Fit one method on a whole log and save it as a model directory."""
    if launched() is not None:  # of torchrun: the first continues, the others take part in its trainings until it ends
        with training_extra("a fit by several processes"):
            from nearnext.training.workers import join
        join()
    from nearnext.artifact import load_artifact
    from nearnext.experiments.single import fit_model, size_model
    from nearnext.recommenders.session_index import REMEMBERED
    from nearnext.recommenders.space import table_note

    artifact = None if asked.start is None else load_artifact(asked.start)
    engine = engine.for_log(log)
    recommender = asked.recommender(artifact and artifact.recommender, engine, dry_run=dry_run)
    if dry_run:
        sessions, _ = read_log(log, replace(reading, options=replace(reading.options, rejects=None)))
        _print_size(size_model(recommender, sessions, chosen))
        return
    if out is None:
        raise ConfigError("--out is missing: name a directory to write the model to, or add --dry-run")
    announce_replacement(out, recommender.name, asked.run, reading.options.rejects)
    writable_folder(asked.run)
    require_logs(log)
    table = read_item_table(items)
    if table is None and artifact is not None and artifact.recommender.items is not None:
        table = artifact.recommender.items
        console.print(f"item table: that of {asked.start}; --items FILE replaces it")
    sessions, read = read_log(log, reading)
    show_described(table, sessions)
    fit_all = partial(
        fit_model,
        recommender,
        sessions,
        chosen,
        items=table,
        remember=REMEMBERED if remember is None else remember,
        keep_ids=keep_session_ids,
        start=artifact and artifact.manifest,
        reading=asdict(read),
        command=command_line(),
    )
    provenance = engine.fitted(recommender, fit_all)
    save(recommender, out, provenance)
    console.print(
        f"{recommender.name} fitted on {provenance['data']['sessions']:,} sessions in "
        f"{provenance['fit_seconds']:.2f} s: {out}"
    )
    for event, measured in recommender.left_categories.items():
        found = (
            f"after {event}, sessions leave {len(measured.left):,} of {measured.tested:,} categories that were tested"
        )
        console.print(f"{found}; recommend --after {event} leaves these out" if measured.left else found)
    for note in filter(None, (table_note(recommender), getattr(recommender, "note", ""))):
        console.print(note, style="yellow")


def _successor(model: "Recommender", method: str, options: Mapping[str, Any]) -> "Recommender":
    """What is fitted from the weights of a model: it has the model's options, and those given must be the same."""
    from nearnext.recommenders.named import canonical_name, make_recommender
    from nearnext.recommenders.trained import TrainedRecommender

    if canonical_name(method) != model.name:
        raise ConfigError(f"--from is a model of {model.name}, found --method {method}; leave one of them out")
    if not isinstance(model, TrainedRecommender):
        raise ConfigError(f"{model.name} has no weights to start from, and its fit is quick; leave --from out")
    successor = model.successor()
    made = make_recommender(method, options)
    assert isinstance(made, TrainedRecommender)  # noqa: S101 - it is of the model's class
    chosen, default, own = made.params(), make_recommender(method).params(), model.params()
    successor.seed = made.seed if "seed" in options else successor.seed
    successor.workers, successor.sharded, successor.track = made.workers, made.sharded, made.track
    for name, value in chosen.items():
        given = name in options or "preset" in options or value != default[name]
        if given and name != "seed" and value != own[name]:
            raise ConfigError(
                f"--from is a model with {name}={own[name]}, found {value}; fit from scratch, or leave {name} out"
            )
    return successor


def _require_switches(method: str, given: Mapping[str, Any]) -> None:
    """Check that the method has the options behind the switches."""
    from nearnext.recommenders.named import canonical_name, method_options

    name = canonical_name(method)
    for option in given.keys() - method_options(name).keys():
        reason = {
            "preset": "has no presets: sml-* methods have",
            "seed": "draws nothing at random",
            "workers": "counts instead of training, in one process",
        }.get(option, "does not train in epochs, and keeps no checkpoints")
        switch = {"directory": "run", "workers": "workers and --engine"}.get(option, option)
        raise ConfigError(f"{name} {reason}; leave --{switch} out")


def _print_size(sized: Mapping[str, Any]) -> None:
    from nearnext.report.sizing import sizing_table

    console.print(sizing_table(sized))
    if not sized["fits"]:
        console.print(
            "[red]this is more memory than is free[/red]: choose a smaller dim, or filter rare items", markup=True
        )
    console.print("nothing was written", style="dim")


@app.command()
@imports_parts
@reads_logs
@takes("results", Results, "json", "form")
def evaluate(
    model: ModelArgument,
    log: LogArgument,
    *,
    unknown: Unknown = "miss",
    k: Cutoffs = "5,10,20",
    max_length: MaxLength = 1000,
    threads: Threads = 0,
    runs: Runs = None,
    metrics: Metrics = "",
    results: Results,
    reading: Reading,
) -> None:
    """Evaluate a saved model on all sessions of a later log."""
    from nearnext.artifact import load_artifact
    from nearnext.evaluation.metrics import further_names
    from nearnext.experiments.single import evaluate_model
    from nearnext.manifest import require_model
    from nearnext.report.tables import main_tables

    # Wrong options are refused before a long log is read.
    ks, further = cutoff_numbers(k), further_names(method_names(metrics))
    writable_folder(runs)
    require_model(model)
    require_logs(log)
    artifact = load_artifact(model)
    sessions, read = read_test_log(log, reading, artifact.recommender.imprint)
    result = evaluate_model(
        artifact,
        sessions,
        ks=ks,
        unknown=unknown,
        max_length=max_length or None,
        threads=threads or None,
        reading=asdict(read),
        command=command_line(),
        lists=runs,
        metrics=further,
    )
    results.write(result)
    results.write_tables(lambda width: main_tables(result, width))
    data, cases = result["data"], result["protocol"]["cases"]
    console.print(
        f"[bold]{cases:,} cases[/bold] in {data['test']['sessions']:,} test sessions from {data['test']['first']}; "
        f"{data['unknown_test_clicks']:,} test clicks on items that training lacks ({unknown})",
        markup=True,
    )
    for shown in main_tables(result, console.width):
        console.print(shown)
    print_warnings([f"{result['leaks']['verdict']}: compared by times, ids and clicks with the training sessions"])
    results.announce()
