"""The network of GRU4Rec in training: its weights, the hidden state of every slot, and the loss of a step."""

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from nearnext.model.tensors import as_tensor
from nearnext.recommenders.gru4rec.batches import ClickBatch
from nearnext.recommenders.gru4rec.losses import bpr_max, cross_entropy
from nearnext.recommenders.gru4rec.weights import Layer, Weights
from nearnext.types import ScoreArray


def gru_step(inputs: Tensor, hidden: Tensor, layer: Sequence[Tensor]) -> Tensor:
    """The next hidden state of one layer: [B, H].

    Args:
        inputs: [B, E].
        hidden: state before the click: [B, H].
        layer: the arrays of a ``Layer`` as tensors.

    Reference: Hidasi et al. 2016, eqs. (2)-(5). Deviation: the candidate takes r ∘ (U h) as cuDNN and the authors'
    later implementation do, where eq. (4) has U (r ∘ h); one product gives all three gates then.

    >>> layer = [torch.zeros(2, 3), torch.zeros(1, 3), torch.zeros(1, 3)]
    >>> gru_step(torch.ones(1, 2), torch.ones(1, 1), layer).item()
    0.5
    """
    from_inputs, from_hidden, bias = layer
    width = hidden.shape[1]
    entered, remembered = torch.addmm(bias, inputs, from_inputs), hidden @ from_hidden  # [B, 3H]
    reset, update = torch.sigmoid(entered[:, : 2 * width] + remembered[:, : 2 * width]).chunk(2, dim=1)
    candidate = torch.tanh(torch.addcmul(entered[:, 2 * width :], reset, remembered[:, 2 * width :]))
    return torch.lerp(hidden, candidate, update)


class _Layer(nn.Module):
    """One layer's weights, in the memory of the arrays, and the state of every slot."""

    state: Tensor

    def __init__(self, layer: Layer, n_slots: int) -> None:
        super().__init__()
        self.inputs, self.hidden, self.bias = (nn.Parameter(as_tensor(array)) for array in layer)
        self.register_buffer("state", torch.zeros(n_slots, len(layer.hidden)))


class GRU4RecNetwork(nn.Module):
    """Weights in training; the arrays change with them.

    The gradient of a step ends at the hidden state that the step began with, as in the authors' implementation: the
    network learns to keep what helps the very next click.

    Args:
        weights: the arrays.
        n_slots: sessions read side by side.
        loss: ``cross-entropy`` or ``bpr-max``.
        dropout_embedding: share of the input embedding set to 0, in [0, 1).
        dropout_hidden: share of the hidden state set to 0, and carried so to the next click, in [0, 1).
        bpreg: λ of BPR-max.
        elu: α of the activation before BPR-max, 0: linear.
    """

    def __init__(
        self,
        weights: Weights,
        n_slots: int,
        *,
        loss: str = "cross-entropy",
        dropout_embedding: float = 0.0,
        dropout_hidden: float = 0.0,
        bpreg: float = 0.0,
        elu: float = 0.0,
    ) -> None:
        super().__init__()
        self.outputs = nn.Parameter(as_tensor(weights.outputs))
        self.inputs = nn.Parameter(as_tensor(weights.inputs)) if len(weights.inputs) else None
        self.layers = nn.ModuleList(_Layer(layer, n_slots) for layer in weights.layers)
        self._entered = len(weights.layers[0].inputs)
        self._loss, self._bpreg, self._elu = loss, bpreg, elu
        self._dropouts = dropout_embedding, dropout_hidden

    def weights(self) -> Weights:
        """The weights as arrays, in the network's memory."""
        layers = [Layer(*(_array(getattr(layer, name)) for name in Layer._fields)) for layer in self.layers]
        inputs = np.zeros((0, 0), np.float32) if self.inputs is None else _array(self.inputs)
        return Weights(_array(self.outputs), inputs, tuple(layers))

    def forward(self, batch: ClickBatch, rows: Mapping[str, Tensor]) -> Tensor:
        """The loss of a step, a scalar; the state of every slot goes on by a click."""
        outputs, (of_embedding, of_hidden) = rows["outputs"], self._dropouts
        entered = functional.embedding(batch.input_at, rows.get("inputs", outputs))[:, : self._entered]
        entered = functional.dropout(entered, of_embedding) if of_embedding else entered
        for layer in self.layers:
            assert isinstance(layer, _Layer)  # noqa: S101 - a list of modules has no type of its own
            layer.state[batch.begun] = 0.0
            entered = gru_step(entered, layer.state[batch.slots], (layer.inputs, layer.hidden, layer.bias))
            entered = functional.dropout(entered, of_hidden) if of_hidden else entered
            layer.state[batch.slots] = entered.detach()
        scores = functional.pad(entered, (0, 1), value=1.0) @ outputs.T  # [B, U], the last column of a row is its bias
        return self._losses(scores, batch).sum() / len(batch)

    def _losses(self, scores: Tensor, batch: ClickBatch) -> Tensor:
        if self._loss == "bpr-max":
            return bpr_max(scores, batch.target_at, batch.occurrences, regularisation=self._bpreg, elu=self._elu)
        return cross_entropy(scores, batch.target_at, batch.occurrences) + batch.correction


def _array(weight: Tensor) -> ScoreArray:
    return weight.detach().numpy()
