"""Table 1 and Figure 1 of the paper for one log, as plain data."""

import time
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from nearnext.artifact import versions
from nearnext.data.filters import Filter, apply_filter
from nearnext.data.sessions import Sessions
from nearnext.data.statistics import describe, length_distribution, recurring_distribution
from nearnext.experiments.result import Result, machine, warning_lines

__all__ = ["statistics_result"]


def statistics_result(
    log: Sessions, chosen: Filter, *, reading: Mapping[str, Any] | None = None, command: str = ""
) -> Result:
    """Sizes before and after a filter, the distribution of session lengths, and the share of recurring items.

    Paper: Table 1 and Figure 1. ``figure1`` is of the filtered log: ``lengths[n]`` is the share of sessions of n
    clicks; ``recurring`` the share of sessions with no returning click, and with up to 10%, 20%, ... 100% of them.
    """
    begin = time.perf_counter()
    kept, taken = apply_filter(log, chosen)
    return {
        "warnings": warning_lines([reading or {}]),
        "protocol": {
            "filter": asdict(chosen),
            "command": command,
            "duration_seconds": time.perf_counter() - begin,
            "machine": machine(),
            "versions": versions(),
        },
        "data": {"fingerprint": log.fingerprint(), "reading": [dict(reading or {})]},
        "table1": {"before": asdict(describe(log)), "after": asdict(describe(kept)), "filter": asdict(taken)},
        "figure1": {
            "lengths": length_distribution(kept).tolist(),
            "recurring": recurring_distribution(kept).tolist(),
        },
    }
