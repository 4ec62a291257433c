import pytest
import torch

from nearnext.errors import ConfigError
from nearnext.model.items import ItemTower


def test_without_hidden_units_the_embedding_is_kept() -> None:
    embeddings = torch.randn(3, 4)
    assert torch.equal(ItemTower(dim=4).build()(embeddings), embeddings)


def test_hidden_units_are_linear_tanh_linear() -> None:
    encoder, embeddings = ItemTower(dim=4, hidden=3).build(), torch.randn(2, 5, 4)
    weights = dict(encoder.named_parameters())
    hidden = torch.tanh(embeddings @ weights["1.weight"].mT + weights["1.bias"])
    torch.testing.assert_close(encoder(embeddings), hidden @ weights["4.weight"].mT + weights["4.bias"])


@pytest.mark.parametrize("options", [{"dim": 0}, {"hidden": -1}])
def test_numbers_out_of_range_are_refused(options: dict[str, int]) -> None:
    with pytest.raises(ConfigError, match="must be a whole number of at least"):
        ItemTower(**options)
