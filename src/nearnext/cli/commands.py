"""All commands of the application; importing them imports none of the work that they do."""

from nearnext.cli import explain, export, forget, index, logs, method_options, models, paper, replay, serve, tune, warm
from nearnext.cli.app import app

__all__ = [
    "app",
    "explain",
    "export",
    "forget",
    "index",
    "logs",
    "method_options",
    "models",
    "paper",
    "replay",
    "serve",
    "tune",
    "warm",
]
