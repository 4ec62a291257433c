"""The file of a study: what it is of, and every trial that has ended; replaced in one step after each of them."""

import hashlib
import json
import math
import re
import time
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple, cast

from nearnext.atomic import lock_of_run, whole_file
from nearnext.data.splits import Split
from nearnext.errors import ArtifactError, ConfigError, NearnextError
from nearnext.evaluation.protocol import evaluate
from nearnext.experiments.tuning.budget import State, Trial, TunedMetric
from nearnext.experiments.tuning.search import Space, new_trial
from nearnext.recommenders.base import Recommender
from nearnext.recommenders.trained import TrainedRecommender


class Proposal(NamedTuple):
    """A trial to be made: which one, with which options, after which others, and within how many seconds."""

    number: int
    options: Mapping[str, Any]
    known: Sequence[Trial] = ()
    seconds: float = math.inf


@dataclass(frozen=True, eq=False)
class Bench:
    """Where trials are measured: always the same sessions, lists and metric."""

    split: Split
    metric: TunedMetric
    max_prefix: int | None = None
    threads: int | None = None

    def trial(self, space: Space, proposal: Proposal) -> Trial:
        """One trial. Failures are recorded, not raised; no epoch begins after its time, nor after a hopeless one."""
        from optuna import TrialPruned

        number, options, known, seconds = proposal
        asked = new_trial(space, known)
        begin = time.perf_counter()
        epochs: list[float] = []
        last_epoch = math.inf

        def watch(figures: Mapping[str, float]) -> None:
            figure = self.metric.of_epoch(figures)
            if figure is not None:
                asked.report(figure, len(epochs))
                epochs.append(figure)
                if asked.should_prune():
                    raise TrialPruned(f"after epoch {len(epochs)} below the median of the trials before")
            if time.perf_counter() - begin > seconds and figures["epoch"] < last_epoch:
                raise TrialPruned(f"after epoch {figures['epoch']:.0f} the budget was spent")

        def ended(state: State, **outcome: Any) -> Trial:
            spent = time.perf_counter() - begin
            return Trial(number, dict(options), state, epochs=tuple(epochs), seconds=spent, **outcome)

        try:
            recommender = space.make(options)
            last_epoch = recommender.params().get("epochs") or math.inf
            values = self._measured(recommender, watch)
        except TrialPruned as error:
            return ended("pruned", reason=str(error))
        except ArithmeticError as error:
            return ended("failed", reason=f"these options do not compute: {error}")
        except (NearnextError, MemoryError, RuntimeError) as error:
            if isinstance(error, RuntimeError) and "memory" not in str(error):  # how torch says that there is none left
                raise
            return ended("failed", reason=" ".join(str(error).split()) or "not enough memory")
        return ended("complete", figure=self.metric.of(values), figures=values)

    def _measured(self, recommender: Recommender, watch: Callable[[Mapping[str, float]], None]) -> dict[str, float]:
        if isinstance(recommender, TrainedRecommender):
            recommender.watch = watch
        recommender.fit(self.split.train)
        test, leaks, k = self.split.test, self.split.leaks, self.metric.k
        found = evaluate(
            recommender,
            test,
            k,
            max_prefix=self.max_prefix,
            threads=self.threads,
            leaks=leaks,
            metrics=self.metric.names,
            train=self.split.train,
        )
        return found.values()


SCHEMA = 1
"""Version of what a file holds; raised when older files would be misread."""

WHAT = {
    "data": "another log, split or filter",
    "method": "another method",
    "start": "other options to begin with",
    "space": "another search space",
    "metric": "another metric",
    "seed": "another seed",
    "versions": "other versions of the libraries",
}
"""What differs between two studies, in words."""


class Study:
    """The trials of one search, in order; kept in a file where there is one."""

    def __init__(self, identity: Mapping[str, Any], path: Path | None = None, trials: Sequence[Trial] = ()) -> None:
        self.identity, self.path, self.trials = identity, path, list(trials)

    @property
    def best(self) -> float | None:
        """The highest figure so far."""
        return max((trial.figure for trial in self.trials if trial.figure is not None), default=None)

    def add(self, trial: Trial) -> None:
        """One more trial, written at once."""
        self.trials.append(trial)
        if self.path is None:
            return
        facts = _plain({"identity": self.identity, "trials": [asdict(each) for each in self.trials]})
        text = json.dumps({"nearnext_study": SCHEMA, **facts, "sha256": _checksum(facts)}, indent=1, ensure_ascii=False)
        with whole_file(self.path) as unfinished:
            unfinished.write_text(text + "\n", encoding="utf-8")


@contextmanager
def open_study(path_or_folder: Path | None, identity: Mapping[str, Any]) -> Generator[Study]:
    """The study with this identity, for this process alone: a new one, or what an earlier run has left."""
    if path_or_folder is None:
        yield Study(identity)
        return
    path = _file(path_or_folder, identity)
    with lock_of_run(path.with_name(f".{path.name}.lock"), path):
        yield Study(identity, path, _load(path, identity))


def _file(path_or_folder: Path, identity: Mapping[str, Any]) -> Path:
    if path_or_folder.is_file() or (path_or_folder.suffix and not path_or_folder.is_dir()):
        return path_or_folder
    method = re.sub(r"[^a-z0-9-]", "-", str(identity["method"]))
    digest = hashlib.sha256(json.dumps(_plain(identity), sort_keys=True).encode()).hexdigest()
    return path_or_folder / f"{method}-{digest[:12]}.json"


def _load(path: Path, identity: Mapping[str, Any]) -> list[Trial]:
    if not path.exists():
        return []
    try:
        loaded: Any = json.loads(path.read_bytes())
        schema = loaded["nearnext_study"]
        found = {"identity": loaded["identity"], "trials": loaded["trials"]}
        if _checksum(found) != loaded["sha256"]:
            raise ArtifactError(f"{path} was altered: its checksum differs; delete it or name another file")
        trials = [Trial(**(facts | {"epochs": tuple(facts["epochs"])})) for facts in found["trials"]]
    except (KeyError, TypeError, ValueError) as error:
        raise ArtifactError(
            f"{path} is no study of nearnext, or was cut short; delete it or name another file"
        ) from error
    if schema != SCHEMA:
        raise ArtifactError(f"{path} has schema {schema}, this nearnext reads {SCHEMA}; name another file")
    _require_same(path, _plain(identity), found["identity"])
    return trials


def _require_same(path: Path, expected: Mapping[str, Any], found: Mapping[str, Any]) -> None:
    for name in (*WHAT, *sorted({*expected, *found} - WHAT.keys())):
        if expected.get(name) != found.get(name):
            raise ConfigError(
                f"{path} is a study of {WHAT.get(name, f'another {name}')}; tune as it was begun, or name another file"
            )


def _plain(value: Mapping[str, Any]) -> dict[str, Any]:
    """The data as they come back from a file."""
    return cast("dict[str, Any]", json.loads(json.dumps(value)))


def _checksum(facts: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()
