"""Tuning: the options of a method that do best on a validation period, within a budget, and the TOML file for them."""

import json
import re
import time
import tomllib
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import asdict
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

from narwhals.typing import IntoDataFrame

from nearnext.artifact import versions
from nearnext.atomic import whole_file
from nearnext.data.filters import Filter
from nearnext.data.sessionise import as_sessions
from nearnext.data.sessions import Sessions
from nearnext.data.splits import Split, UnknownRule, split_last
from nearnext.errors import ConfigError, DataError
from nearnext.experiments.result import Result, TuningResult, describe_part, made_by, warning_lines
from nearnext.experiments.tuning.budget import MINUTE, Trial, TunedMetric, Tuning
from nearnext.experiments.tuning.search import Space, propose
from nearnext.experiments.tuning.study import Bench, Proposal, Study, open_study
from nearnext.options import require_type
from nearnext.processes import ONE_PROCESS, Executor
from nearnext.progress import Advance, track


class TuningInterrupted(KeyboardInterrupt):
    """Tuning stopped by Ctrl-C; the message says what was found so far, and how to go on."""


def validation_split(
    log: Sessions, tuning: Tuning, *, chosen: Filter | None = None, unknown: UnknownRule = "miss"
) -> Split:
    """The training log cut in two by time: what trials learn from, and the period that they are measured on."""
    try:
        return split_last(log, tuning.fraction, chosen=chosen, unknown=unknown)
    except DataError as error:
        raise DataError(f"the training log is too short to hold out a validation period: {error}") from error


def tune(
    log: "Sessions | IntoDataFrame",
    method: str,
    tuning: Tuning | None = None,
    *,
    options: Mapping[str, Any] | None = None,
    held: Collection[str] = (),
    chosen: Filter | None = None,
    unknown: UnknownRule = "miss",
    threads: int | None = None,
    reading: Sequence[Mapping[str, Any]] = (),
    command: str = "",
    executor: Executor = ONE_PROCESS,
) -> TuningResult:
    """The best options of a method for a training log; the result is JSON-ready data, in a notebook a table.

    Args:
        log: training sessions, or a frame of clicks; their end is held out to choose by, and no test log is seen.
        method: its name.
        tuning: budget and metric.
        options: where the search begins; by default the method's own defaults.
        held: names of those that keep their value.
        chosen: filter of what is learned from.
        unknown: what happens to validation items that are not learned.
        threads: worker threads of the evaluation, by default one per core.
        reading: reports of how the log was read, to be kept in the result.
        command: how to repeat this.
        executor: where trials are made, as many side by side as it has workers. Trials depend on that number, since
            fewer are known when options are proposed, and on nothing else of it.

    Raises:
        ConfigError: an unknown method, option or metric, no search space, no complete trial, or a study of something
            else.
        DataError: the log is too short to hold out a validation period.
        ArtifactError: the study is damaged or in use.
        TuningInterrupted: Ctrl-C; trials that had ended are kept.

    >>> log = Sessions.of([["a", "b"], ["b", "c"], ["a", "b", "c"]] * 10)
    >>> result = tune(log, "sr", Tuning(trials=3, metric="MRR@5"))
    >>> len(result["trials"]), result["best_figure"] >= result["start_figure"]
    (3, True)
    """
    log = as_sessions("log", log)
    settled = Tuning() if tuning is None else tuning
    require_type("tuning", settled, Tuning, "make it with Tuning(trials=20, minutes=10)")
    begin = time.perf_counter()
    space = Space.of(method, options, held)
    split = validation_split(log, settled, chosen=chosen, unknown=unknown)
    longest = (chosen or Filter()).max_length
    found = tune_method(space, split, settled, max_length=longest, threads=threads, executor=executor)
    facts = {
        "warnings": warning_lines(reading, split.leaks),
        "leaks": split.leaks.facts(),
        "protocol": {
            "tuning": settled.describe().replace("every method", space.method),
            "search": "tree-structured Parzen estimator of optuna, median pruning of methods that measure their epochs",
            "filter": asdict(chosen or Filter()),
            "unknown": unknown,
            "seed": settled.seed,
            "workers": executor.workers,
            **made_by(command, begin),
            "versions": _versions(),
        },
        "data": {
            "train": describe_part(split.train),
            "validation": describe_part(split.test),
            "fingerprint": log.fingerprint(),
            "reading": [dict(report) for report in reading],
        },
    }
    return TuningResult({**facts, **found})


def tune_method(
    space: Space,
    split: Split,
    tuning: Tuning,
    *,
    max_length: int | None = None,
    threads: int | None = None,
    executor: Executor = ONE_PROCESS,
) -> Result:
    """What a search of one method on one validation period finds, as plain data; ``options`` are the best ones."""
    bench = Bench(split, TunedMetric.parse(tuning.metric), max_prefix=max_length, threads=threads)
    with open_study(tuning.study, _identity(space, split, tuning, max_length)) as study:
        earlier = len(study.trials)
        try:
            searched_through = _spend(study, space, bench, tuning, executor)
        except KeyboardInterrupt as stopped:
            raise TuningInterrupted(_farewell(study, space, tuning)) from stopped
        trials = tuning.within(study.trials)
    note = f"nothing to tune: {space.note}" if space.note else ""
    if searched_through and not note:
        note = "every option set of the space was tried"
    best, states = _best(trials, space.method), Counter(trial.state for trial in trials)
    return {
        "method": space.method,
        "metric": tuning.metric,
        "budget": {"trials": tuning.trials, "minutes": tuning.minutes},
        "used": {
            "trials": len(trials),
            **{state: states[state] for state in ("complete", "pruned", "failed")},
            "seconds": sum(trial.seconds for trial in trials),
            "earlier_trials": min(earlier, len(trials)),
        },
        "seed": tuning.seed,
        "note": note,
        "start_figure": trials[0].figure,
        "best_figure": best.figure,
        "best_trial": best.number,
        "best_figures": dict(best.figures),
        "options": {**space.given, **best.options},
        "given": dict(space.given),
        "space": space.facts(),
        "study": str(study.path) if study.path is not None else None,
        "trials": [asdict(trial) for trial in trials],
    }


def _best(trials: Sequence[Trial], method: str) -> Trial:
    """The trial with the highest figure, the earliest of equal ones: the first is what the search began with."""
    complete = [trial for trial in trials if trial.figure is not None]
    if not complete:
        raise ConfigError(f"none of {len(trials)} trials of {method} came to its end; the first: {trials[0].reason}")
    return max(complete, key=lambda trial: (trial.figure or 0.0, -trial.number))


def _spend(study: Study, space: Space, bench: Bench, tuning: Tuning, executor: Executor) -> bool:
    """Trials until the budget is spent, or nothing is left to try, which is the answer."""
    begun = [trial.options for trial in study.trials]
    searched_through = False

    def proposals() -> Iterator[Proposal]:
        nonlocal searched_through
        while tuning.allows(study.trials, running := len(begun) - len(study.trials)):
            known = study.trials[: max(len(begun) - executor.workers + 1, 0)]
            options = propose(space, known, tuning.seed, begun[len(known) :])
            if options is None:
                searched_through = True
                return
            begun.append(options)
            yield Proposal(len(begun) - 1, options, known, tuning.left(study.trials, running))

    with track(f"tuning {space.method}", tuning.trials, "trials") as advance:
        advance(len(tuning.within(study.trials)))
        _show(advance, study, space, tuning, executor.workers)
        for trial in executor.map(partial(bench.trial, space), proposals(), ahead=0):
            study.add(trial)
            advance(1)
            _show(advance, study, space, tuning, executor.workers)
    return searched_through


def _show(advance: Advance, study: Study, space: Space, tuning: Tuning, workers: int) -> None:
    if not study.trials:
        return
    total, left = tuning.expected(study.trials)
    left /= workers
    mean = sum(trial.seconds for trial in study.trials) / len(study.trials)
    best = "" if study.best is None else f"best {study.best:.4f}, "
    advance.expect(total)
    advance.describe(f"tuning {space.method}: {best}{mean:.1f} s a trial, about {left / MINUTE:.1f} min left")


def _farewell(study: Study, space: Space, tuning: Tuning) -> str:
    best = "" if study.best is None else f", best {tuning.metric} {study.best:.4f}"
    kept = f"they are in {study.path}: run the same command to go on" if study.path else "nothing was kept"
    return f"stopped tuning {space.method} after {len(study.trials)} of {tuning.trials} trials{best}; {kept}"


def _identity(space: Space, split: Split, tuning: Tuning, max_prefix: int | None) -> dict[str, Any]:
    return {
        "data": [split.train.fingerprint(), split.test.fingerprint(), max_prefix],
        "method": space.method,
        "start": dict(space.start),
        "space": space.facts(),
        "metric": tuning.metric,
        "seed": tuning.seed,
        "versions": _versions(),
    }


def _versions() -> dict[str, str]:
    return {**versions(), "optuna": version("optuna")}


HEADER = re.compile(r"(?m)^(?=\[)")
"""Where a table begins."""

BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")


def options_table(method: str, options: Mapping[str, Any], notes: Sequence[str] = ()) -> str:
    """One method's table, with notes as comments; an option that is None is left out, which says the same."""
    lines = [f"[{_key(method)}]", *(f"# {' '.join(note.split())}" for note in notes)]
    given = {name: value for name, value in options.items() if value is not None}
    return "\n".join([*lines, *(f"{_key(name)} = {_value(value)}" for name, value in given.items())]) + "\n"


def _key(name: str) -> str:
    return name if BARE_KEY.fullmatch(name) else _value(name)


def _value(value: Any) -> str:
    """A value in TOML, which is that in JSON, but for DEL, which has to be escaped as well."""
    if not isinstance(value, str | int | float | list | tuple):
        raise ConfigError(f"an option file cannot hold {value!r}; give a number, a text, true, false or a list")
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")


def readable_options(path: Path) -> str:
    """The text of an option file that tables can be added to, "" where there is none yet."""
    if path.suffix.lower() != ".toml":
        raise ConfigError(f"expected a file named .toml for options, found {path}")
    if not path.exists():
        return ""
    try:
        text = path.read_text("utf-8")
        tables = tomllib.loads(text)
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} is there and is no TOML file ({error}); name another file") from error
    if not all(isinstance(table, dict) for table in tables.values()):
        raise ConfigError(f"{path} is there and has options outside of tables; name another file")
    return text


def write_options(path: Path, method: str, table: str) -> None:
    """Put a method's table into a file, instead of the one that is there; tables of other methods stay as they are."""
    text = readable_options(path)
    parts = HEADER.split(text)
    heading = f"[{_key(method)}]"
    kept = [part for part in parts if part.split("\n", 1)[0].split("#", 1)[0].strip() != heading]
    before = "".join(kept).rstrip("\n")
    written = f"{before}\n\n{table}" if before else table
    try:
        found = tomllib.loads(written)
    except tomllib.TOMLDecodeError:
        found = {}
    if found != {**tomllib.loads(text), **tomllib.loads(table)}:
        raise ConfigError(f"{path} has tables that cannot be distinguished; name another file")
    with whole_file(path) as unfinished:
        unfinished.write_text(written, encoding="utf-8")
