import copy
from typing import Any

import pytest


def value(middle: float, half: float | None = None) -> dict[str, float | None]:
    """A metric as the result of a comparison has it."""
    if half is None:
        return {"value": middle, "low": None, "high": None}
    return {"value": middle, "low": middle - half, "high": middle + half}


def method(name: str, hit_rate: float, mrr: float, coverage: float) -> dict[str, Any]:
    metrics = {
        "HitRate@20": value(hit_rate, 0.01),
        "MRR@20": value(mrr, 0.005),
        "Precision@20": value(hit_rate / 10, 0.001),
        "Recall@20": value(hit_rate * 0.8, 0.01),
        "MAP@20": value(hit_rate / 20, 0.001),
        "AP@20": value(hit_rate / 3, 0.01),
        "Coverage@20": value(coverage),
        "Popularity@20": value(0.08, 0.002),
        "HitRate@5": value(hit_rate / 2, 0.01),
        "MRR@5": value(mrr * 0.9, 0.005),
    }
    return {
        "name": name,
        "params": {"k": 100, "weighting": "log"},
        "metrics": metrics,
        "unfilled_metrics": {"HitRate@20": value(hit_rate - 0.02, 0.01), "MRR@20": value(mrr, 0.005)},
        "fit_seconds": 1.25,
        "cases_per_second": 12_345.6,
        "peak_rss_mb": 321.0,
        "by_prefix_length": [
            {"prefix_length": "1", "cases": 60, "HitRate@20": hit_rate, "MRR@20": mrr},
            {"prefix_length": "2+", "cases": 40, "HitRate@20": hit_rate - 0.01, "MRR@20": mrr},
        ],
    }


@pytest.fixture
def result(original: dict[str, Any]) -> dict[str, Any]:
    """A copy of the result that a test may change."""
    return copy.deepcopy(original)


@pytest.fixture(scope="session")
def original() -> dict[str, Any]:
    """What ``nearnext compare --json`` writes, for three methods."""
    part = {"sessions": 900, "events": 3600, "items": 200, "first": "2025-01-01", "last": "2025-01-09"}
    against = [
        {"name": "markov", "difference": 0.2, "low": 0.18, "high": 0.22, "p": 0.002},
        {"name": "pop", "difference": 0.5, "low": 0.48, "high": 0.52, "p": 0.002},
    ]
    close = [{"name": "vsknn", "difference": 0.01, "low": -0.01, "high": 0.03, "p": 0.4}]
    return {
        "protocol": {
            "split": "last 10% of sessions",
            "unknown": "miss",
            "k": [5, 20],
            "cases": 13_204,
            "test_sessions": 5_147,
            "max_length": None,
            "seed": 1_234_567,
            "command": "nearnext compare clicks.csv",
            "duration_seconds": 184.0,
            "machine": "2 cores",
            "versions": {"nearnext": "0.1.0"},
            "fallback": "popularity",
            "ties": "the more popular item first",
            "tuning": "none",
        },
        "data": {
            "train": part,
            "test": part,
            "fingerprint": "f00d",
            "reading": [
                {"source": "clicks.csv", "layout": "named", "rows": 4000, "used": 3990, "rejected": {"no id": 10}}
            ],
        },
        "audit": {
            "passed": True,
            "checks": [{"name": "planted sessions", "passed": True, "detail": "nothing changed"}],
        },
        "methods": [method("pop", 0.1, 0.02, 0.01), method("vsknn", 0.6, 0.3, 0.5), method("markov", 0.4, 0.31, 0.9)],
        "significance": [
            {"metric": "HitRate@20", "best": "vsknn", "against": against},
            {"metric": "MRR@20", "best": "markov", "against": close},
        ],
    }
