"""The command that exports a model's session encoder."""

from pathlib import Path
from typing import Annotated

import typer

from nearnext.cli.app import app
from nearnext.cli.output import console, require_extra, writable
from nearnext.cli.parts import imports_parts

__all__ = ["export"]


@app.command()
@imports_parts
def export(
    model: Annotated[Path, typer.Argument(help="Model directory made by fit.")],
    *,
    onnx: Annotated[Path, typer.Option(help="ONNX file to write; its items and description go beside it.")],
    tolerance: Annotated[float, typer.Option(help="Largest difference allowed in any dimension.")] = 1e-5,
) -> None:
    """Export the session encoder of a metric model as ONNX, verified equal to the model, with its items beside it."""
    require_extra("onnx", "export")
    writable(onnx)
    from nearnext.artifact import load_artifact
    from nearnext.portable.encoder import encoder_latency, export_encoder

    artifact = load_artifact(model)
    done = export_encoder(artifact.recommender, artifact.manifest, onnx, tolerance=tolerance)
    console.print(f"graph: {done.graph}")
    console.print(f"items: {done.items}")
    console.print(f"description: {done.description}")
    console.print(
        f"largest difference from the model on {done.sessions} random sessions of every length: "
        f"{done.max_difference:.2g} (tolerance {tolerance:g})",
        soft_wrap=True,
    )
    latency = encoder_latency(artifact.recommender, done.graph)
    console.print(
        f"one session, median on one thread: onnxruntime {latency.onnx:.0f} µs, the model {latency.model:.0f} µs",
        soft_wrap=True,
    )
