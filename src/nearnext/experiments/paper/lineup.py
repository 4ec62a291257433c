"""The rows of the paper's tables: figures as it prints them, and the comparison that makes ours with a preset."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from nearnext.experiments.comparison import Comparison
from nearnext.options import require_known
from nearnext.recommenders.named import canonical_name, method_options
from nearnext.registry import is_metric_name

TABLE_1 = MappingProxyType(
    {
        "RR/5": ("32K (117K)", "64K (380K)", "242K (606K)"),
        "RSC15/64": ("17K (34K)", "118K (1.7M)", "495K (6.6M)"),
        "SI-T": ("2K (2K)", "114K (119K)", "305K (315K)"),
        "SI-D": ("3K (3K)", "25K (34K)", "94K (106K)"),
    }
)
"""Table 1: items, sessions and events of each data set, after and (before) preprocessing."""

TABLE_2_COLUMNS = ("MAP", "PREC", "REC", "HR", "MRR")

TABLE_2 = MappingProxyType(
    {
        "RSC15/64": {
            "SML-RNN-NCAS": ("0.0358", "0.0639", "0.5248", "0.6557", "–"),
            "SML-MaxPool-NCAS": ("0.0355", "0.0634", "0.5213", "0.6502", "0.2841"),
            "SML-TextCNN-NCAS": ("0.0351", "0.0627", "0.5145", "0.6393", "0.2766"),
            "SML-RNN-Triplet": ("0.0348", "0.0623", "0.5126", "0.6371", "0.2824"),
            "VSKNN": ("0.0386", "0.0928", "0.5009", "0.6961", "0.2879"),
            "SML-MaxPool-Triplet": ("0.0337", "0.0607", "0.4975", "0.6143", "0.2680"),
            "SKNN": ("0.0363", "0.0881", "0.4780", "0.6423", "0.2522"),
            "GRU4Rec+": ("0.0285", "0.0721", "0.4009", "0.6528", "0.2752"),
            "SML-TextCNN-Triplet": ("0.0244", "0.0462", "0.3793", "0.4615", "0.1389"),
            "SML-TagSpace-Triplet": ("0.0218", "0.0416", "0.3398", "0.4082", "0.1396"),
            "MARKOV-1": ("0.0333", "0.0446", "0.3011", "0.3912", "0.1771"),
            "SPOP": ("0.0164", "0.0318", "0.2879", "0.3464", "0.2205"),
            "POP": ("0.0063", "0.0129", "0.1075", "0.1264", "0.0292"),
        },
        "RR/5": {
            "SKNN": ("0.0283", "0.0532", "0.4704", "0.5788", "–"),
            "SML-MaxPool-NCAS": ("0.0273", "0.0443", "0.4673", "0.5692", "0.3340"),
            "VSKNN": ("0.0278", "0.0531", "0.4632", "0.5745", "0.3395"),
            "SML-RNN-NCAS": ("0.0270", "0.0437", "0.4609", "0.5600", "0.3379"),
            "GRU4Rec+": ("0.0272", "0.0502", "0.4559", "0.5669", "0.3237"),
            "SML-RNN-Triplet": ("0.0270", "0.0456", "0.4542", "0.5560", "0.3605"),
            "SML-TextCNN-NCAS": ("0.0264", "0.0427", "0.4516", "0.5476", "0.3197"),
            "SML-MaxPool-Triplet": ("0.0245", "0.0392", "0.4357", "0.5243", "0.3451"),
            "SPOP": ("0.0201", "0.0331", "0.3773", "0.4614", "0.3985"),
            "SML-TextCNN-Triplet": ("0.0183", "0.0293", "0.3278", "0.3988", "0.2156"),
            "SML-TagSpace-Triplet": ("0.0117", "0.0192", "0.2321", "0.2817", "0.2397"),
            "MARKOV-1": ("0.0183", "0.0428", "0.1557", "0.1964", "0.1162"),
            "POP": ("0.0009", "0.0020", "0.0181", "0.0227", "0.0058"),
        },
    }
)
"""Table 2: ``TABLE_2_COLUMNS`` of each method on two data sets; two MRR are not legible in the copy used."""

TABLE_3 = MappingProxyType(
    {
        ("True", "Pos-Neg", "N-M"): ("0.7435", "0.5973", "0.7402", "0.5978"),
        ("True", "Pos-Neg", "N"): ("0.7377", "0.5973", "0.7340", "0.5932"),
        ("True", "Pos-Neg", "N-M-S"): ("0.7371", "0.5908", "0.7359", "0.5888"),
        ("False", "Pos-Neg", "N"): ("0.6565", "0.5746", "0.6508", "0.5727"),
        ("False", "Pos-Neg", "N-M"): ("0.6341", "0.5783", "0.6192", "0.5767"),
        ("False", "Pos-Neg", "N-M-S"): ("0.6192", "0.5678", "0.6247", "0.5796"),
        ("False", "SW", "N-M-S"): ("0.0022", "0.0006", "0.0525", "0.0191"),
    }
)
"""Table 3, on SI-T: REC@20 and MRR@20 of RNN, then of MaxPool, for common embedding, sampler and loss."""

COVERAGE = MappingProxyType(
    {
        "RR/5": ("16,334", "19,063", "32K"),
        "RSC15/64": ("12,232", "11,216", "17K"),
        "SI-T": ("666", "1,542", "2K"),
        "SI-D": ("1,522", "2,542", "3K"),
    }
)
"""§5.5: unique items recommended by VSKNN and by SML in a sample run, and the items of Table 1."""


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


def chosen_entries(names: Sequence[str]) -> tuple[Entry, ...]:
    """The rows of Table 2 named, by the paper's name or ours, in its order; all of them where none is named.

    Any other method, such as one with an own part, is a row after them, under its own name.
    """
    if not names:
        return TABLE_2_LINEUP
    known = {name.lower() for entry in TABLE_2_LINEUP for name in (entry.label, entry.name)}
    keys = [name.strip().lower() for name in names]
    asked = dict.fromkeys(key if key in known else canonical_name(key) for key in keys)
    return (
        *(entry for entry in TABLE_2_LINEUP if {entry.label.lower(), entry.name} & asked.keys()),
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
