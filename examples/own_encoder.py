"""A session encoder of your own, compared with nearnext's.

python examples/own_encoder.py
nearnext compare clicks.parquet --import examples/own_encoder.py --methods sml-recency-ncas,sml-maxpool-ncas
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

import nearnext


@nearnext.register("recency")
@dataclass(frozen=True)
class Recency:
    """The clicks of a session in one sum that fades with their age, as fast in each dimension as training finds."""

    dim: int = 64

    def build(self, input_dim: int) -> nearnext.SessionEncoder:
        return RecencyEncoder(input_dim)


class RecencyEncoder(nearnext.SessionEncoder):
    def __init__(self, dim: int) -> None:
        super().__init__()
        self.fading = nn.Parameter(torch.full((dim,), 0.5))

    def forward(self, clicks: Tensor, mask: Tensor) -> Tensor:
        age = mask.flip(1).cumsum(1).flip(1) - 1  # 0 at the last click: [B, T]
        weights = (-self.fading.abs() * age[:, :, None]).exp() * mask[:, :, None]
        return (weights * clicks).sum(dim=1)


def main() -> None:
    shop = nearnext.SyntheticShop(sessions=1000, items=200, categories=5, seed=7)
    log = nearnext.sessionise(nearnext.read_events(nearnext.generate(shop)))
    methods = ["pop", "sml-maxpool-ncas", "sml-recency-ncas"]
    quick = {name: {"preset": "quick", "epochs": 3} for name in methods if name.startswith("sml")}
    result = nearnext.compare(log, comparison=nearnext.Comparison(methods, options=quick))
    for method in result["methods"]:
        print(f"{method['name']:18} HitRate@20 {method['metrics']['HitRate@20']['value']:.3f}")


if __name__ == "__main__":
    main()
