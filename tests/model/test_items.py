from typing import Any

import pytest
import torch

from nearnext.errors import ConfigError
from nearnext.model.network import ItemTower


def test_without_hidden_units_the_embedding_is_kept() -> None:
    embeddings = torch.randn(3, 4)
    assert torch.equal(ItemTower(dim=4).build()(embeddings), embeddings)


def test_hidden_units_are_linear_tanh_linear() -> None:
    encoder, embeddings = ItemTower(dim=4, hidden=3).build(), torch.randn(2, 5, 4)
    weights = dict(encoder.named_parameters())
    hidden = torch.tanh(embeddings @ weights["1.weight"].mT + weights["1.bias"])
    torch.testing.assert_close(encoder(embeddings), hidden @ weights["4.weight"].mT + weights["4.bias"])


def test_a_last_tanh_follows_the_last_layer() -> None:
    torch.manual_seed(2)
    plain = ItemTower(dim=4, hidden=3).build()
    torch.manual_seed(2)
    encoder, embeddings = ItemTower(dim=4, hidden=3, last_tanh=True).build(), torch.randn(2, 5, 4)
    torch.testing.assert_close(encoder(embeddings), torch.tanh(plain(embeddings)))


def test_frozen_layers_are_kept_and_saved_but_are_no_parameters() -> None:
    torch.manual_seed(2)
    trained = ItemTower(dim=4, hidden=3).build()
    torch.manual_seed(2)
    frozen, embeddings = ItemTower(dim=4, hidden=3, frozen=True).build(), torch.randn(2, 4, requires_grad=True)

    found = frozen(embeddings)
    found.sum().backward()

    torch.testing.assert_close(found, trained(embeddings))
    assert embeddings.grad is not None
    assert embeddings.grad.any()
    assert list(frozen.parameters()) == []
    assert frozen.state_dict().keys() == trained.state_dict().keys()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"dim": 0}, "dim must be a whole number of at least 1, found 0"),
        ({"hidden": -1}, "hidden must be a whole number of at least 0, found -1"),
        ({"max_norm": 0.0}, "max_norm must be a finite number above 0, found 0.0"),
        ({"last_tanh": True}, "last_tanh needs layers in the item encoder, found none; set hidden to 1 or more"),
        ({"frozen": True}, "frozen needs layers in the item encoder, found none"),
        ({"hidden": 2, "frozen": "yes"}, "frozen must be true or false, found 'yes'"),
        ({"initial_std": 0.0}, "initial_std must be a finite number above 0, found 0.0"),
        ({"initial_std": float("nan")}, "initial_std must be a finite number above 0, found nan"),
    ],
)
def test_numbers_out_of_range_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        ItemTower(**options)
