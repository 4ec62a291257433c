"""What to do after a comparison, from its own facts."""

import shlex
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from nearnext.report.comparison import main_cutoff, method_name, ordered_methods
from nearnext.report.numbers import percent

MANY_UNKNOWN = 0.1
"""Share of the test clicks on items that training lacks from which on such items matter."""


@dataclass(frozen=True)
class Step:
    """Something to do, why, and the command for it where there is one."""

    text: str
    command: str = ""


def next_steps(result: Mapping[str, Any]) -> list[Step]:
    """What to do after a comparison by the command ``compare``; nothing after others."""
    protocol: Mapping[str, Any] = result.get("protocol") or {}
    command = str(protocol.get("command") or "")
    if not command.startswith("nearnext compare "):
        return []
    if not result["audit"]["passed"]:
        return [Step("Find out how the test period reaches what is learned, and compare again.", command)]
    return [*_surer(result, command), *_in_use(result)]


def _surer(result: Mapping[str, Any], command: str) -> Iterator[Step]:
    """How to be surer of the result."""
    methods, data = result["methods"], result["data"]
    if not any(each.get("tuning") for each in methods):
        yield Step(
            "Every method ran with the options shown below. Give each the same number of trials:", f"{command} --tuned"
        )
    if not result["protocol"].get("seeds") and any("seed" in each["params"] for each in methods):
        yield Step("Some methods draw at random. See how far their figures vary:", f"{command} --seeds 7,8,9")
    unknown = data.get("unknown_test_clicks", 0) / max(data["test"]["events"], 1)
    if unknown > MANY_UNKNOWN:
        yield Step(
            f"{percent(unknown)} of the test clicks are on items that training lacks. Fit often, such as daily, and "
            "name the attributes of the items, by which new ones are placed."
        )


def _in_use(result: Mapping[str, Any]) -> Iterator[Step]:
    """How to use the method that is first."""
    best = ordered_methods(result, f"HitRate@{main_cutoff(result)}")[0]
    files = [str(report["source"]) for report in result["data"]["reading"]]
    log = shlex.quote(files[0]) if files else "LOG"
    yield Step(
        f"{method_name(best)} is first. Fit it on the whole log, with the options of reading used here:",
        f"nearnext fit {log} --method {best['name']} --out model",
    )
    yield Step("Serve it, and open http://127.0.0.1:8000 to try it:", "nearnext serve model")
