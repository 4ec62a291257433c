"""What holds for every session encoder there is."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from encoder_support import DIM, VARIANTS, alone, batch, built, sessions
from nearnext.errors import ConfigError
from nearnext.model.encoders import GRU, LSTM, Attention, Caser, TagSpace, TextCNN
from nearnext.registry import ENCODERS
from nearnext.testing import check_encoder

ORDERLESS = {"maxpool", "maxpool dense", "maxpool with zeros", "avgpool"}
every_encoder = pytest.mark.parametrize("variant", VARIANTS)


@every_encoder
def test_the_laws_of_encoders_hold(variant: str) -> None:
    check_encoder(VARIANTS[variant])


@pytest.mark.slow
@every_encoder
@settings(deadline=None, max_examples=20)
@given(lengths=st.lists(st.integers(0, 9), min_size=1, max_size=5), padding=st.integers(0, 20))
def test_padding_and_batch_composition_never_change_a_result(variant: str, lengths: list[int], padding: int) -> None:
    encoder = built(variant)
    clicks = sessions(lengths)

    together = encoder(*batch(clicks, max(*lengths, 1) + padding, padding=math.nan))

    expected = torch.stack([alone(encoder, session) for session in clicks])
    torch.testing.assert_close(together, expected, rtol=1e-5, atol=1e-5)


@every_encoder
def test_an_empty_session_is_the_dense_layers_of_zeros(variant: str) -> None:
    encoder = built(variant)
    dense = getattr(encoder, "dense", None)
    expected = torch.zeros(DIM)
    if isinstance(dense, nn.Sequential) and len(dense):
        first = next(layer for layer in dense if isinstance(layer, nn.Linear))
        expected = dense(torch.zeros(first.in_features))
    torch.testing.assert_close(alone(encoder, torch.zeros(0, DIM)), expected)


@every_encoder
def test_padding_gets_no_gradient(variant: str) -> None:
    clicks, mask = batch(sessions([2, 3]), 6, padding=1.0)
    clicks.requires_grad_()
    built(variant)(clicks, mask).square().sum().backward()
    assert clicks.grad is not None
    assert (clicks.grad[~mask] == 0).all()


@every_encoder
def test_order_matters_only_where_it_should(variant: str) -> None:
    encoder = built(variant)
    (clicks,) = sessions([6])
    forth, back = alone(encoder, clicks), alone(encoder, clicks.flip(0))
    assert torch.allclose(forth, back, atol=1e-5) == (variant in ORDERLESS)


@pytest.mark.parametrize("variant", sorted(ORDERLESS))
@settings(deadline=None, max_examples=20)
@given(order=st.permutations(range(6)))
def test_pooling_is_permutation_invariant(variant: str, order: list[int]) -> None:
    (clicks,) = sessions([6])
    encoder = built(variant)
    torch.testing.assert_close(alone(encoder, clicks[order]), alone(encoder, clicks), rtol=1e-5, atol=1e-5)


def test_dropout_acts_in_training_only() -> None:
    for config in (
        GRU(DIM, dropout=0.5),
        TextCNN(DIM, dropout=0.5),
        TagSpace(DIM, dropout=0.5),
        Caser(DIM, dropout=0.5),
        Attention(DIM, dropout=0.5),
    ):
        encoder = config.build(DIM)
        inputs = batch(sessions([3, 4]), 4)
        assert not torch.equal(encoder(*inputs), encoder(*inputs))
        encoder.eval()
        torch.testing.assert_close(encoder(*inputs), encoder(*inputs))


def test_every_name_gives_the_paper_dimension_by_default() -> None:
    assert list(ENCODERS) == [
        "maxpool", "avgpool", "weightedpool", "lastitem", "textcnn", "tagspace", "caser", "rnn", "gru", "lstm",
        "attention", "selfattention", "narm",
    ]  # fmt: skip
    assert {ENCODERS.make(name).dim for name in ENCODERS} == {400}
    assert ENCODERS.make("gru") == GRU(dim=400, hidden=400, layers=1, dense_layers=1, dropout=0.0)
    assert ENCODERS.make("gru") != LSTM()


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        (
            "bert",
            {},
            "unknown session encoder 'bert'; known: maxpool, avgpool, weightedpool, lastitem, textcnn, tagspace",
        ),
        ("gru", {"size": 3}, "gru has no option 'size'; known: dim, hidden, layers, dense_layers, dropout"),
        ("gru", {"dim": 0}, "dim must be a whole number of at least 1, found 0"),
        ("gru", {"hidden": 4.0}, "hidden must be a whole number of at least 1, found 4.0"),
        ("gru", {"dropout": 1.0}, "dropout must be a finite number of at least 0 and below 1, found 1.0"),
        ("gru", {"dropout": "high"}, "dropout must be a finite number of at least 0 and below 1, found 'high'"),
        (
            "lstm",
            {"dim": 8, "hidden": 4, "dense_layers": 0},
            r"lstm: without dense layers hidden \(4\) must be dim \(8\)",
        ),
        ("weightedpool", {"decay": "cubic"}, "unknown decay 'cubic'; known: linear, div, log, quadratic"),
        (
            "textcnn",
            {"filter_sizes": []},
            "filter_sizes must be a list of one or several whole numbers",
        ),
        (
            "textcnn",
            {"filter_sizes": 3},
            "filter_sizes must be a list of one or several whole numbers",
        ),
        (
            "textcnn",
            {"filter_sizes": [3, 0]},
            r"filter_sizes must be a list of .* of at least 1, found \[3, 0\]",
        ),
        ("attention", {"positions": 0}, "positions must be a whole number of at least 1, found 0"),
        ("attention", {"dropout": 1.5}, "dropout must be a finite number of at least 0 and below 1, found 1.5"),
        ("attention", {"correction": "no"}, "correction must be true or false, found 'no'"),
        ("selfattention", {"dim": 9, "heads": 2}, r"selfattention: expected heads that divide dim \(9\), found 2"),
        ("maxpool", {"dense_layers": -1}, "dense_layers must be a whole number of at least 0, found -1"),
        ("maxpool", {"zeros_up_to": 1.5}, "zeros_up_to must be a whole number of at least 0, found 1.5"),
        ("avgpool", {"last_tanh": True}, "last_tanh follows the last dense layer, found none; set dense_layers to 1"),
        ("tagspace", {"last_tanh": 1}, "last_tanh must be true or false, found 1"),
        ("caser", {"length": 2, "heights": (1, 3)}, r"caser: heights \(1, 3\) must not exceed the length of 2 clicks"),
    ],
)
def test_bad_options_are_one_clear_line(name: str, options: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        ENCODERS.make(name, **options)


@pytest.mark.parametrize("name", ["maxpool", "avgpool", "weightedpool", "lastitem", "attention", "selfattention"])
def test_pools_and_attention_refuse_clicks_of_another_dimension(name: str) -> None:
    with pytest.raises(ConfigError, match=f"{name} keeps the clicks' dimension: expected 6, found 4"):
        ENCODERS.make(name, dim=6).build(4)
