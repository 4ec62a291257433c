"""Commands about one model: fit, evaluate."""

import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from nearnext.cli.app import app, command_line, imports_parts, takes
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
from nearnext.cli.output import Results, console, json_and_tables, writable
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
)
from nearnext.errors import ArtifactError, ConfigError
from nearnext.extras import training_extra
from nearnext.launched import launched

if TYPE_CHECKING:
    from nearnext.data.filters import Filter
    from nearnext.recommenders.base import Recommender


@app.command()
@imports_parts
@reads_logs
@runs_parts
@filters_by(min_support=1, max_length=1000)
def fit(
    log: LogArgument,
    *,
    out: Annotated[
        Path | None, typer.Option(help="Directory to write the model to; needed unless --dry-run is given.")
    ] = None,
    method: Annotated[str | None, typer.Option(help="Method to fit; default: metric.")] = None,
    start: Annotated[
        Path | None,
        typer.Option(
            "--from",
            metavar="MODEL",
            help="Model to start from, with its method and options, for daily retraining: few epochs from its weights. "
            "LOG is all that the new model may know.",
        ),
    ] = None,
    items: ItemsOption = None,
    settings: OwnSettings = None,
    config: OwnConfig = None,
    preset: Annotated[
        str | None,
        typer.Option(
            help="Options of an sml-* method by name: tuned (chosen on validation, the default), paper (as its text "
            "says), authors (as their program ran) or quick (smaller, minutes)."
        ),
    ] = None,
    seed: Annotated[int | None, typer.Option(help="Seed of a method that draws at random; default: its own.")] = None,
    run: Annotated[Path | None, typer.Option(help="Directory for checkpoints and logs of the training.")] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on from the checkpoint in the run directory.")] = False,
    track: Annotated[
        str | None,
        typer.Option(
            help="Experiment tracker for options and metrics: tensorboard (the default with --run), mlflow or wandb."
        ),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what the fit would take, memory and time among it; write nothing.")
    ] = False,
    remember: Annotated[
        int | None, typer.Option(help="Most recent sessions kept to explain by; 0: none; default: 100000.")
    ] = None,
    keep_session_ids: Annotated[
        bool, typer.Option("--keep-session-ids", help="Keep the raw ids of these sessions, for explain; else numbers.")
    ] = False,
    chosen: "Filter",
    engine: Engine,
    reading: Reading,
) -> None:
    """Fit one method on a whole log and save it as a model directory."""
    if launched() is not None:
        join_workers()
    from nearnext.artifact import load_artifact
    from nearnext.experiments.single import fit_model, size_model
    from nearnext.recommenders.named import make_recommender
    from nearnext.recommenders.session_index import REMEMBERED

    given = {"preset": preset, "seed": seed, "directory": str(run) if run else None, "resume": resume or None}
    given |= {"workers": engine.workers if engine.name == "local" else None, "track": track}
    options = {name: value for name, value in given.items() if value is not None}
    artifact = None if start is None else load_artifact(start)
    named = method or (artifact.recommender.name if artifact else "metric")
    _require_switches(named, options if engine.name == "local" else {**options, "workers": 1})
    options = own_options(config, named) | options | own_settings(settings, named)
    if artifact is None:
        recommender = make_recommender(named, options)
    elif run or dry_run:
        raise ConfigError(f"{'--run' if run else '--dry-run'} is for fits from scratch; leave it or --from out")
    else:
        recommender = _successor(artifact.recommender, named, options)
    if dry_run:
        sessions, _ = read_log(log, replace(reading, options=replace(reading.options, rejects=None)))
        _print_size(size_model(recommender, sessions, chosen))
        return
    if out is None:
        raise ConfigError("--out is missing: name a directory to write the model to, or add --dry-run")
    _announce_replacement(out, recommender.name)
    sessions, read = read_log(log, reading)
    fit_all = partial(
        fit_model,
        recommender,
        sessions,
        chosen,
        items=read_item_table(items),
        remember=REMEMBERED if remember is None else remember,
        keep_ids=keep_session_ids,
        reading=asdict(read),
        command=command_line(),
    )
    provenance = engine.fitted(recommender, fit_all)
    if artifact is not None:
        before = artifact.manifest.get("started_from", {})
        data = {"fingerprint": artifact.manifest.get("data", {}).get("fingerprint")}
        provenance["started_from"] = data | {"retrainings": 1 + before.get("retrainings", 0)}
    _save(recommender, out, provenance)
    console.print(
        f"{recommender.name} fitted on {provenance['data']['sessions']:,} sessions in "
        f"{provenance['fit_seconds']:.2f} s: {out}"
    )
    if note := getattr(recommender, "note", ""):
        console.print(f"[yellow]{note}[/yellow]")


def join_workers() -> None:
    """Where torchrun started this process: the first one goes on, others take part in its trainings until it ends."""
    with training_extra("a fit by several processes"):
        from nearnext.training.workers import join
    join()


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
    """A check that the method has the options that switches stand for."""
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


def _announce_replacement(out: Path, method: str) -> None:
    """Say which model a fit will replace, where it is of another method."""
    from nearnext.artifact import replaced_method

    if not out.name:
        raise ArtifactError(f"expected the name of a folder to make for the model, found {out}; name one, e.g. model")
    writable(out.with_name(f".{out.name}.new"))
    before = replaced_method(out)
    if before is not None and before != method:
        text = f"{out} holds a model of {before}; the one of {method} will replace it"
        console.print(text, style="yellow", markup=False)


def _save(recommender: "Recommender", out: Path, provenance: Mapping[str, Any]) -> None:
    """Save a fitted model; where that fails, save it to a folder that has room, and say which."""
    from nearnext.artifact import save_artifact

    try:
        save_artifact(recommender, out, provenance)
    except ArtifactError as error:
        while True:
            for other in _other_folders(out):
                try:
                    saved = save_artifact(recommender, other, provenance)
                except ArtifactError:
                    with suppress(OSError):  # a failed removal must not hide why the save failed
                        other.parent.rmdir()
                    continue
                raise ArtifactError(f"{error}; the fitted model is in {saved}: move it where you want it") from error
            if not _asked_for_another_try(error):
                raise


def _other_folders(out: Path) -> Iterator[Path]:
    """Names for a model in the folder for temporary files, the home folder and the current one."""
    for folder in (tempfile.gettempdir, Path.home, Path.cwd):
        try:
            other = Path(tempfile.mkdtemp(dir=folder(), prefix="nearnext-")) / out.name
        except (OSError, RuntimeError):  # there is no such folder, or it cannot be written
            continue
        yield other


def _asked_for_another_try(error: ArtifactError) -> bool:
    """Whether a user at the terminal has freed space: then nothing needs to be fitted again."""
    if not (sys.stdin and sys.stdin.isatty() and sys.stderr and sys.stderr.isatty()):
        return False
    sys.stderr.write(f"{error}\nno other folder has room; free some, then press Enter to try again: ")
    sys.stderr.flush()
    return bool(sys.stdin.readline())


def _print_size(sized: Mapping[str, Any]) -> None:
    from nearnext.report.tables import sizing_table

    console.print(sizing_table(sized))
    if not sized["fits"]:
        console.print("[red]this is more memory than is free[/red]: choose a smaller dim, or filter rare items")
    console.print("nothing was written", style="dim")


@app.command()
@imports_parts
@reads_logs
@takes("results", json_and_tables)
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
    from nearnext.report.tables import comparison_table

    # Wrong options are refused before a long log is read.
    ks, further = cutoff_numbers(k), further_names(method_names(metrics))
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
    results.write_tables(lambda width: [comparison_table(result, width=width)])
    console.print(comparison_table(result, width=console.width))
    print_warnings([f"{result['leaks']['verdict']}: compared by times, ids and clicks with the training sessions"])
    results.announce()
