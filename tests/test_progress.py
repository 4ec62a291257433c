"""Progress where there is no terminal: plain lines now and then, with what is done and what is left."""

import re
from collections.abc import Generator

import pytest

import nearnext as library
from nearnext import progress
from nearnext.progress import note, show_progress, track


class Clock:
    """Seconds that pass only when a test says so."""

    now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Generator[Clock]:
    clock = Clock()
    monkeypatch.setattr(progress.time, "monotonic", clock)
    show_progress()
    yield clock
    show_progress(False)


def test_a_line_comes_after_five_seconds_and_then_every_ten(clock: Clock, capsys: pytest.CaptureFixture[str]):
    with track("reading", 1000, "rows") as advance:
        for _ in range(31):
            clock.now += 1.0
            advance(10)
    assert capsys.readouterr().err.splitlines() == [
        "reading: 50 of 1,000 rows, 10 rows/s, 1:35 left",
        "reading: 150 of 1,000 rows, 10 rows/s, 1:25 left",
        "reading: 250 of 1,000 rows, 10 rows/s, 1:15 left",
    ]


def test_a_line_names_all_work_under_way_with_its_figures(clock: Clock, capsys: pytest.CaptureFixture[str]):
    with track("training", 3, "epochs") as epochs:
        epochs(1)
        epochs.describe("training: loss 0.5000, HitRate@20 0.4200")
        with track("epoch 2", None, "sessions") as advance:
            clock.now += 3600.0
            advance(900)
        with track("epoch 3", 9, "sessions"):
            pass
    assert capsys.readouterr().err == (
        "training: loss 0.5000, HitRate@20 0.4200: 1 of 3 epochs, 0.00 epochs/s, 2:00:00 left; "
        "epoch 2: 900 sessions, 0.25 sessions/s\n"
    )


def test_nothing_is_said_unless_asked_for(capsys: pytest.CaptureFixture[str]):
    with track("reading", 10, "rows") as advance:
        advance(5)
        advance.describe("still reading")
    note("compiling")
    assert capsys.readouterr().err == ""


def test_short_work_says_nothing_but_its_notes(clock: Clock, capsys: pytest.CaptureFixture[str]):
    with track("reading", 10, "rows") as advance:
        clock.now += 4.0
        advance(10)
        note("compiling")
    assert capsys.readouterr().err == "compiling\n"


def test_a_fit_in_python_shows_epochs_and_losses_only_while_it_is_asked_to(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    pytest.importorskip("torch")
    for pause in ("FIRST", "EVERY"):
        monkeypatch.setattr(progress, pause, 0.0)
    model = library.make_recommender("sml-gru-ncas", {"dim": 8, "epochs": 2, "batch_size": 16, "device": "cpu"})
    log = [[f"i{(start + at) % 9}" for at in range(4)] for start in range(40)]
    library.show_progress()
    try:
        model.fit(library.Sessions.of(log))
        assert re.search(r"loss \d+\.\d{4}: 1 of 2 epochs, .*; epoch 2: \d+ of \d+ batches", capsys.readouterr().err)
    finally:
        library.show_progress(False)
    model.fit(library.Sessions.of(log))
    assert capsys.readouterr().err == ""
