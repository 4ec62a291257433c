"""Epochs of other programs' trainings, timed: the part of `training_rates.py` that runs in a process of its own.

    PYTHON benchmarks/other_trainers.py CLICKS.npz OPTIONS.json

CLICKS.npz holds ``sessions`` and ``items``, one number for each click, in order of time. The last line printed is JSON:
the clocks and the sessions seen at the begin and at the end of each epoch. Nothing of nearnext is imported, so that the
interpreter may be of another environment. Tried with `rectools[torch]` 0.19.0 (torch 2.13.0, pytorch-lightning 2.5.2,
numpy 1.26.4, pandas 2.3.3) and, in the same environment, with the PyTorch version of GRU4Rec by its authors (revision
d1fc311), which runs with neither numpy 2 nor pandas 3.
"""

import io
import json
import platform
import sys
import time
import warnings
from contextlib import redirect_stdout
from dataclasses import dataclass, field
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

LIBRARIES = ("rectools", "torch", "pytorch-lightning", "numpy", "pandas")


@dataclass
class Clock:
    """Elapsed seconds, seconds of processor, and sessions seen, at the begin and at the end of each epoch."""

    seen: int = 0
    ends: list[tuple[float, float, int]] = field(default_factory=list[tuple[float, float, int]])

    def note(self) -> None:
        """An epoch has ended, or the first one's preparation begins."""
        self.ends.append((time.perf_counter(), time.process_time(), self.seen))


class EpochLines(io.TextIOBase):
    """What a program prints, which tells the clock when it says that an epoch has ended."""

    def __init__(self, clock: Clock, n_sessions: int) -> None:
        self._clock, self._n_sessions = clock, n_sessions

    def write(self, text: str) -> int:
        """Take what was printed."""
        if text.startswith("Epoch"):
            self._clock.seen += self._n_sessions
            self._clock.note()
        return len(text)


def clicks(path: str, user: str, item: str, when: str) -> pd.DataFrame:
    """The clicks in columns of these names; the time only keeps their order."""
    with np.load(path) as arrays:
        frame = pd.DataFrame({user: arrays["sessions"], item: arrays["items"]})
    frame[when] = np.arange(len(frame))
    return frame


def train_sasrec(path: str, options: dict[str, Any], clock: Clock) -> None:
    """RecTools' SASRec, with the trainer that the library makes, but for some batches of an epoch if asked."""
    lightning: Any = import_module("pytorch_lightning")
    callbacks: Any = import_module("pytorch_lightning.callbacks")
    dataset: Any = import_module("rectools.dataset")
    models: Any = import_module("rectools.models")
    lightning.seed_everything(options["seed"])

    def count(_trainer: object, _module: object, _outputs: object, batch: dict[str, torch.Tensor], _at: int) -> None:
        clock.seen += len(batch["x"])

    def end(_trainer: object, _module: object) -> None:
        clock.note()

    clock.note()
    model = models.SASRecModel(**options["model"])
    model._trainer = lightning.Trainer(
        max_epochs=options["epochs"],
        min_epochs=options["epochs"],
        limit_train_batches=options["batches"] or None,
        callbacks=[callbacks.LambdaCallback(on_train_batch_end=count, on_train_epoch_end=end)],
        accelerator="cpu",
        devices=1,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    frame = clicks(path, "user_id", "item_id", "datetime")
    frame = frame.assign(weight=1.0, datetime=pd.to_datetime(frame["datetime"], unit="s"))
    model.fit(dataset.Dataset.construct(frame))


def train_gru4rec(path: str, options: dict[str, Any], clock: Clock) -> None:
    """GRU4Rec by its authors, from the folder that holds their `gru4rec_pytorch.py`."""
    sys.path.insert(0, options["folder"])
    gru4rec: Any = import_module("gru4rec_pytorch")
    torch.manual_seed(options["seed"])  # pyright: ignore[reportUnknownMemberType] - torch leaves it untyped
    np.random.seed(options["seed"])  # noqa: NPY002 - the generator that it draws from
    clock.note()
    frame = clicks(path, "SessionId", "ItemId", "Time")
    # It reads a series of clicks by item in order of label, but means position: both agree for ids by first appearance.
    frame["ItemId"] = pd.factorize(frame["ItemId"])[0]
    model = gru4rec.GRU4Rec(**options["model"], n_epochs=options["epochs"], device=torch.device("cpu"))
    with redirect_stdout(EpochLines(clock, len(frame["SessionId"].unique()))):
        model.fit(frame)


def libraries() -> dict[str, str]:
    """Versions of Python and of the libraries that there are."""
    found = {"python": platform.python_version()}
    for name in LIBRARIES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def main() -> None:
    """Train, and print when each epoch ended."""
    options, clock = json.loads(Path(sys.argv[2]).read_text("utf-8")), Clock()
    warnings.simplefilter("ignore")
    torch.set_num_threads(options["threads"])
    {"sasrec": train_sasrec, "gru4rec": train_gru4rec}[options["program"]](sys.argv[1], options, clock)
    print(json.dumps({"ends": clock.ends, "versions": libraries()}))


if __name__ == "__main__":
    main()
