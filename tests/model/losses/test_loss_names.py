import dataclasses

import pytest

from nearnext.errors import ConfigError
from nearnext.model.losses import NCAS, MetricLearning, loss_named
from nearnext.registry import LOSSES, parts_of_name


def test_every_name_gives_its_config_with_options() -> None:
    assert {name: type(loss_named(name)) for name in LOSSES} == dict(LOSSES)
    assert loss_named("ncas", smoothing=0.1, direction="cross_entropy") == NCAS(0.1, direction="cross_entropy")
    assert loss_named("ncas:smoothing=0.1,direction=cross_entropy") == NCAS(0.1, direction="cross_entropy")


@pytest.mark.parametrize("name", LOSSES)
def test_config_is_frozen_hashable_and_equal_by_value(name: str) -> None:
    loss = loss_named(name)
    assert loss == loss_named(name)
    assert hash(loss) == hash(loss_named(name))
    with pytest.raises(dataclasses.FrozenInstanceError):
        setattr(loss, next(iter(vars(loss))), None)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("pml:multi-similarity", MetricLearning("multi-similarity")),
        ("pml:triplet-margin+batch-hard", MetricLearning("triplet-margin", miner="batch-hard")),
        ("pml:ContrastiveLoss@snr", MetricLearning("ContrastiveLoss", distance="snr")),
        ("pml:margin+hdc@lp", MetricLearning("margin", miner="hdc", distance="lp")),
    ],
)
def test_metric_learning_names_hold_loss_miner_and_distance(name: str, expected: MetricLearning) -> None:
    assert loss_named(name) == expected


@pytest.mark.parametrize("name", ["hinge", "pml:", "pml:angular+", "Triplet", ""])
def test_unknown_name_lists_the_known(name: str) -> None:
    with pytest.raises(ConfigError, match=r"known: ncas, triplet, contrastive, bpr, top1, warp, pml:"):
        loss_named(name)


def test_unknown_option_lists_the_known() -> None:
    with pytest.raises(ConfigError, match="contrastive has no option 'margn'; did you mean 'margin'"):
        loss_named("contrastive", margn=0.3)
    with pytest.raises(ConfigError, match=r"options of its parts are .* sml-gru-triplet with swap=true \(--set\)"):
        parts_of_name("sml-gru-triplet:swap=true")
    with pytest.raises(ConfigError, match="pml:angular has no option 'margin'; known: loss, miner"):
        loss_named("pml:angular", margin=0.3)
