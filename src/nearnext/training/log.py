"""The log of a run: one JSON line for each epoch, and TensorBoard's files where TensorBoard is installed."""

import json
from collections.abc import Generator, Mapping
from contextlib import ExitStack, contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Protocol

from nearnext.errors import ArtifactError

__all__ = ["WriteRecord", "open_log"]

FILE = "log.jsonl"


class WriteRecord(Protocol):
    """A function that logs one epoch."""

    def __call__(self, record: Mapping[str, Any]) -> None:
        """One epoch: ``epoch``, its number from 1, and figures by name."""
        ...


@contextmanager
def open_log(directory: Path | None) -> Generator[WriteRecord]:
    """What writes the epochs of a run to ``log.jsonl`` and ``tensorboard/``; a run that resumes appends.

    Args:
        directory: of the run; None: nothing is written.

    Raises:
        ArtifactError: the log cannot be written.
    """
    if directory is None:
        yield lambda record: None  # noqa: ARG005 - there is nowhere to write
        return
    with ExitStack() as stack:
        writer = None
        if find_spec("tensorboard") is not None:
            from torch.utils.tensorboard import SummaryWriter

            writer = stack.enter_context(SummaryWriter(str(directory / "tensorboard")))

        def write(record: Mapping[str, Any]) -> None:
            try:
                with (directory / FILE).open("a", encoding="utf-8") as file:
                    file.write(json.dumps(record) + "\n")
            except OSError as error:
                raise ArtifactError(f"cannot write the log in {directory}: {error.strerror or error}") from error
            for name, value in record.items():
                if writer is not None and name != "epoch":
                    writer.add_scalar(name, value, record["epoch"])  # pyright: ignore[reportUnknownMemberType]

        yield write
