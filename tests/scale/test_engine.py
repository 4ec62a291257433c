"""The engine that commands choose by themselves."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from nearnext.cli import engine as engine_module
from nearnext.cli.engine import Engine

Command = Callable[..., Any]
ADDRESS = "10.0.0.5:6379"


@pytest.fixture(autouse=True)
def any_cluster(monkeypatch: pytest.MonkeyPatch) -> None:
    """Addresses are not tried."""

    def answers(_: str | None) -> None:
        pass

    monkeypatch.setattr("nearnext.scale.ray_tasks.require_cluster", answers)


def test_auto_takes_a_cluster_that_is_there_for_a_long_log(tmp_path: Path):
    for name in ("a.csv", "b.csv", "parts/c.csv"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"x" * engine_module.CLICK * 10)
    pl.DataFrame({"session_id": [1] * 7}).write_parquet(tmp_path / "d.parquet")
    (tmp_path / "e.parquet").write_bytes(b"x" * engine_module.CLICK * 3)
    for log, n_clicks in [("a.csv", 10), ("*.csv", 20), ("d.parquet", 7), ("", 40), ("none.csv", 0)]:
        source = str(tmp_path / log)
        engine = Engine("auto", ADDRESS, 3)
        assert engine.for_log(source, n_clicks) == Engine("ray", ADDRESS, 3)
        assert engine.for_log(source, n_clicks + 1) == Engine("local", None, 3)
        assert Engine("auto").for_log(source, n_clicks) == Engine("local")
        assert Engine("ray", ADDRESS).for_log(source, n_clicks + 1) == Engine("ray", ADDRESS)


def test_every_command_of_parts_asks_how_long_its_log_is(
    nearnext: Command, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
):
    log, model = tmp_path / "log.csv", tmp_path / "model"
    clicks = [f"s{s},i{(s * 3 + c * c) % 11},{1_600_000_000 + s * 6000 + c}" for s in range(60) for c in range(3)]
    log.write_text("\n".join(["session_id,item_id,timestamp", *clicks]), "utf-8")
    commands = [
        ["prepare", log, tmp_path / "prepared"],
        ["fit", log, "--method", "pop", "--out", model],
        ["compare", log, "--methods", "pop"],
        ["recommend", model, "--log", log, "--out", tmp_path / "lists.parquet"],
        ["tune", log, "--method", "sr", "--trials", "1"],
    ]
    asked = list[str]()

    def counted(source: str) -> int:
        asked.append(source)
        return 0

    monkeypatch.setattr(engine_module, "_n_clicks", counted)
    for command in commands:
        done = nearnext(*command, "--engine", "auto", "--address", ADDRESS)
        assert done.code == 0, done.err
    assert asked == [str(log)] * len(commands)
