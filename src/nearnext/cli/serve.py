"""The command that serves a model."""

from pathlib import Path
from typing import Annotated

import typer

from nearnext.cli.app import app
from nearnext.cli.output import console, require_extra
from nearnext.cli.parts import imports_parts

__all__ = ["serve"]


@app.command()
@imports_parts
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
    max_k: Annotated[int, typer.Option(help="Longest list that may be asked for.")] = 500,
    max_body: Annotated[int, typer.Option(help="Longest request body, bytes.")] = 1 << 20,
    request_timeout: Annotated[float, typer.Option(help="Seconds for a request to come in.")] = 10.0,
    idle_timeout: Annotated[float, typer.Option(help="Seconds until a silent connection is closed.")] = 60.0,
    shutdown_timeout: Annotated[float, typer.Option(help="Seconds for open requests at the end.")] = 15.0,
    access_log: Annotated[bool, typer.Option("--access-log/--no-access-log", help="Log each request.")] = True,
    onnx: Annotated[
        bool, typer.Option("--onnx", help="Encode sessions by onnxruntime where that is faster; equal up to rounding.")
    ] = False,
) -> None:
    """Serve a model over HTTP, with sessions, a live catalogue and model swaps; /openapi.json describes it."""
    require_extra("serve", "a service")
    from nearnext.serving.server import serve as run_service
    from nearnext.serving.settings import ServiceSettings

    settings = ServiceSettings(
        artifact=artifact,
        host=host,
        port=port,
        workers=workers,
        store=store,
        store_mib=store_mib,
        store_timeout=store_timeout,
        session_ttl=session_ttl * 60.0,
        session_clicks=session_clicks,
        event_log=event_log,
        catalogue=catalogue,
        api_key_file=api_key_file,
        origins=tuple(cors or ()),
        max_k=max_k,
        max_body=max_body,
        request_timeout=request_timeout,
        idle_timeout=idle_timeout,
        shutdown_timeout=shutdown_timeout,
        access_log=access_log,
        onnx=onnx,
    )
    run_service(settings, announce=lambda url: console.print(f"serving {artifact} at {url}", soft_wrap=True))
