import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from nearnext.errors import ConfigError, DataError
from nearnext.model.distances import DISTANCES, DistanceName, all_pairs
from nearnext.model.encoders import GRU, EncoderConfig, MaxPool
from nearnext.model.network import ItemTower, SessionItemNetwork
from nearnext.registry import ENCODERS

DIM, N_ITEMS = 6, 9
every_encoder = pytest.mark.parametrize("name", ENCODERS)
either_embedding = pytest.mark.parametrize("common", [True, False], ids=["common", "separate"])


def network(
    name: str = "gru", *, common: bool = True, distance: DistanceName = "cosine", hidden: int = 0, max_length: int = 15
) -> SessionItemNetwork:
    torch.manual_seed(5)
    encoder = ENCODERS.make(name, dim=DIM)
    tower = ItemTower(DIM, hidden)
    return SessionItemNetwork(
        N_ITEMS, tower, encoder, common_embedding=common, distance=distance, max_length=max_length
    )


def padded(sessions: list[list[int]], to: int) -> Tensor:
    return torch.tensor([session + [0] * (to - len(session)) for session in sessions], dtype=torch.int64)


clicks_with_unknown_ones = st.lists(st.integers(0, N_ITEMS), max_size=8)


@pytest.mark.slow
@every_encoder
@settings(deadline=None, max_examples=20)
@given(sessions=st.lists(clicks_with_unknown_ones, min_size=1, max_size=4), padding=st.integers(0, 30))
def test_padding_batch_and_unknown_clicks_never_change_a_session(
    name: str, sessions: list[list[int]], padding: int
) -> None:
    towers = network(name, max_length=5)

    together = towers.encode_sessions(padded(sessions, max(map(len, sessions)) + padding))

    known = [[item for item in session if item][-5:] for session in sessions]
    alone = torch.cat([towers.encode_sessions(padded([session], len(session))) for session in known])
    torch.testing.assert_close(together, alone, rtol=1e-5, atol=1e-5)


@either_embedding
@every_encoder
def test_every_trainable_parameter_gets_a_gradient(name: str, common: bool) -> None:
    towers = network(name, common=common, hidden=4)
    sessions, items = towers(padded([[1, 2, 3, 4], [5, 6], [7]], 5), padded([[2, 8], [9, 1], [3, 4]], 2))
    (all_pairs(sessions, items.flatten(0, 1)) * torch.randn(3, 6)).sum().backward()

    without = [name for name, weight in towers.named_parameters() if weight.grad is None or not weight.grad.any()]

    assert without == []


@either_embedding
@every_encoder
def test_one_optimiser_step_changes_every_parameter_and_no_padding_row(name: str, common: bool) -> None:
    towers = network(name, common=common, hidden=4)
    before = {name: weight.clone() for name, weight in towers.state_dict().items()}
    optimiser = torch.optim.Adam(towers.parameters(), lr=0.1)
    sessions, items = towers(padded([[1, 2, 0, 4], [0, 6], []], 5), padded([[2, 8], [9, 1], [3, 0]], 2))
    (all_pairs(sessions, items.flatten(0, 1)) * torch.randn(3, 6)).sum().backward()
    optimiser.step()

    assert [name for name, weight in towers.state_dict().items() if torch.equal(weight, before[name])] == []
    tables = [weight for name, weight in towers.named_parameters() if name.endswith("embedding.weight")]
    assert len(tables) == (1 if common else 2)
    assert all(not table[0].any() for table in tables)


def test_a_common_embedding_is_one_table() -> None:
    common, separate = network("maxpool"), network("maxpool", common=False)
    assert sum(weight.numel() for weight in common.parameters()) == (N_ITEMS + 1) * DIM
    assert sum(weight.numel() for weight in separate.parameters()) == 2 * (N_ITEMS + 1) * DIM
    single = torch.tensor([[4]])
    torch.testing.assert_close(common.encode_sessions(single), common.encode_items(single[0]))
    assert not torch.allclose(separate.encode_sessions(single), separate.encode_items(single[0]))


@every_encoder
def test_both_towers_give_unit_vectors_for_the_cosine_distance(name: str) -> None:
    towers = network(name, hidden=3)
    sessions, items = towers.encode_sessions(padded([[1, 2], [3]], 2)), towers.encode_items()
    torch.testing.assert_close(sessions.square().sum(1), torch.ones(2))
    torch.testing.assert_close(items.square().sum(1), torch.ones(N_ITEMS))


def test_euclidean_towers_are_not_normalised() -> None:
    towers = network("maxpool", distance="euclidean")
    torch.testing.assert_close(towers.encode_items(), towers.item_embedding.weight[1:])
    torch.testing.assert_close(towers.encode_sessions(torch.tensor([[4]]))[0], towers.item_embedding.weight[4])


def test_items_without_indices_are_1_to_n_in_order() -> None:
    towers = network("avgpool", hidden=3)
    torch.testing.assert_close(towers.encode_items(), towers.encode_items(torch.arange(1, N_ITEMS + 1)))
    grid = torch.tensor([[1, 5], [9, 1], [2, 2]])
    assert towers.encode_items(grid).shape == (3, 2, DIM)
    torch.testing.assert_close(towers.encode_items(grid)[1, 0], towers.encode_items()[8])


@pytest.mark.parametrize("distance", DISTANCES)
@every_encoder
def test_sessions_without_known_clicks_are_finite(name: str, distance: DistanceName) -> None:
    towers = network(name, distance=distance)
    for nothing in (torch.zeros(2, 0, dtype=torch.int64), torch.zeros(2, 4, dtype=torch.int64)):
        found = towers.encode_sessions(nothing)
        assert found.shape == (2, DIM)
        assert found.isfinite().all()
    assert towers.encode_sessions(torch.zeros(0, 3, dtype=torch.int64) + 1).shape == (0, DIM)


def test_only_the_last_known_clicks_are_seen() -> None:
    towers = network("gru", max_length=2)
    long, short = torch.tensor([[1, 2, 3, 0, 4, 0]]), torch.tensor([[3, 4]])
    torch.testing.assert_close(towers.encode_sessions(long), towers.encode_sessions(short))
    reverse = towers.encode_sessions(torch.tensor([[4, 3]]))
    assert not torch.allclose(towers.encode_sessions(short), reverse)


def test_same_seed_same_network_and_narrow_indices_count_as_wide_ones() -> None:
    first, second = network("lstm", hidden=3), network("lstm", hidden=3)
    assert all(torch.equal(first.state_dict()[name], weight) for name, weight in second.state_dict().items())
    clicks = torch.tensor([[1, 2, 0]])
    torch.testing.assert_close(first.encode_sessions(clicks), second.encode_sessions(clicks.int()))


def test_inputs_are_unmodified() -> None:
    clicks = torch.tensor([[0, 2, 0, 3, 4, 5]])
    before = clicks.clone()
    network(max_length=2)(clicks, clicks)
    assert torch.equal(clicks, before)


@pytest.mark.parametrize(
    ("encoder", "initial_std", "expected"),
    [(MaxPool(100), None, 0.1), (GRU(100, hidden=4), None, 1.0), (MaxPool(100), 0.5, 0.5), (GRU(100), 0.5, 0.5)],
)
def test_embeddings_start_at_the_scale_that_suits_the_encoder(
    encoder: EncoderConfig, initial_std: float | None, expected: float
) -> None:
    torch.manual_seed(1)
    towers = SessionItemNetwork(500, ItemTower(100, initial_std=initial_std), encoder, common_embedding=False)
    assert towers.click_embedding is not None
    for table in (towers.item_embedding, towers.click_embedding):
        assert table.weight[1:].std().item() == pytest.approx(expected, rel=0.02)


def test_weights_are_stored_once_and_come_back() -> None:
    first, second = network("caser", hidden=2), network("caser", hidden=2)
    with torch.no_grad():
        second.item_embedding.weight.mul_(2)
    second.load_state_dict(first.state_dict())
    pointers = [weight.data_ptr() for weight in first.state_dict().values()]
    assert len(set(pointers)) == len(pointers)
    clicks = torch.tensor([[1, 2, 3]])
    torch.testing.assert_close(first.encode_sessions(clicks), second.encode_sessions(clicks))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"n_items": 0}, "n_items must be a whole number of at least 1, found 0"),
        ({"max_length": 0}, "max_length must be a whole number of at least 1, found 0"),
        ({"distance": "manhattan"}, "unknown distance 'manhattan'; known: cosine, euclidean, squared_euclidean"),
        ({"encoder": GRU(dim=8)}, "the item tower has dimension 6, the session encoder 8; give both the same dim"),
    ],
)
def test_contradictory_options_are_one_clear_line(options: dict[str, object], message: str) -> None:
    arguments: dict[str, object] = {"n_items": N_ITEMS, "item": ItemTower(DIM), "encoder": MaxPool(DIM), **options}
    with pytest.raises(ConfigError, match=message):
        SessionItemNetwork(**arguments)  # pyright: ignore[reportArgumentType]


@pytest.mark.parametrize(
    ("clicks", "message"),
    [
        (torch.tensor([1, 2]), r"expected clicks of shape \[B, T\], found \[2\]"),
        (torch.tensor([[1.0]]), "expected item indices as int64, found torch.float32"),
        (torch.tensor([[1, 10]]), r"expected item indices in 0\.\.9, found 1\.\.10"),
        (torch.tensor([[-1, 2]]), r"expected item indices in 0\.\.9, found -1\.\.2"),
    ],
)
def test_clicks_that_are_no_item_indices_are_refused(clicks: Tensor, message: str) -> None:
    with pytest.raises(DataError, match=message):
        network().encode_sessions(clicks)


def test_candidates_of_another_vocabulary_are_refused() -> None:
    with pytest.raises(DataError, match=r"expected item indices in 0\.\.9, found 10\.\.10"):
        network().encode_items(torch.tensor([10]))


@either_embedding
def test_both_towers_read_embeddings_of_at_most_the_longest_norm(common: bool) -> None:
    torch.manual_seed(5)
    tower = ItemTower(DIM, initial_std=1.0, max_norm=1.5)
    towers = SessionItemNetwork(N_ITEMS, tower, MaxPool(DIM), common_embedding=common, distance="euclidean")
    with torch.no_grad():
        for table in (towers.item_embedding, towers.click_embedding):
            if table is not None:
                table.weight[1] *= 0.1 / table.weight[1].norm()
                table.weight[2] *= 9.0 / table.weight[2].norm()

    items, sessions = towers.encode_items(), towers.encode_sessions(torch.tensor([[1], [2]]))

    rows = towers.item_embedding.weight.detach()[1:]
    expected = torch.stack([row * min(1.0, 1.5 / float(row.norm())) for row in rows])
    torch.testing.assert_close(items, expected)
    torch.testing.assert_close(sessions.norm(dim=1), torch.tensor([0.1, 1.5]))
    (items.sum() + towers.encode_sessions(torch.tensor([[1, 0, 2]])).sum()).backward()
    assert all(weight.grad is not None and weight.grad.isfinite().all() for weight in towers.parameters())
