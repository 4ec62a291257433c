"""A run of training: its directory with the last checkpoint and a lock, its log, and Ctrl-C between two steps."""

import json
import os
import re
import signal
import threading
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any, cast

from safetensors import SafetensorError, safe_open  # pyright: ignore[reportUnknownVariableType]
from safetensors.torch import save_file  # pyright: ignore[reportUnknownVariableType] - paths of any type
from torch import Tensor

from nearnext.atomic import lock_of_run
from nearnext.errors import ArtifactError, ConfigError

FILE, LOCK, CONFIG = "checkpoint.safetensors", ".lock", "config.json"
SCHEMA = 2


def holds_checkpoint(directory: Path) -> bool:
    """Whether a run can go on in this directory."""
    return (directory / FILE).is_file()


def _reason(said: str) -> str:
    """What the system says of an error of which safetensors gives the number."""
    number = re.search(r"os error (\d+)", said)
    return os.strerror(int(number[1])) if number else said


@dataclass(frozen=True, eq=False)
class Checkpoint:
    """A checkpoint: everything needed to resume training exactly."""

    tensors: Mapping[str, Tensor]  # weights, moments and best weights by name
    progress: Mapping[str, Any]  # where training stands, as plain data


@dataclass(frozen=True)
class RunDirectory:
    """The directory of one run: its configuration, its last checkpoint, its log."""

    path: Path  # made where it is missing; its parent too
    identity: Mapping[str, Any]  # what a checkpoint must agree with: the configuration and the fingerprint of the data

    @contextmanager
    def locked(self, *, resume: bool) -> Generator[None]:
        """The directory, ready, for this run alone."""
        with lock_of_run(self.path / LOCK, self.path):
            if not resume and (self.path / FILE).exists():
                raise ArtifactError(f"{self.path} holds the checkpoint of a run; resume it or choose another directory")
            yield

    def save(self, checkpoint: Checkpoint) -> None:
        """Replace the last checkpoint, in one step."""
        target, fresh = self.path / FILE, self.path / f".{FILE}.new"
        header = {"schema": SCHEMA, "identity": self.identity, "progress": checkpoint.progress}
        try:
            (self.path / CONFIG).write_text(json.dumps(self.identity, indent=2) + "\n", encoding="utf-8")
            tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in checkpoint.tensors.items()}
            save_file(tensors, fresh, metadata={"nearnext": json.dumps(header)})
            with fresh.open("rb") as file:
                os.fsync(file.fileno())
            fresh.replace(target)
        except (OSError, SafetensorError) as error:
            fresh.unlink(missing_ok=True)
            kept = "the one before it is kept" if target.exists() else "there is none before it"
            reason = error.strerror if isinstance(error, OSError) and error.strerror else _reason(str(error))
            raise ArtifactError(f"cannot write a checkpoint to {self.path}: {reason}; {kept}") from error

    def load(self) -> Checkpoint:
        """The last checkpoint."""
        file = self.path / FILE
        if not file.is_file():
            raise ArtifactError(f"{self.path} holds no checkpoint to resume from; train without resume")
        try:
            with cast("Any", safe_open)(file, framework="pt") as opened:
                header: Any = json.loads(opened.metadata()["nearnext"])
                tensors: dict[str, Tensor] = {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118
            schema, identity, progress = header["schema"], header["identity"], header["progress"]
        except (SafetensorError, KeyError, TypeError, ValueError, OSError) as error:
            raise ArtifactError(f"{file} is damaged ({error}); remove it and train again") from error
        if schema != SCHEMA:
            raise ArtifactError(f"{file} has schema {schema}, this nearnext reads {SCHEMA}; train again")
        self._require_same(identity)
        return Checkpoint(tensors, progress)

    def _require_same(self, found: Mapping[str, Any]) -> None:
        expected = json.loads(json.dumps(self.identity))
        for name in sorted({*expected, *found}):
            if expected.get(name) != found.get(name):
                what = "other data" if name == "data" else f"another {name}"
                raise ConfigError(
                    f"the checkpoint in {self.path} is of {what}: expected {expected.get(name)}, found "
                    f"{found.get(name)}; resume with what it began with, or choose another directory"
                )


LOG = "log.jsonl"


WriteRecord = Callable[[Mapping[str, Any]], None]
"""Logs one epoch: ``epoch``, its number from 1, and figures by name."""


def epoch_log(directory: Path | None) -> WriteRecord:
    """A function that appends epochs to ``log.jsonl`` in a directory; None: it does nothing."""

    def write(record: Mapping[str, Any]) -> None:
        if directory is None:
            return
        try:
            with (directory / LOG).open("a", encoding="utf-8") as file:
                file.write(json.dumps(record) + "\n")
        except OSError as error:
            raise ArtifactError(f"cannot write the log in {directory}: {error.strerror or error}") from error

    return write


class TrainingInterrupted(KeyboardInterrupt):
    """Training stopped by Ctrl-C after its checkpoint was written; the message says how to resume."""


@contextmanager
def deferred_interrupt(enabled: bool = True) -> Generator[Callable[[], bool]]:
    """A function that says whether Ctrl-C was pressed; pressed again it interrupts at once.

    Outside the main thread, where signals do not arrive, the answer is always no.
    """
    pressed = False

    def note(signum: int, frame: FrameType | None) -> None:  # noqa: ARG001 - what a signal handler gets
        nonlocal pressed
        pressed = True
        signal.signal(signal.SIGINT, signal.default_int_handler)

    if not enabled or threading.current_thread() is not threading.main_thread():
        yield lambda: False
        return
    before = signal.signal(signal.SIGINT, note)
    try:
        yield lambda: pressed
    finally:
        signal.signal(signal.SIGINT, before)
