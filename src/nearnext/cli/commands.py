"""All commands of the application; importing them imports none of the work that they do."""

from nearnext.cli import comparing, logs, models, paper, recommending, service, tools, tuning
from nearnext.cli.app import app

__all__ = ["app", "comparing", "logs", "models", "paper", "recommending", "service", "tools", "tuning"]
