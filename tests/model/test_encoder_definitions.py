"""What the definition of each session encoder says, computed by plain loops."""

import math
from collections.abc import Callable

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn import functional

from encoder_support import DIM, alone, batch, built, sessions
from nearnext.model.encoders import (
    AvgPool,
    LastItem,
    MaxPool,
    SessionEncoder,
    WeightedPool,
)
from nearnext.model.layers import CentredConvolution, zero_padding
from nearnext.options import options_of
from nearnext.registry import ENCODERS


def test_pools_by_hand() -> None:
    clicks, mask = (
        torch.tensor([[[1.0, -5.0], [4.0, -7.0], [-2.0, -6.0], [9.0, 9.0]]]),
        torch.tensor([[1, 1, 1, 0]]) > 0,
    )
    assert MaxPool(2).build(2)(clicks, mask).tolist() == [[4.0, -5.0]]
    assert AvgPool(2).build(2)(clicks, mask).tolist() == [[1.0, -6.0]]
    assert LastItem(2).build(2)(clicks, mask).tolist() == [[-2.0, -6.0]]


@pytest.mark.parametrize("pooling", [MaxPool, AvgPool, WeightedPool, LastItem])
def test_dense_layers_follow_the_pooled_clicks_of_another_dimension(
    pooling: type[MaxPool | AvgPool | WeightedPool | LastItem],
) -> None:
    torch.manual_seed(3)
    (session,) = sessions([4])
    encoder = pooling(3, dense_layers=2, last_tanh=True).build(DIM)
    first, second = (layer for layer in encoder.modules() if isinstance(layer, nn.Linear))
    hidden = torch.tanh(alone(pooling(DIM).build(DIM), session) @ first.weight.mT + first.bias)
    torch.testing.assert_close(alone(encoder, session), torch.tanh(hidden @ second.weight.mT + second.bias))


@pytest.mark.parametrize("n_clicks", [1, 3, 4])
def test_zeros_take_part_in_the_maximum_of_a_session_shorter_than_they_fill(n_clicks: int) -> None:
    (session,) = sessions([n_clicks])
    padded = torch.cat([session, torch.zeros(max(4 - n_clicks, 0), DIM)])
    torch.testing.assert_close(alone(MaxPool(DIM, zeros_up_to=4).build(DIM), session), padded.amax(dim=0))


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


def attentive(variant: str) -> SessionEncoder:
    """The encoder with every weight drawn: those that begin at zero would hide what they do."""
    encoder = built(variant)
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
    torch.testing.assert_close(alone(encoder, session), expected, rtol=1e-5, atol=1e-5)


def normal(state: Tensor, weights: dict[str, nn.Parameter], name: str) -> Tensor:
    centred = state - state.mean()
    return centred / (centred.square().mean() + 1e-5).sqrt() * weights[f"{name}.weight"] + weights[f"{name}.bias"]


@pytest.mark.parametrize("length", [1, 2, 7])
def test_self_attention_reads_the_clicks_before_each_block_by_block(length: int) -> None:
    encoder, (session,) = attentive("selfattention deep"), sessions([length])
    weights, width = dict(encoder.named_parameters()), DIM // 2
    states = [click / click.norm() * DIM**0.5 + weights["position"][min(at, 2)] for at, click in enumerate(session)]
    for block in (f"blocks.{number}" for number in range(3)):
        normals, read = [normal(state, weights, f"{block}.before_attention") for state in states], list[Tensor]()
        for at, asked in enumerate(normals):
            heads = list[Tensor]()
            for head in (slice(0, width), slice(width, DIM)):
                query, keys, values = (
                    torch.stack([weights[f"{block}.{name}.weight"][head] @ one for one in of])
                    for name, of in (("queries", [asked]), ("keys", normals[: at + 1]), ("values", normals[: at + 1]))
                )
                heads.append((query @ keys.mT / width**0.5).softmax(dim=1)[0] @ values)
            read.append(states[at] + torch.cat(heads))
        inner = [
            torch.relu(
                weights[f"{block}.inner.weight"] @ normal(state, weights, f"{block}.before_feed")
                + weights[f"{block}.inner.bias"]
            )
            for state in read
        ]
        states = [
            state + weights[f"{block}.outer.weight"] @ one + weights[f"{block}.outer.bias"]
            for state, one in zip(read, inner, strict=True)
        ]
    expected = normal(states[-1], weights, "last_norm")
    torch.testing.assert_close(alone(encoder, session), expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("length", [1, 2, 7])
def test_narm_joins_the_last_state_and_the_states_that_matter_for_it(length: int) -> None:
    encoder, (session,) = attentive("narm"), sessions([length])
    weights = dict(encoder.named_parameters())
    gru = encoder.get_submodule("recurrent")
    states = [gru((session[: end + 1] / session[: end + 1].norm(dim=1, keepdim=True) * DIM**0.5)[None])[1][0, 0]
              for end in range(length)]  # fmt: skip
    asked, local = weights["last.weight"] @ states[-1], torch.zeros(5)
    for state in states:
        local = local + weights["energy.weight"][0] @ torch.sigmoid(asked + weights["state.weight"] @ state) * state
    expected = weights["decoder.weight"] @ torch.cat([states[-1], local])
    torch.testing.assert_close(alone(encoder, session), expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("variant", ["attention", "attention inside", "selfattention deep", "narm"])
@settings(deadline=None, max_examples=20)
@given(lengths=st.lists(st.integers(1, 9), min_size=1, max_size=4), padding=st.integers(0, 5))
def test_every_prefix_of_attention_is_what_that_prefix_alone_gives(
    variant: str, lengths: list[int], padding: int
) -> None:
    encoder, clicks = attentive(variant), sessions(lengths)
    together = encoder.every_prefix(*batch(clicks, max(lengths) + padding, padding=math.nan))
    for row, session in enumerate(clicks):
        expected = torch.stack([alone(encoder, session[: end + 1]) for end in range(len(session))])
        torch.testing.assert_close(together[row, : len(session)], expected, rtol=1e-5, atol=1e-5)


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


@pytest.mark.parametrize("width", [1, 2, 5])
def test_a_convolution_over_real_clicks_alone_is_torchs(width: int):
    ours = CentredConvolution(input_dim=3, filters=4, width=width)
    clicks, mask = torch.randn(4, 6, 3, requires_grad=True), torch.arange(6) < torch.tensor([[6], [0], [1], [4]])
    found = ours(clicks, mask)
    padded = functional.pad(zero_padding(clicks, mask).mT, ours.beyond)
    expected = zero_padding(ours.convolution(padded).mT, mask)
    torch.testing.assert_close(found, expected)
    learned = [clicks, *ours.parameters()]
    for one, other in zip(
        torch.autograd.grad(found.square().sum(), learned),
        torch.autograd.grad(expected.square().sum(), learned),
        strict=True,
    ):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", list(ENCODERS))
def test_every_option_has_a_help_text(name: str):
    assert [option for option, about in options_of(ENCODERS[name]).items() if not about.help] == []
