"""What to do after a comparison, from its own facts."""

import shlex
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from nearnext.report.comparison import main_cutoff, method_name, ordered_methods
from nearnext.report.numbers import percent

MANY_UNKNOWN = 0.1
"""Share of test clicks on items that training lacks above which the page advises on such items."""


@dataclass(frozen=True)
class Step:
    """A step in words, with its reason, and its command if there is one."""

    text: str
    command: str = ""


def next_steps(result: Mapping[str, Any]) -> list[Step]:
    """Steps after a comparison by the command ``compare``; none if Python code made it."""
    protocol: Mapping[str, Any] = result.get("protocol") or {}
    command = str(protocol.get("command") or "")
    if not command.startswith("nearnext compare "):
        return []
    if not result["audit"]["passed"]:
        return [Step("Find out how the test period reaches what is learned, and compare again.", command)]
    return [*_surer(result, command), *_in_use(result)]


def _surer(result: Mapping[str, Any], command: str) -> Iterator[Step]:
    """Steps that make the result more certain."""
    methods, data = result["methods"], result["data"]
    if not any(each.get("tuning") for each in methods):
        yield Step(
            "Every method ran with the options shown above. Give each the same number of trials:", f"{command} --tuned"
        )
    if not result["protocol"].get("seeds") and any("seed" in each["params"] for each in methods):
        yield Step("Some methods draw at random. See how far their figures vary:", f"{command} --seeds 7,8,9")
    unknown = data.get("unknown_test_clicks", 0) / max(data["test"]["events"], 1)
    if unknown > MANY_UNKNOWN:
        yield Step(
            f"{percent(unknown)} of the test clicks are on items that training lacks. Fit often, for example daily, "
            "and give an item table with --items: metric models place new items by their attributes."
        )


def _in_use(result: Mapping[str, Any]) -> Iterator[Step]:
    """Steps that put the best method to use."""
    best = ordered_methods(result, f"HitRate@{main_cutoff(result)}")[0]
    files = [str(report["source"]) for report in result["data"]["reading"]]
    log = shlex.quote(files[0]) if files else "LOG"
    yield Step(
        f"{method_name(best)} is first. Fit it on the whole log, with the options of reading used here:",
        f"nearnext fit {log} --method {best['name']} --out model",
    )
    yield Step("Serve it, and open http://127.0.0.1:8000 to try it:", "nearnext serve model")
