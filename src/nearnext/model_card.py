"""The model card in Markdown: method, training data, options and use."""

from collections.abc import Mapping, Sequence
from typing import Any

from nearnext.shown import text


def model_card(
    manifest: Mapping[str, Any],
    history: Sequence[Mapping[str, float]] = (),
    held_out: Mapping[str, float] | None = None,
    *,
    reranks: bool = False,
) -> str:
    """The README.md of a model folder, from its manifest, the metrics of each epoch and those of a re-ranker.

    ``held_out`` is what the choice of a re-ranker measured, ``reranks`` whether it was chosen.

    >>> print(model_card({"method": "sr", "items": 3, "params": {"steps": 2}, "versions": {"nearnext": "1.0"}})[:24])
    # A next-item model: sr
    """
    parts = [
        f"# A next-item model: {manifest['method']}",
        _learned(manifest),
        f"Measured at the fit: {note}." if (note := manifest.get("items_without_clicks")) else "",
        _figures(best_epoch(history), held_out or {}, reranks=reranks),
        _table("Options", manifest["params"]),
        _own_parts(manifest.get("own_parts", [])),
        _use(),
        f"Made with nearnext {manifest['versions']['nearnext']}. `manifest.json` has all versions and checksums.",
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _learned(manifest: Mapping[str, Any]) -> str:
    data: Mapping[str, Any] = manifest.get("data") or {}
    if not {"sessions", "events", "first", "last"} <= data.keys():
        return f"It knows {manifest['items']:,} items."
    lines = [
        f"It learned from {data['sessions']:,} sessions with {data['events']:,} clicks on {manifest['items']:,} items, "
        f"from {data['first']} to {data['last']}."
    ]
    if "fit_seconds" in manifest:
        lines.append(f"The fit took {manifest['fit_seconds']:.1f} s on {manifest.get('machine', 'a machine')}.")
    if started := manifest.get("started_from"):
        lines.append(f"Retrainings since the fit from scratch: {started['retrainings']}.")
    if manifest.get("command"):
        lines += ["", "```console", f"$ {manifest['command']}", "```"]
    return "\n".join(lines)


def best_epoch(history: Sequence[Mapping[str, float]]) -> Mapping[str, float]:
    """Number and metrics of the epoch that was best on held-out sessions; {}: none were held out.

    The training chose it, and each epoch says which one was best so far; the history of an older nearnext does not.

    >>> history = [{"epoch": 1, "MRR@20": 0.3, "best_epoch": 1}, {"epoch": 2, "MRR@20": 0.2, "best_epoch": 1}]
    >>> best_epoch(history)
    {'epoch': 1, 'MRR@20': 0.3}
    """
    for epoch in history:
        measured = {name: value for name, value in epoch.items() if "@" in name}
        if measured and epoch["epoch"] == history[-1].get("best_epoch"):
            return {"epoch": epoch["epoch"], **measured}
    return {}


def _figures(best: Mapping[str, float], held_out: Mapping[str, float], *, reranks: bool) -> str:
    """What was measured on held-out sessions: of the lists as the model makes them, if that is known."""
    if held_out:
        reranked, by_distance = (
            f"HitRate@20 {held_out[f'HitRate@20{which}']:.4f}, MRR@20 {held_out[f'MRR@20{which}']:.4f}"
            for which in ("", " by distance")
        )
        chosen = (
            "The re-ranker of this model learned from both halves, and discounts popular items where that costs little."
            if reranks
            else "That is not surely better, so this model ranks by distance."
        )
        found = (
            f"On the last {held_out['prefixes']:,.0f} clicks of sessions held out of the first training, after its "
            f"filters: lists by distance reach {by_distance}; re-ranked, each half of the sessions by weights learned "
            f"from the other half, they reach {reranked}. {chosen}"
        )
    elif best:
        metrics = ", ".join(f"{name} {value:.4f}" for name, value in best.items() if name != "epoch")
        alone = ", of lists by distance, before the re-ranker" if reranks else ""
        found = f"On sessions held out of the fit, after its filters: {metrics} (epoch {best['epoch']:.0f}{alone})."
    else:
        return ""
    return f"{found} What it reaches on your next days: `nearnext evaluate MODEL LOG`."


def _table(title: str, rows: Mapping[str, Any]) -> str:
    if not rows:
        return ""
    lines = [f"| `{name}` | {text(value).replace('|', chr(92) + '|')} |" for name, value in rows.items()]
    return "\n".join([f"## {title}", "", "| option | value |", "|---|---|", *lines])


def _own_parts(parts: Sequence[Mapping[str, str]]) -> str:
    lines = [f"- the {part['kind']} `{part['name']}` of `{part['from']}`: import it before loading" for part in parts]
    return "\n".join(["## Parts that nearnext lacks", "", *lines]) if lines else ""


def _use() -> str:
    return """## Use

```python
import nearnext

model = nearnext.load("PATH OF THIS FOLDER")
model.recommend([["ITEM", "ITEM"]], k=20)
```

```console
$ nearnext recommend FOLDER --session ITEM,ITEM
$ nearnext serve FOLDER
```"""
