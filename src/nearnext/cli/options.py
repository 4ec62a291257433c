"""Options of methods on the command line: from files and from ``--set``, and how they are declared."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, cast

import typer

from nearnext.cli.app import pairs, takes, within
from nearnext.errors import ConfigError
from nearnext.experiments.tuning.budget import Tuning
from nearnext.options import checked, options_of
from nearnext.recommenders.named import canonical_name
from nearnext.registry import FURTHER_METRICS

if TYPE_CHECKING:
    from nearnext.data.filters import Filter
    from nearnext.experiments.plan import SplitPlan

Cutoffs = Annotated[str, typer.Option("--k", help="List lengths, e.g. 1,5,10,20; the first table shows the longest.")]
Settings = Annotated[
    list[str] | None,
    typer.Option(
        "--set", metavar="METHOD.OPTION=VALUE", help="E.g. vsknn.k=500, or metric.voters= (none). Repeatable."
    ),
]
Config = Annotated[Path | None, typer.Option(help="TOML or YAML file with a table of options for each method.")]
OwnSettings = Annotated[
    list[str] | None,
    typer.Option(
        "--set", metavar="OPTION=VALUE", help="E.g. k=500, layers=64,32 (several), or voters= (none). Repeatable."
    ),
]
OwnConfig = Annotated[Path | None, typer.Option(help="TOML or YAML file with the method's options.")]
Unknown = Annotated[
    str,
    typer.Option(
        callback=within(Literal["miss", "drop"], "rule for unknown items"),
        help="Test items that training lacks: miss (counted so) or drop (left out).",
    ),
]
Threads = Annotated[int, typer.Option(min=0, help="Worker threads; 0: one per core.")]
Work = Annotated[
    Path | None, typer.Option(help="Folder for finished rows: an interrupted run resumes where it stopped.")
]
Metrics = Annotated[
    str, typer.Option(help=f"Metrics besides the default ones: {', '.join(FURTHER_METRICS)}, or your own.")
]
Runs = Annotated[
    Path | None,
    typer.Option(help="Folder for TREC files: the lists of each method in METHOD.run, the next items in qrels.txt."),
]

ModelArgument = Annotated[Path, typer.Argument(metavar="MODEL", help="Model directory made by fit.")]


@dataclass(frozen=True)
class Protocol:
    """How methods are measured: the options that commands which compare them have."""

    test: Annotated[str | None, typer.Option(help="Test log; LOG is then the training log.")] = None
    split: Annotated[
        str, typer.Option(help="last:FRACTION, days:N, windows:N, or authors:SEED, which looks into the future.")
    ] = "last:0.1"
    unknown: Unknown = "miss"
    replicates: Annotated[int, typer.Option(help="Resamplings of the bootstrap.")] = 2000
    threads: Threads = 0

    def plan(self, chosen: "Filter") -> "SplitPlan":
        """How the log is split."""
        from nearnext.experiments.plan import SplitPlan

        return SplitPlan.parse(self.split, chosen=chosen, unknown=self.unknown)  # type: ignore[arg-type]


measures = takes("protocol", Protocol)
"""Give a command with a ``protocol`` parameter the options of the measurement instead of it."""

STUDY = Path("nearnext-tuning")
"""Folder of studies, unless another path is given."""

CALLED = {"minutes": "budget", "fraction": "validation"}
"""Command-line names of tuning options, where they differ."""

TunedOptions = Tuning | None
"""How a comparison tunes its methods, None: not at all."""


def method_names(text: str) -> tuple[str, ...]:
    """Names separated by commas or blanks."""
    return tuple(name.strip() for name in text.replace(" ", ",").split(",") if name.strip())


def cutoff_numbers(text: str) -> tuple[int, ...]:
    """List lengths separated by commas."""
    from nearnext.evaluation.metrics import cutoffs

    return cutoffs(whole_numbers("--k", text, "5,10,20"))


def whole_numbers(option: str, text: str, example: str) -> tuple[int, ...]:
    """Comma-separated integers; an empty text gives none."""
    try:
        return tuple(int(part) for part in text.split(",")) if text else ()
    except ValueError:
        raise ConfigError(f"{option} {text}: expected whole numbers, e.g. {example}") from None


def method_settings(settings: Sequence[str] | None) -> dict[str, dict[str, Any]]:
    """Options by method from ``METHOD.OPTION=VALUE`` texts."""
    options: dict[str, dict[str, Any]] = {}
    for key, value in pairs(settings or [], "--set").items():
        method, dot, option = key.rpartition(".")
        if not dot:
            raise ConfigError(f"--set {key}={value}: expected METHOD.OPTION=VALUE, e.g. vsknn.k=500")
        options.setdefault(canonical_name(method), {})[option] = value
    return options


def method_options(
    config: Path | None, settings: Sequence[str] | None, names: Sequence[str]
) -> dict[str, dict[str, Any]]:
    """Options by method: those of the file for the compared methods, overruled by those of the command line."""
    compared = {canonical_name(name) for name in names}
    options: dict[str, dict[str, Any]] = {}
    if config is not None:
        loaded = _load(config)
        for name, values in loaded.items():
            if not isinstance(values, dict):
                raise ConfigError(f"{config}: expected a table for each method, e.g. [vsknn], found '{name}'")
            if canonical_name(name) in compared:
                options[canonical_name(name)] = values
        if loaded and not options:
            raise ConfigError(
                f"{config} has no table for {', '.join(sorted(compared))}; its tables: {', '.join(loaded)}"
            )
    for name, values in method_settings(settings).items():
        options[name] = {**options.get(name, {}), **values}
    return options


def own_settings(settings: Sequence[str] | None, method: str) -> dict[str, str]:
    """One method's options from ``OPTION=VALUE`` texts, which may name the method as `compare` needs it."""
    options: dict[str, str] = {}
    for name, value in pairs(settings or [], "--set").items():
        owner, _, option = name.rpartition(".")
        options[option if owner.lower() in (method.lower(), canonical_name(method)) else name] = value
    return options


def own_options(config: Path | None, method: str) -> dict[str, Any]:
    """One method's options from a file: its own table where there is one, else the whole file."""
    if config is None:
        return {}
    loaded = _load(config)
    own: Any = next((values for name, values in loaded.items() if name.lower() == canonical_name(method)), loaded)
    if not isinstance(own, dict):
        raise ConfigError(f"{config}: expected a table of options as {method}, found {own!r}")
    if own is loaded and loaded and all(isinstance(values, dict) for values in loaded.values()):
        raise ConfigError(f"{config} has no table [{canonical_name(method)}]; its tables: {', '.join(loaded)}")
    return dict(cast("dict[str, Any]", own))


def _load(config: Path) -> dict[str, Any]:
    """The content of a TOML or YAML file."""
    import tomllib

    import yaml

    text = config.read_bytes()
    try:
        if config.suffix.lower() in (".yaml", ".yml"):
            loaded: Any = yaml.load(text, Loader=_yaml_loader())  # noqa: S506 - it is a safe one
        else:
            loaded = tomllib.loads(text.decode("utf-8"))
    except (tomllib.TOMLDecodeError, yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigError(f"{config} cannot be read as TOML or YAML: {error}") from None
    if not isinstance(loaded, dict):
        raise ConfigError(f"{config}: expected options by name, found {type(loaded).__name__}")
    return {str(name): value for name, value in cast("dict[Any, Any]", loaded).items()}


def _yaml_loader() -> type[Any]:
    """YAML that refuses a key given twice, as TOML does, instead of letting the last one win in silence."""
    import yaml

    class Loader(yaml.SafeLoader):
        def construct_mapping(self, node: Any, deep: bool = False) -> dict[Any, Any]:
            pairs: list[tuple[Any, Any]] = node.value
            keys = [key.value for key, _ in pairs if isinstance(key.value, str) and key.value != "<<"]
            if twice := [key for key in keys if keys.count(key) > 1]:
                raise yaml.YAMLError(f"{twice[0]} is given twice; give it once")
            return super().construct_mapping(node, deep)

    return Loader


def _option(help_text: str, *names: str) -> Any:
    return typer.Option(*names, rich_help_panel="Tuning", help=help_text)


def _tuning_options(
    trials: Annotated[int, _option("Option sets to try, the first being the one to begin with.")] = Tuning.trials,
    budget: Annotated[
        float, _option("Minutes of fitting and evaluating for each method: the sum of its trials, of earlier runs too.")
    ] = Tuning.minutes,
    metric: Annotated[
        str, _option("What is maximised: NAME@K; of several, NAME+NAME@K, the geometric mean.")
    ] = Tuning.metric,
    validation: Annotated[
        float, _option("Last part of the training sessions, by start time, that trials are measured on.")
    ] = Tuning.fraction,
    study: Annotated[
        Path, _option("Folder of trials, or a file for tune: the same command goes on with them.")
    ] = STUDY,
) -> Tuning:
    given = {"trials": trials, "minutes": budget, "metric": metric, "fraction": validation, "study": study}
    known = options_of(Tuning)
    return Tuning(
        **{field: checked(CALLED.get(field, field), each, known[field].kind) for field, each in given.items()}
    )


tunes = takes("tuning", _tuning_options)
"""Give a command with a ``tuning`` parameter the options of tuning instead of it."""


@tunes
def tuned_options(
    context: typer.Context,
    *,
    tuned: Annotated[
        bool,
        typer.Option(
            "--tuned",
            rich_help_panel="Tuning",
            help="Tune every method first, with the same budget, on the end of the training part.",
        ),
    ] = False,
    tuning: Tuning,
) -> TunedOptions:
    """The tuning that a comparison is asked for."""
    switches = [CALLED.get(field, field) for field in options_of(Tuning) if field != "seed"]
    given = [name for name in switches if (source := context.get_parameter_source(name)) and source.name != "DEFAULT"]
    if given and not tuned:
        raise ConfigError(f"--{given[0]} says how to tune; add --tuned, or leave it out")
    if tuned and tuning.study is not None and tuning.study.is_file():
        raise ConfigError(f"--study {tuning.study}: a comparison keeps a study for each method; name a folder")
    return tuning if tuned else None


Rules = dict[str, Any]
"""The arguments of `ItemRules.parse`."""


def rule_options(
    where: Annotated[
        str | None,
        typer.Option(help="Only items that match, e.g. \"category = 'tent' and price < 50\"; docs/items.md has all."),
    ] = None,
    boost: Annotated[
        list[str] | None,
        typer.Option(metavar="FACTOR:CONDITION", help='Move items that match up, e.g. "2:price < 50". Repeatable.'),
    ] = None,
    at_most: Annotated[
        list[str] | None,
        typer.Option(metavar="NUMBER:COLUMN", help="At most so many per value, e.g. 2:category. Repeatable."),
    ] = None,
) -> Rules:
    """Rules as texts."""
    return {"where": where, "boost": tuple(boost or ()), "at_most": tuple(at_most or ())}


def rule_arguments(given: Rules) -> dict[str, Any]:
    """The same as arguments of `Recommender.recommend`."""
    from nearnext.recommenders.item_rules import numbered

    return {
        "where": given["where"],
        "boost": numbered("--boost", given["boost"], float),
        "at_most": numbered("--at-most", given["at_most"], int),
    }
