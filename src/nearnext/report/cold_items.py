"""The table of a comparison on items without clicks, and its findings in sentences."""

from collections.abc import Mapping
from typing import Any

from rich.table import Table
from rich.text import Text

from nearnext.report.numbers import fixed
from nearnext.report.tables import framed

CALLED = {"cold": "items without clicks", "warm": "the rest"}


def cold_table(result: Mapping[str, Any]) -> Table:
    """Each method's hit rates and reciprocal ranks on cases of either kind, with half the width of each interval."""
    table = framed()
    table.add_column("method", no_wrap=True)
    columns = [f"{metric}@{k}" for k in result["protocol"]["k"] for metric in ("HitRate", "MRR")]
    for group in CALLED:
        for column in columns:
            table.add_column(f"{group}\n{column.replace('@', chr(10) + '@')}", justify="right")
    for method in result["methods"]:
        cells = [method[group][column] for group in CALLED for column in columns]
        table.add_row(method["name"], *(Text(_shown(cell)) for cell in cells))
    return table


def _shown(cell: Mapping[str, float]) -> str:
    return f"{fixed(cell['value'])} ±{fixed((cell['high'] - cell['low']) / 2)}"


def cold_findings(result: Mapping[str, Any]) -> list[str]:
    """What attributes do, one sentence for each method, kind of case and metric."""
    return [
        f"{found['method']}, {CALLED[found['group']]}: {found['metric']} {fixed(found['value'])} against "
        f"{fixed(found['other'])} of {found['against']}, difference {found['difference']:+.4f} "
        f"[{found['low']:+.4f}, {found['high']:+.4f}], p {'<' if found['p_is_bound'] else '='} {found['p']:.4f}"
        for found in result["findings"]
    ]
