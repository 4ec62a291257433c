"""Tables of what a fit or a comparison would take."""

from collections.abc import Mapping
from typing import Any

from rich import box
from rich.table import Table

from nearnext.report.formats import compact, count, duration, plain
from nearnext.report.tables import facts_table, framed

MB = 1e6


def sizing_table(sized: Mapping[str, Any]) -> Table:
    """What a fit would take."""
    data, mb = sized["data"], {name: count(size / MB) for name, size in sized["memory"].items()}
    rows = [
        ("method", str(sized["method"])),
        (
            "learns from",
            f"{count(data['sessions'])} sessions, {count(data['events'])} clicks, {count(data['items'])} items",
        ),
        ("options", plain({name: value for name, value in sized["params"].items() if value not in (None, "")})),
        ("parameters", count(sized["parameters"]) if sized["parameters"] else "none: it counts"),
        (
            "peak memory",
            f"{count(sized['peak_bytes'] / MB)} MB: {', '.join(f'{name} {size}' for name, size in mb.items())}",
        ),
        ("free memory", f"{count(sized['available_bytes'] / MB)} MB, with what this process holds"),
    ]
    if sized["epochs"]:
        rows.append(("epochs", f"up to {count(sized['epochs'])}"))
    return facts_table([*rows, ("time", duration(sized["seconds"])), ("measured", str(sized["basis"]))], box.SIMPLE)


def comparison_sizing_table(sized: Mapping[str, Any]) -> Table:
    """What each method of a comparison would take, in the order of the comparison."""
    tuned = any(method["tuning_seconds"] for method in sized["methods"])
    kept = any(method["kept"] for method in sized["methods"])
    steps = [*(["tuning"] if tuned else []), "fit", "ranking", "audit"]
    rows = [
        [
            method["method"],
            count(method["fits"]),
            *([count(method["kept"])] if kept else []),
            *(duration(method[f"{step}_seconds"]) for step in steps),
            duration(method["seconds"]),
            compact(method["cases_per_second"]),
            count(method["peak_bytes"] / MB),
        ]
        for method in sized["methods"]
    ]
    headings = ["method", "fits", *(["made before"] if kept else []), *steps, "all", "cases/s", "peak MB"]
    return framed(headings, rows, wide=("method",))


def comparison_sizing_lines(sized: Mapping[str, Any]) -> list[str]:
    """What the whole comparison would take."""
    workers = f" with {sized['workers']} workers" if sized["workers"] > 1 else ""
    splitting, bootstrap = duration(sized["splitting_seconds"]), duration(sized["bootstrap_seconds"])
    peak, free = count(sized["peak_bytes"] / MB), count(sized["available_bytes"] / MB)
    measured = dict[str, list[str]]()
    for method in sized["methods"]:
        measured.setdefault(method["basis"], []).append(method["method"])
    return [
        *(f"{', '.join(names)}: {basis}" for basis, names in measured.items()),
        f"whole comparison{workers}: {duration(sized['seconds'])}, of which splitting {splitting} and bootstrap "
        f"{bootstrap}; {count(sized['cases'])} cases",
        f"peak memory {peak} MB; free {free} MB, with what this process holds",
    ]
