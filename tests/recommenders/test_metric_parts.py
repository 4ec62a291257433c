"""Any session encoder and any loss on distances in the default recommender."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from metric_support import LOG, tiny
from nearnext.artifact import load_artifact, save_artifact
from nearnext.data.prefixes import Prefixes
from nearnext.errors import ConfigError
from nearnext.recommenders.metric import selection
from nearnext.recommenders.metric.recommender import Metric
from nearnext.registry import ENCODERS, LOSSES
from nearnext.testing import assert_same_lists

PREFIXES = Prefixes.every(LOG)
OTHERS = sorted(ENCODERS.keys() - {"gru"})


def fitted(**options: Any) -> Metric:
    given: dict[str, Any] = {"epochs": 2, **options}
    return tiny("metric", **given).fit(LOG)


@pytest.mark.slow
@pytest.mark.parametrize("encoder", OTHERS)
def test_every_encoder_is_trained_ranked_saved_and_loaded(
    encoder: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(selection, "significantly_better", lambda *_: True)  # pyright: ignore[reportUnknownLambdaType]
    model = fitted(encoder=encoder)
    assert model.reranker is not None
    assert all(np.isfinite(epoch["loss"]) for epoch in model.history)
    loaded = load_artifact(save_artifact(model, tmp_path / "model", {})).recommender
    assert loaded.params() == model.params()
    assert_same_lists(loaded.rank(PREFIXES, 10), model.rank(PREFIXES, 10))


@pytest.mark.slow
@pytest.mark.parametrize("loss", sorted(LOSSES))
def test_every_loss_on_distances_trains_it_and_it_ranks_without_votes(loss: str):
    model = fitted(loss=loss, voters="", encoder="gru", dropout=0.0, epochs=12, learning_rate=0.05)
    assert model.history[-1]["loss"] < model.history[0]["loss"]
    assert model.reranker is None
    assert len(model.recommend([["i1", "i2"]], k=5)[0].items) == 5


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"encoder": "transformer"}, "unknown session encoder 'transformer'; known: maxpool, "),
        (
            {"loss": "pml:proxy-nca"},
            "pml:proxy-nca reads embeddings, and learning from every prefix gives",
        ),
        ({"encoder": "gru", "correction": True}, "correction belongs to encoder attention, found encoder gru"),
    ],
)
def test_parts_that_do_not_fit_say_why(options: dict[str, Any], message: str):
    with pytest.raises(ConfigError, match=message):
        tiny("metric", **options)
