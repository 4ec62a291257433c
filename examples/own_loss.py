"""A loss of your own, compared with nearnext's.

python examples/own_loss.py
nearnext compare clicks.parquet --import examples/own_loss.py --methods sml-maxpool-squared,sml-maxpool-triplet
"""

from dataclasses import dataclass

import torch
from torch import Tensor

import nearnext


@nearnext.register("squared")
@dataclass(frozen=True)
class SquaredHinge:
    """Every positive of a session against every negative: max(0, d(s, i_p) − d(s, i_n) + margin)², averaged."""

    margin: float = 0.5
    needs_item_distances = False

    def __call__(self, batch: nearnext.LossInput) -> Tensor:
        found = batch.masked()
        pairs = found.positive_mask[:, :, None] & found.negative_mask[:, None, :]  # [B, P, N]
        gaps = found.positive[:, :, None] - found.negative[:, None, :] + self.margin
        squares = torch.where(pairs, gaps.relu().square(), 0.0)
        return found.mean_over_sessions(squares.sum((1, 2)) / pairs.sum((1, 2)).clamp(min=1))


def main() -> None:
    shop = nearnext.SyntheticShop(sessions=1000, items=200, categories=5, seed=7)
    log = nearnext.sessionise(nearnext.read_events(nearnext.generate(shop)))
    methods = ["pop", "sml-maxpool-triplet", "sml-maxpool-squared"]
    quick = {name: {"preset": "quick", "epochs": 3} for name in methods if name.startswith("sml")}
    result = nearnext.compare(log, comparison=nearnext.Comparison(methods, options=quick))
    for method in result["methods"]:
        print(f"{method['name']:20} HitRate@20 {method['metrics']['HitRate@20']['value']:.3f}")


if __name__ == "__main__":
    main()
