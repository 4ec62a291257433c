"""The methods of a table under the paper's names, with the options that each preset gives them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from nearnext.data.sessions import Sessions
from nearnext.experiments.compare import Comparison, compare
from nearnext.experiments.plan import SplitPlan
from nearnext.experiments.result import Result, called
from nearnext.experiments.store import RunStore
from nearnext.options import require_known
from nearnext.recommenders.named import canonical_name, method_options

K = 20
"""List length of every table of the paper."""

Preset = Mapping[str, Mapping[str, Any]]

PRESET_OPTIONS: Mapping[str, Preset] = {
    "paper": {"sml": {"preset": "paper"}},
    "authors": {"sml": {"preset": "authors"}},
    "tuned": {"sml": {"preset": "tuned"}},
    "quick": {"sml": {"preset": "quick"}, "gru4rec": {"epochs": 3}},
}
"""Of each preset, options by the first words of a method's name."""

PRESET_NOTES: Mapping[str, str] = {
    "paper": "preset of the paper's text",
    "authors": "preset of the authors' program, which made the paper's tables",
    "tuned": "default preset, chosen on validation",
    "quick": "QUICK preset, smaller and trained for less long than in the paper",
}
"""What a table says of each preset."""

SIZES: Mapping[str, str] = {
    "dim": "dimension",
    "filters": "filters",
    "epochs": "epochs at most",
    "batch_size": "batches of",
    "n_sample": "extra negatives",
}
"""Options that tell how large a trained method is, and how long it trains."""


@dataclass(frozen=True)
class Entry:
    """One row of a table: the method's name in the paper, its name here, and the options of this row."""

    label: str
    name: str
    options: Mapping[str, Any] = field(default_factory=dict[str, Any])

    def options_in(self, preset: Preset) -> dict[str, Any]:
        """What a preset gives this method."""
        fitting = [options for words, options in preset.items() if f"{self.name}-".startswith(f"{words}-")]
        return {option: value for options in fitting for option, value in options.items()}


TABLE_2_LINEUP: tuple[Entry, ...] = (
    Entry("POP", "pop"),
    Entry("SPOP", "spop"),
    Entry("MARKOV-1", "markov-1"),
    Entry("SKNN", "sknn"),
    Entry("VSKNN", "vsknn"),
    Entry("GRU4Rec+", "gru4rec"),
    *(
        # Paper: §5.2, "for the RNN encoder a GRU cells are used"
        Entry(f"SML-{encoder}-{loss}", f"sml-{'gru' if encoder == 'RNN' else encoder.lower()}-{loss.lower()}")
        for encoder in ("MaxPool", "RNN", "TextCNN", "TagSpace")
        for loss in ("Triplet", "NCAS")
    ),
)
"""The methods of Table 2, the simplest first."""


@dataclass(frozen=True)
class Setting:
    """What all methods of a table share; ``options``, by method name, overrule those of the preset."""

    plan: SplitPlan = field(default_factory=SplitPlan)
    preset: str = "paper"
    seed: int = 7
    replicates: int = 2000
    threads: int | None = None
    options: Mapping[str, Mapping[str, Any]] = field(default_factory=dict[str, Mapping[str, Any]])

    def __post_init__(self) -> None:
        require_known("preset", self.preset, PRESET_OPTIONS)

    def options_of(self, entry: Entry) -> dict[str, Any]:
        """All options of a row: seed, then preset, then the row's own, then those that were asked for."""
        seed = {"seed": self.seed} if "seed" in method_options(entry.name) else {}
        of_preset = entry.options_in(PRESET_OPTIONS[self.preset])
        return {**seed, **of_preset, **entry.options, **self.options.get(entry.name, {})}


@dataclass(frozen=True, eq=False)
class Experiment:
    """What a table is made from, as `compare` takes it: the log, the setting, and what the result says of both."""

    log: Sessions
    test: Sessions | None = None
    setting: Setting = field(default_factory=Setting)
    name: str = "log"
    reading: Sequence[Mapping[str, Any]] = ()
    command: str = ""
    store: RunStore | None = None


def chosen_entries(entries: Sequence[Entry], names: Sequence[str]) -> tuple[Entry, ...]:
    """The rows named, by the paper's name or ours, in the order of the table; all of them where none is named.

    Any other method, such as one with an own part, is a row after them, under its own name.
    """
    if not names:
        return tuple(entries)
    known = {name.lower() for entry in entries for name in (entry.label, entry.name)}
    keys = [name.strip().lower() for name in names]
    asked = dict.fromkeys(key if key in known else canonical_name(key) for key in keys)
    return (
        *(entry for entry in entries if {entry.label.lower(), entry.name} & asked.keys()),
        *(Entry(name, name) for name in asked if name not in known),
    )


def compare_entries(entries: Sequence[Entry], experiment: Experiment) -> Result:
    """The comparison behind a table: every row on the same cases, lists of 20, labelled as in the table."""
    setting = experiment.setting
    comparison = Comparison(
        methods=[entry.label for entry in entries],
        labels={entry.label: entry.name for entry in entries},
        options={entry.label: setting.options_of(entry) for entry in entries},
        plan=setting.plan,
        ks=(K,),
        seed=setting.seed,
        replicates=setting.replicates,
        threads=setting.threads,
    )
    result = compare(
        experiment.log,
        experiment.test,
        comparison,
        reading=experiment.reading,
        command=experiment.command,
        store=experiment.store,
    )
    result["protocol"]["preset"] = setting.preset
    return result


def size_notes(result: Result) -> list[str]:
    """Which preset was run, and how large the trained methods are in it."""
    by_size: dict[str, list[str]] = {}
    for method in result["methods"]:
        params = method["params"]
        sizes = [f"{what} {params[name]}" for name, what in SIZES.items() if name in params]
        if sizes:
            by_size.setdefault(", ".join(sizes), []).append(called(method))
    notes = [f"{_all(labels, alone=len(by_size) == 1)}: {sizes}" for sizes, labels in by_size.items()]
    return ["; ".join([PRESET_NOTES[result["protocol"]["preset"]], *notes])]


def _all(labels: Sequence[str], *, alone: bool) -> str:
    """The labels, or what they have in common where there are many and no others."""
    return "every trained model" if alone and len(labels) > 2 else ", ".join(labels)  # noqa: PLR2004 - two fit a line
