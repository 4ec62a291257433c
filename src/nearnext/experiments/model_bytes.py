"""Bytes that training takes, by what holds them, from the shapes of what is learned; without those of a batch.

Of a network, in bytes, with T tables (1, or 2 without a common embedding) of I items in D dimensions and L
further parameters: weights W = 4 (T (I + 1) D + L); Adam 2 W, and on the CPU 8 T (I + 1) for when a row was last moved,
on an accelerator 4 T (I + 1) D for the gradient of whole tables; best weights so far W; and at the end of an epoch, one
after the other, the item embeddings that validation searches 8 I D + 8 I, or a copy of the new best weights W. Of
GRU4Rec with layers of widths H: W = 4 ((I + 1) (D + 1) + (I + 1) E + Σ 3 H (inputs + H + 1)), E the width of a separate
input embedding; the optimiser 2 W + 8 for each row of each matrix.
"""

from typing import TYPE_CHECKING

from nearnext.recommenders.gru4rec import GRU4Rec

if TYPE_CHECKING:  # torch takes over a second to import, and memory: methods without it do without it
    from nearnext.model.network import SessionItemNetwork

__all__ = ["FLOAT", "gru4rec_bytes", "network_bytes"]

FLOAT, INTEGER = 4, 8
"""Bytes of a weight and of a count."""


def network_bytes(
    network: "SessionItemNetwork", n_items: int, *, further: int = 0, accelerator: bool = False
) -> dict[str, int]:
    """Bytes that training of a network takes, by what holds them, without those of a batch.

    Args:
        network: of any number of items: its tables count as for ``n_items``.
        n_items: number of items I.
        further: parameters of the loss.
        accelerator: trained on one.
    """
    from nearnext.training.examples import TABLES

    sizes = {name: parameter.numel() for name, parameter in network.named_parameters()}
    n_tables = sum(name in TABLES for name in sizes)
    dim = network.item_embedding.embedding_dim
    layers = sum(size for name, size in sizes.items() if name not in TABLES) + further
    weights = FLOAT * (n_tables * (n_items + 1) * dim + layers)
    rows = n_tables * (n_items + 1)
    return {
        "weights": weights,
        "Adam": 2 * weights + (FLOAT * rows * dim if accelerator else INTEGER * rows),
        "best weights": weights,
        "validation": max(2 * FLOAT * n_items * dim + INTEGER * n_items, weights),
    }


def gru4rec_bytes(gru4rec: GRU4Rec, n_items: int) -> dict[str, int]:
    """Bytes that training of GRU4Rec takes, by what holds them, without those of a batch.

    >>> gru4rec_bytes(GRU4Rec(layers=(2,)), n_items=3)
    {'weights': 168, 'optimiser': 336}
    """
    widths = gru4rec.layers
    shapes = [(n_items + 1, widths[-1] + 1)]
    entered = widths[-1]
    if not gru4rec.constrained_embedding:
        entered = gru4rec.embedding or widths[0]
        shapes.append((n_items + 1, entered))
    for inputs, width in zip((entered, *widths), widths, strict=False):
        shapes += [(inputs, 3 * width), (width, 3 * width), (1, 3 * width)]
    weights = FLOAT * sum(rows * columns for rows, columns in shapes)
    return {"weights": weights, "optimiser": 2 * weights}
