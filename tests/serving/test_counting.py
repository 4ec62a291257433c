"""Served sessions are what the fit of the model makes of the same events."""

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from nearnext.serving.served import Query
from nearnext.serving.service import Service
from nearnext.serving.settings import ServiceSettings

Command = Callable[..., Any]


def typed_log() -> pl.DataFrame:
    """Sessions of three event types, with runs on one item."""
    rng = np.random.default_rng(7)
    n = 400
    items = [f"i{n}" for n in np.repeat(rng.integers(9, size=n // 2), rng.integers(1, 4, size=n // 2))[:n]]
    events = rng.choice(["view", "cart", "purchase"], size=len(items))
    sessions = np.arange(len(items)) // 8
    return pl.DataFrame(
        {"session_id": sessions, "item_id": items, "timestamp": 1_400_000_000 + np.arange(len(items)), "event": events}
    )


@pytest.mark.parametrize(
    "options",
    [[], ["--events", "purchase,cart"], ["--collapse-repeats"], ["--keep-repeats", "--events", "purchase"]],
    ids=" ".join,
)
def test_service_and_recommend_give_equal_lists_for_the_same_events(
    options: list[str], nearnext: Command, tmp_path: Path
) -> None:
    log = typed_log()
    log.write_csv(tmp_path / "log.csv")
    model = tmp_path / "model"
    assert nearnext("fit", tmp_path / "log.csv", "--method", "markov-1", *options, "--out", model).code == 0
    done = nearnext("recommend", model, "--log", tmp_path / "log.csv", *options, "--out", tmp_path / "lists.parquet")
    assert done.code == 0, done.err
    expected = {str(row["session_id"]): row for row in pl.read_parquet(tmp_path / "lists.parquet").to_dicts()}

    async def serve() -> None:
        service = Service(ServiceSettings(model))
        for session, item, _, event in log.iter_rows():
            await service.store.append(str(session), [item], event)
        for session in log["session_id"].unique(maintain_order=True).to_list():
            clicks = service.model.counting.clicks(await service.store.events(str(session)))
            if str(session) not in expected:
                assert clicks == []
                continue
            (found,) = service.model.answer([Query(clicks, 20)])
            assert found.items == expected[str(session)]["items"]
            assert found.scores == pytest.approx(expected[str(session)]["scores"], rel=1e-5)
        await service.stop()

    asyncio.run(serve())
