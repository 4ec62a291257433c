"""The rows of the paper's tables, and the comparison behind them, with the options that each preset gives."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from nearnext.experiments.comparison import Comparison
from nearnext.experiments.paper.printed import TABLE_3
from nearnext.options import require_known
from nearnext.recommenders.named import canonical_name, method_options
from nearnext.registry import is_metric_name

K = 20
"""List length of every table of the paper."""

PRESETS: Mapping[str, str] = {
    "paper": "preset of the paper's text",
    "authors": "preset of the authors' program, which made the paper's tables",
    "tuned": "default preset, chosen on validation",
    "quick": "QUICK preset, smaller and trained for less long than in the paper",
}
"""Presets of the ``sml-*`` methods, and what a table says of each."""

QUICK: Mapping[str, Mapping[str, Any]] = {"gru4rec": {"epochs": 3}}
"""What the quick preset gives methods that have no presets."""


@dataclass(frozen=True)
class Entry:
    """One row of a table: the method's name in the paper, its name here, and the options of this row."""

    label: str
    name: str
    options: Mapping[str, Any] = field(default_factory=dict[str, Any])

    def options_in(self, preset: str, seed: int) -> dict[str, Any]:
        """Seed, then what the preset gives the method, then the row's own options."""
        seeded = {"seed": seed} if "seed" in method_options(self.name) else {}
        small = QUICK.get(self.name, {}) if preset == "quick" else dict[str, Any]()
        return {**seeded, **({"preset": preset} if is_metric_name(self.name) else small), **self.options}


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

ENCODERS: Mapping[str, str] = {"RNN": "sml-gru-triplet", "MaxPool": "sml-maxpool-triplet"}
"""Method of each encoder of Table 3. Paper: §5.2, the RNN has GRU cells."""


def table_3_lineup(encoders: Mapping[str, str] = ENCODERS) -> tuple[Entry, ...]:
    """The paper's seven variants of each encoder; a row's label is that of the encoder and those of the variant."""
    return tuple(
        Entry(
            " ".join((encoder, common, sampler, loss)),
            method,
            {
                "common_embedding": common == "True",
                "sampler": {"Pos-Neg": "positive-negative", "SW": "sliding-window"}[sampler],
                "margin": 0.3 if "-M" in loss else 0.0,
                "swap": loss.endswith("-S"),
            },
        )
        for common, sampler, loss in TABLE_3
        for encoder, method in encoders.items()
    )


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


def comparison_of(
    entries: Sequence[Entry],
    preset: str = "paper",
    *,
    seed: int = 7,
    options: Mapping[str, Mapping[str, Any]] | None = None,
    **protocol: Any,
) -> Comparison:
    """The comparison behind a table: lists of 20; ``options``, by method name, overrule those of preset and row."""
    require_known("preset", preset, PRESETS)
    given = options or {}
    return Comparison(
        methods=[entry.label for entry in entries],
        labels={entry.label: entry.name for entry in entries},
        options={entry.label: entry.options_in(preset, seed) | dict(given.get(entry.name, {})) for entry in entries},
        ks=(K,),
        seed=seed,
        **protocol,
    )
