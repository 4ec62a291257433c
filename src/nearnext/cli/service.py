"""Commands around the service: serve a model, replay held-out sessions through it, erase a session from its log."""

from math import isclose
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from nearnext.cli.app import app, imports_parts, takes, within
from nearnext.cli.options import Rules, cutoff_numbers, rule_options
from nearnext.cli.output import Results, console, require_extra, writable, writable_folder
from nearnext.cli.reading import LogArgument, MaxLength, Reading, read_test_log, reads_logs, require_logs
from nearnext.errors import DataError
from nearnext.options import Natural, options_of

if TYPE_CHECKING:
    from nearnext.evaluation.replay import Replay


@app.command()
@imports_parts
@takes("rules", rule_options)
def serve(
    artifact: Annotated[Path, typer.Argument(help="Model directory made by fit; a new one put there is taken over.")],
    *,
    host: Annotated[str, typer.Option(help="Address to listen on; 0.0.0.0: all.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Port to listen on; 0: any free one.")] = 8000,
    workers: Annotated[int, typer.Option(help="Processes that answer; more than one needs a store on a server.")] = 1,
    store: Annotated[str, typer.Option(help="Sessions: memory, or redis://HOST:PORT (rediss, valkey).")] = "memory",
    store_mib: Annotated[int, typer.Option(help="Memory for sessions in the process, MiB.")] = 256,
    store_timeout: Annotated[float, typer.Option(help="Seconds that a store on a server may take.")] = 0.25,
    session_ttl: Annotated[float, typer.Option(help="Minutes without a click that end a session.")] = 30.0,
    session_clicks: Annotated[int, typer.Option(help="Last clicks of a session that are kept.")] = 1000,
    event_log: Annotated[Path | None, typer.Option(help="Folder to log clicks and shown items to.")] = None,
    catalogue: Annotated[
        Path | None, typer.Option(help="File of catalogue changes.", show_default="ARTIFACT.catalogue")
    ] = None,
    api_key_file: Annotated[Path | None, typer.Option(help="File with one key per line; without: open.")] = None,
    cors: Annotated[list[str] | None, typer.Option(help="Origin whose pages may ask. Repeatable.")] = None,
    allow_host: Annotated[
        list[str] | None, typer.Option(help="Name in the Host header to serve. Repeatable; without: every name.")
    ] = None,
    max_k: Annotated[int, typer.Option(help="Longest list that may be asked for.")] = 500,
    max_body: Annotated[int, typer.Option(help="Longest request body, bytes.")] = 1 << 20,
    request_timeout: Annotated[float, typer.Option(help="Seconds for a request to come in.")] = 10.0,
    idle_timeout: Annotated[float, typer.Option(help="Seconds until a silent connection is closed.")] = 60.0,
    shutdown_timeout: Annotated[float, typer.Option(help="Seconds for open requests at the end.")] = 15.0,
    access_log: Annotated[bool, typer.Option("--access-log/--no-access-log", help="Log each request.")] = True,
    onnx: Annotated[
        bool, typer.Option("--onnx", help="Encode sessions by onnxruntime where that is faster; equal up to rounding.")
    ] = False,
    rules: Rules,
    after: Annotated[
        str | None,
        typer.Option(
            metavar="EVENT",
            help="Leave out the last item's category for sessions whose last event has this type, e.g. purchase, if "
            "sessions leave it after such an event.",
        ),
    ] = None,
) -> None:
    """Serve a model over HTTP, with sessions, a live catalogue and model swaps; /docs describes it."""
    given: dict[str, Any] = dict(locals())  # each option is the setting of its name, but for these
    given |= {
        "session_ttl": session_ttl * 60.0,
        "origins": tuple(cors or ()),
        "hosts": tuple(allow_host or ()),
        **rules,
    }
    require_extra("serve", "a service")
    from nearnext.serving.server import serve as run_service
    from nearnext.serving.settings import ServiceSettings

    settings = ServiceSettings(**{name: given[name] for name in options_of(ServiceSettings)})
    writable_folder(event_log)
    if catalogue is not None and not catalogue.is_file():
        writable(catalogue)
    run_service(settings, announce=lambda url: console.print(f"serving {artifact} at {url}"))


@app.command()
@imports_parts
@reads_logs
@takes("results", Results, "json")
def replay(
    model: Annotated[Path, typer.Argument(help="Model directory that the service serves.")],
    log: LogArgument,
    *,
    url: Annotated[str, typer.Option(help="Where the service answers, e.g. http://localhost:8000.")],
    rate: Annotated[float, typer.Option(help="Clicks per second; 0: as fast as answers come.")] = 0.0,
    concurrency: Annotated[int, typer.Option(help="Requests under way at a time, at most.")] = 32,
    timeout: Annotated[float, typer.Option(help="Seconds after which an answer is given up.")] = 10.0,
    k: Annotated[str, typer.Option("--k", help="List lengths, e.g. 5,10,20; the longest is asked for.")] = "20",
    exclude_seen: Annotated[bool, typer.Option("--exclude-seen", help="Nothing that is in the session.")] = False,
    max_length: MaxLength = 1000,
    limit: Annotated[
        int, typer.Option(callback=within(Natural), help="Most sessions played, the first of the log; 0: all.")
    ] = 0,
    api_key_file: Annotated[Path | None, typer.Option(help="File with a key that the service accepts.")] = None,
    results: Results,
    reading: Reading,
) -> None:
    """Play held-out sessions through a running service: are its lists those that were evaluated, and how fast?"""
    require_extra("replay", "replay")
    from nearnext.artifact import load_artifact
    from nearnext.data.filters import keep_last_clicks
    from nearnext.evaluation.client import Load, Target, require_service
    from nearnext.evaluation.replay import replay as replay_sessions
    from nearnext.manifest import require_model
    from nearnext.serving.problems import read_keys

    ks = cutoff_numbers(k)
    target = Target(url, tuple(key.decode() for key in read_keys(api_key_file)) if api_key_file else (), timeout)
    load = Load(rate, concurrency)
    require_model(model)
    require_logs(log)
    require_service(target)
    recommender = load_artifact(model).recommender
    sessions, _ = read_test_log(log, reading, recommender.imprint)
    if max_length:
        sessions = keep_last_clicks(sessions, max_length)
    if limit:
        sessions = sessions.select(range(min(limit, sessions.n_sessions)))
    result = replay_sessions(recommender, sessions, target, load, ks=ks, exclude_seen=exclude_seen)
    results.write(result.as_dict())
    _print_tables(result)
    _print_course(result)
    _print_verdict(result)
    results.announce()
    if not result.equal:
        raise typer.Exit(1)


def _print_tables(result: "Replay") -> None:
    from nearnext.recommenders.agreement import ROUNDING

    metrics = Table("metric", "offline", "served")
    served = result.served.values()
    for name, value in result.offline.values().items():
        color = "green" if isclose(value, served[name], rel_tol=ROUNDING) else "red"
        metrics.add_row(name, f"{value:.6f}", Text(f"{served[name]:.6f}", color))
    times = Table("milliseconds", *vars(result.latency))
    kinds = {"from when it was due": result.latency, "from when it was sent": result.service_latency}
    for name, latency in kinds.items():
        times.add_row(name, *(f"{value:.2f}" for value in vars(latency).values()))
    console.print(metrics, times)


def _print_course(result: "Replay") -> None:
    console.print(
        f"{result.clicks:,} clicks in {result.seconds:.1f} s, {result.clicks / max(result.seconds, 1e-9):,.0f}/s; "
        f"the client took {result.client_seconds:.1f} s of processor time"
    )
    for kind, times in result.errors.items():
        console.print(f"[red]{times:,} errors[/red]: {escape(kind)}", markup=True)
    if len(result.models) > 1:
        parts = ", ".join(f"{escape(version)} ({times:,} lists)" for version, times in result.models.items())
        console.print(f"[yellow]several models answered[/yellow]: {parts}", markup=True)


def _print_verdict(result: "Replay") -> None:
    lists = f"{result.offline.n_cases:,} served lists"
    if result.equal:
        console.print(f"[green]equal[/green]: all {lists} are those that were evaluated, up to rounding", markup=True)
        return
    console.print(
        f"[red]NOT equal[/red]: {result.differing:,} of {lists} differ from those that were evaluated; is it this "
        "model that is served, with an empty catalogue of changes?",
        markup=True,
    )


@app.command()
def forget(
    *,
    session: Annotated[str, typer.Option(help="Id of the session.")],
    event_log: Annotated[Path, typer.Option(help="Folder that serve logs to.")],
) -> None:
    """Erase a session from an event log, even while a service writes to it; then refit to remove it from the model."""
    require_extra("serve", "an event log")
    from nearnext.serving.event_log import forget_session

    erased = forget_session(event_log, session)
    if erased.lines:
        console.print(f"erased {erased.lines:,} lines of {erased.files:,} files in {event_log}")
    if erased.unsearched:
        names = ", ".join(str(path.relative_to(event_log)) for path in erased.unsearched)
        console.print(f"not searched, as they are no segments of an event log: {names}", style="yellow")
    for file, n_lines in erased.unread.items():
        where = file.relative_to(event_log)
        console.print(f"not searched, unreadable: {n_lines:,} lines of {where}", style="yellow")
    if not erased.lines:
        raise DataError(f"no readable line of session '{session}' in {event_log}; nothing was erased, check the id")
    console.print("the session store: DELETE /v1/sessions/ID; the model: fit it again", style="dim")
