"""What holds for every session encoder there is, and for each what its definition says, computed by plain loops."""

import dataclasses
import math
from collections.abc import Callable

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from nearnext.errors import ConfigError
from nearnext.model.encoders import (
    ENCODERS,
    GRU,
    LSTM,
    RNN,
    Attention,
    AvgPool,
    Caser,
    EncoderConfig,
    LastItem,
    MaxPool,
    SessionEncoder,
    TagSpace,
    TextCNN,
    WeightedPool,
    encoder_named,
)
from nearnext.model.encoders.attention import AttentionEncoder

DIM = 6
VARIANTS: dict[str, EncoderConfig] = {
    **{name: config(dim=DIM) for name, config in ENCODERS.items()},
    "weightedpool linear": WeightedPool(DIM, "linear"),
    "weightedpool log": WeightedPool(DIM, "log"),
    "weightedpool quadratic": WeightedPool(DIM, "quadratic"),
    "textcnn even": TextCNN(DIM, filter_sizes=(2, 4), filters=5),
    "tagspace even": TagSpace(DIM, filter_size=4, filters=5),
    "caser short": Caser(DIM, length=3, heights=(1, 3)),
    "caser even": Caser(DIM, length=6, heights=(2, 4, 6)),
    "gru deep": GRU(DIM, hidden=5, layers=2, dense_layers=2),
    "lstm deep": LSTM(DIM, hidden=5, layers=2, dense_layers=2),
    "rnn bare": RNN(DIM, hidden=DIM, dense_layers=0),
    "attention inside": Attention(DIM, positions=3, correction=False),
}
ORDERLESS = {"maxpool", "avgpool"}
every_encoder = pytest.mark.parametrize("variant", VARIANTS)


def built(variant: str, seed: int = 7) -> SessionEncoder:
    torch.manual_seed(seed)
    return VARIANTS[variant].build(DIM)


def sessions(lengths: list[int], seed: int = 0) -> list[Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(length, DIM, generator=generator) for length in lengths]


def batch(clicks: list[Tensor], padded_to: int, padding: float = 0.0) -> tuple[Tensor, Tensor]:
    """Right-padded clicks [B, T, D] and their mask [B, T]."""
    padded = torch.full((len(clicks), padded_to, DIM), padding)
    mask = torch.zeros(len(clicks), padded_to, dtype=torch.bool)
    for row, session in enumerate(clicks):
        padded[row, : len(session)] = session
        mask[row, : len(session)] = True
    return padded, mask


def alone(encoder: SessionEncoder, session: Tensor) -> Tensor:
    return encoder(*batch([session], max(len(session), 1)))[0]


@every_encoder
@settings(deadline=None, max_examples=20)
@given(lengths=st.lists(st.integers(0, 9), min_size=1, max_size=5), padding=st.integers(0, 20))
def test_padding_and_batch_composition_never_change_a_result(variant: str, lengths: list[int], padding: int) -> None:
    encoder = built(variant)
    clicks = sessions(lengths)

    together = encoder(*batch(clicks, max(*lengths, 1) + padding, padding=math.nan))

    expected = torch.stack([alone(encoder, session) for session in clicks])
    torch.testing.assert_close(together, expected, rtol=1e-6, atol=1e-6)


@every_encoder
def test_empty_and_one_click_sessions_are_finite(variant: str) -> None:
    encoder = built(variant)
    clicks, mask = batch(sessions([0, 1, 4]), 4)
    clicks.requires_grad_()

    found = encoder(clicks, mask)
    found.sum().backward()

    assert found.shape == (3, DIM)
    assert found.isfinite().all()
    assert clicks.grad is not None
    assert clicks.grad.isfinite().all()
    assert all(parameter.grad is not None and parameter.grad.isfinite().all() for parameter in encoder.parameters())


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
    assert torch.allclose(forth, back, atol=1e-6) == (variant in ORDERLESS)


@pytest.mark.parametrize("variant", sorted(ORDERLESS))
@settings(deadline=None, max_examples=20)
@given(order=st.permutations(range(6)))
def test_pooling_is_permutation_invariant(variant: str, order: list[int]) -> None:
    (clicks,) = sessions([6])
    encoder = built(variant)
    torch.testing.assert_close(alone(encoder, clicks[order]), alone(encoder, clicks), rtol=1e-6, atol=1e-6)


@every_encoder
def test_same_seed_gives_same_weights_and_another_seed_others(variant: str) -> None:
    first, second, third = (built(variant, seed).state_dict() for seed in (3, 3, 4))
    assert first.keys() == second.keys()
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert not first or any(not torch.equal(first[name], third[name]) for name in first)


@every_encoder
def test_every_parameter_gets_a_gradient(variant: str) -> None:
    encoder = built(variant)
    clicks, mask = batch(sessions([1, 2, 5, 9]), 9)
    (encoder(clicks.requires_grad_(), mask) * sessions([4], seed=1)[0]).sum().backward()
    without = [name for name, weight in encoder.named_parameters() if weight.grad is None or not weight.grad.any()]
    assert without == []


@every_encoder
def test_inputs_are_unmodified(variant: str) -> None:
    clicks, mask = batch(sessions([1, 3, 0]), 5, padding=2.0)
    clicks_before, mask_before = clicks.clone(), mask.clone()
    built(variant)(clicks, mask)
    assert torch.equal(clicks, clicks_before)
    assert torch.equal(mask, mask_before)


@every_encoder
def test_configs_are_frozen_comparable_and_rebuilt_from_their_fields(variant: str) -> None:
    config = VARIANTS[variant]
    assert dataclasses.is_dataclass(config)
    assert not isinstance(config, type)
    assert dataclasses.replace(config) == config
    assert hash(dataclasses.replace(config)) == hash(config)
    with pytest.raises(dataclasses.FrozenInstanceError):
        setattr(config, "dim", 3)  # noqa: B010 - a plain assignment is what pyright already refuses


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
        assert torch.equal(encoder(*inputs), encoder(*inputs))


def test_every_name_gives_the_paper_dimension_by_default() -> None:
    assert list(ENCODERS) == [
        "maxpool", "avgpool", "weightedpool", "lastitem", "textcnn", "tagspace", "caser", "rnn", "gru", "lstm",
        "attention",
    ]  # fmt: skip
    assert {encoder_named(name).dim for name in ENCODERS} == {400}
    assert encoder_named("gru") == GRU(dim=400, hidden=400, layers=1, dense_layers=1, dropout=0.0)
    assert encoder_named("gru") != LSTM()


def test_pools_by_hand() -> None:
    clicks, mask = (
        torch.tensor([[[1.0, -5.0], [4.0, -7.0], [-2.0, -6.0], [9.0, 9.0]]]),
        torch.tensor([[1, 1, 1, 0]]) > 0,
    )
    assert MaxPool(2).build(2)(clicks, mask).tolist() == [[4.0, -5.0]]
    assert AvgPool(2).build(2)(clicks, mask).tolist() == [[1.0, -6.0]]
    assert LastItem(2).build(2)(clicks, mask).tolist() == [[-2.0, -6.0]]


@pytest.mark.parametrize(
    ("config", "weights"),
    [
        (WeightedPool(1, "linear"), [1 / 3, 2 / 3, 1]),
        (WeightedPool(1, "div"), [1 / 3, 1 / 2, 1]),
        (WeightedPool(1, "log"), [1 / 2, 1 / math.log2(3), 1]),
        (WeightedPool(1, "quadratic"), [1 / 9, 1 / 4, 1]),
    ],
    ids=lambda value: value.decay if isinstance(value, WeightedPool) else "",
)
def test_recency_weights_by_hand(config: WeightedPool, weights: list[float]) -> None:
    clicks = torch.tensor([[[1.0], [10.0], [100.0]]])
    found = config.build(1)(clicks, torch.ones(1, 3, dtype=torch.bool))
    expected = (1 * weights[0] + 10 * weights[1] + 100 * weights[2]) / sum(weights)
    torch.testing.assert_close(found, torch.tensor([[expected]]))


def windows_around_each_click(session: Tensor, width: int) -> list[Tensor]:
    """Clicks (width − 1) // 2 before to width // 2 after each click, zeros beyond the ends: width × D each."""
    back, ahead = (width - 1) // 2, width // 2
    zero = torch.zeros(DIM)
    return [
        torch.stack([session[t] if 0 <= t < len(session) else zero for t in range(centre - back, centre + ahead + 1)])
        for centre in range(len(session))
    ]


def response(weight: Tensor, bias: Tensor, window: Tensor) -> Tensor:
    return torch.stack([(filter_weights.mT * window).sum() for filter_weights in weight]) + bias


def strongest(responses: list[Tensor], before: Callable[[Tensor], Tensor] = lambda response: response) -> Tensor:
    return torch.stack([before(one) for one in responses]).max(dim=0).values


@pytest.mark.parametrize("length", [1, 2, 7])
def test_textcnn_is_the_strongest_relu_response_of_each_filter(length: int) -> None:
    (session,) = sessions([length])
    encoder = built("textcnn even")
    weights = dict(encoder.named_parameters())
    pooled = [
        strongest(
            [
                response(
                    weights[f"convolutions.{row}.convolution.weight"],
                    weights[f"convolutions.{row}.convolution.bias"],
                    w,
                )
                for w in windows_around_each_click(session, width)
            ]
        ).relu()
        for row, width in enumerate((2, 4))
    ]
    expected = weights["dense.1.weight"] @ torch.cat(pooled) + weights["dense.1.bias"]
    torch.testing.assert_close(alone(encoder, session), expected)


@pytest.mark.parametrize("length", [1, 2, 7])
def test_tagspace_is_convolution_tanh_max_tanh_linear(length: int) -> None:
    (session,) = sessions([length])
    encoder = built("tagspace")
    weights = dict(encoder.named_parameters())
    windows = windows_around_each_click(session, 5)
    responses = [
        response(weights["convolution.convolution.weight"], weights["convolution.convolution.bias"], w) for w in windows
    ]
    expected = weights["dense.1.weight"] @ strongest(responses, torch.tanh).tanh() + weights["dense.1.bias"]
    torch.testing.assert_close(alone(encoder, session), expected)


@pytest.mark.parametrize("length", [1, 2, 5, 6, 9])
def test_caser_sees_the_last_clicks_aligned_at_the_end(length: int) -> None:
    (session,) = sessions([length])
    encoder = built("caser even")  # the last 6 clicks
    weights = dict(encoder.named_parameters())
    recent = session[-6:]
    image = torch.cat([torch.zeros(6 - len(recent), DIM), recent])
    features: list[Tensor] = []
    for row, height in enumerate((2, 4, 6)):
        weight, bias = weights[f"horizontal.{row}.weight"], weights[f"horizontal.{row}.bias"]
        ends = [end for end in range(height, 7) if end > 6 - len(recent)]  # windows that hold a real click
        features.append(strongest([response(weight, bias, image[end - height : end]) for end in ends]).relu())
    vertical = torch.stack([image.mT @ weights["vertical.weight"][f] for f in range(4)], dim=1)  # [D, 4]
    expected = weights["dense.1.weight"] @ torch.cat([*features, vertical.flatten()]) + weights["dense.1.bias"]
    torch.testing.assert_close(alone(encoder, session), expected)


def test_caser_forgets_clicks_before_its_length() -> None:
    encoder = built("caser short")
    (session,) = sessions([9])
    torch.testing.assert_close(alone(encoder, session), alone(encoder, session[-3:]))


def test_rnn_ends_in_the_state_after_the_last_click() -> None:
    (session,) = sessions([4])
    encoder = built("rnn bare")
    weights = dict(encoder.named_parameters())
    state = torch.zeros(DIM)
    for click in session:
        new = weights["recurrent.weight_ih_l0"] @ click + weights["recurrent.bias_ih_l0"]
        state = torch.tanh(new + weights["recurrent.weight_hh_l0"] @ state + weights["recurrent.bias_hh_l0"])
    torch.testing.assert_close(alone(encoder, session), state)


def attentive(variant: str) -> AttentionEncoder:
    """The encoder with every weight drawn: those that begin at zero would hide what they do."""
    encoder = built(variant)
    assert isinstance(encoder, AttentionEncoder)
    generator = torch.Generator().manual_seed(2)
    with torch.no_grad():
        for weight in encoder.parameters():
            weight.copy_(torch.randn(weight.shape, generator=generator) * 0.5)
    return encoder.eval()


@pytest.mark.parametrize("variant", ["attention", "attention inside"])
@pytest.mark.parametrize("length", [1, 2, 7])
def test_attention_mixes_what_matters_for_the_last_click_with_that_click(variant: str, length: int) -> None:
    encoder, (session,) = attentive(variant), sessions([length])
    weights, size = dict(encoder.named_parameters()), DIM**0.5
    clicks = [click / click.norm() for click in session]
    asked = weights["last.weight"] @ (clicks[-1] * size) + weights["last.bias"]
    energies: list[Tensor] = []
    for place, click in enumerate(clicks):
        gap = min(length - 1 - place, len(weights["position"]) - 1)
        told = weights["click.weight"] @ (click * size) + weights["place.weight"] @ (weights["position"][gap] * size)
        energies.append(weights["energy.weight"][0] @ torch.tanh(asked + told) + weights["recency"][gap])
    shares = torch.stack(energies).softmax(0)
    read = sum((share * click for share, click in zip(shares, clicks, strict=True)), torch.zeros(DIM))
    both = torch.cat([read, clicks[-1]])
    gate = (weights["gate.weight"] @ (both * size) + weights["gate.bias"]).softmax(0)
    expected = gate[0] * read + gate[1] * clicks[-1]
    if "correction.weight" in weights:
        expected = expected + weights["correction.weight"] @ both
    torch.testing.assert_close(alone(encoder, session), expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("variant", ["attention", "attention inside"])
@settings(deadline=None, max_examples=20)
@given(lengths=st.lists(st.integers(1, 9), min_size=1, max_size=4), padding=st.integers(0, 5))
def test_every_prefix_of_attention_is_what_that_prefix_alone_gives(
    variant: str, lengths: list[int], padding: int
) -> None:
    encoder, clicks = attentive(variant), sessions(lengths)
    together = encoder.every_prefix(*batch(clicks, max(lengths) + padding, padding=math.nan))
    for row, session in enumerate(clicks):
        expected = torch.stack([alone(encoder, session[: end + 1]) for end in range(len(session))])
        torch.testing.assert_close(together[row, : len(session)], expected, rtol=1e-6, atol=1e-6)


def test_attention_begins_inside_the_span_of_the_clicks() -> None:
    (session,) = sessions([2])
    found = alone(built("attention"), session)
    lengths = torch.linalg.lstsq(session.mT, found[:, None]).solution
    torch.testing.assert_close(session.mT @ lengths[:, 0], found, rtol=1e-5, atol=1e-5)


def test_dense_layers_have_tanh_between_them_and_end_linear() -> None:
    bare, (session,) = built("gru deep"), sessions([3])
    weights = dict(bare.named_parameters())
    state = bare.get_submodule("recurrent")(session.unsqueeze(0))[1][-1, 0]
    hidden = torch.tanh(weights["dense.1.weight"] @ state + weights["dense.1.bias"])
    torch.testing.assert_close(alone(bare, session), weights["dense.4.weight"] @ hidden + weights["dense.4.bias"])


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
        ("gru", {"dropout": 1.0}, "dropout must be a number of at least 0 and below 1, found 1.0"),
        ("gru", {"dropout": "high"}, "dropout must be a number of at least 0 and below 1, found 'high'"),
        (
            "lstm",
            {"dim": 8, "hidden": 4, "dense_layers": 0},
            r"lstm: without dense layers hidden \(4\) must be dim \(8\)",
        ),
        ("weightedpool", {"decay": "cubic"}, "unknown decay 'cubic'; known: linear, div, log, quadratic"),
        ("textcnn", {"filter_sizes": []}, "filter_sizes must be a list of whole numbers"),
        ("textcnn", {"filter_sizes": 3}, "filter_sizes must be a list of whole numbers"),
        ("textcnn", {"filter_sizes": [3, 0]}, "filter_sizes must be a whole number of at least 1, found 0"),
        ("attention", {"positions": 0}, "positions must be a whole number of at least 1, found 0"),
        ("attention", {"dropout": 1.5}, "dropout must be a number of at least 0 and below 1, found 1.5"),
        ("attention", {"correction": "no"}, "correction must be true or false, found 'no'"),
        ("caser", {"length": 2, "heights": (1, 3)}, r"caser: heights \(1, 3\) must not exceed the length of 2 clicks"),
    ],
)
def test_bad_options_are_one_clear_line(name: str, options: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        encoder_named(name, **options)


@pytest.mark.parametrize("name", ["maxpool", "avgpool", "weightedpool", "lastitem", "attention"])
def test_pools_and_attention_refuse_clicks_of_another_dimension(name: str) -> None:
    with pytest.raises(ConfigError, match=f"{name} keeps the clicks' dimension: expected 6, found 4"):
        encoder_named(name, dim=6).build(4)
