"""A custom metric, compared with nearnext's own.

python examples/own_metric.py
nearnext compare clicks.parquet --import examples/own_metric.py --metrics NewItems,NDCG
"""

from dataclasses import dataclass

import numpy as np

import nearnext
from nearnext.evaluation.case_metric import Lists
from nearnext.types import FloatArray


@nearnext.register("NewItems")
@dataclass(frozen=True)
class NewItems(nearnext.CaseMetric):
    """Share of a list that the session has not clicked yet."""

    def values(self, lists: Lists) -> FloatArray:
        given = lists.cases.prefixes
        clicked = [given.items[start:end] for start, end in zip(given.starts, given.ends, strict=True)]
        new = [~np.isin(row, seen) for row, seen in zip(lists.items, clicked, strict=True)]
        return lists.mean(np.array(new, dtype=np.float64))


def main() -> None:
    shop = nearnext.SyntheticShop(sessions=2000, items=300, categories=5, seed=7)
    log = nearnext.sessionise(nearnext.read_events(nearnext.generate(shop)))
    comparison = nearnext.Comparison(["pop", "spop", "vsknn"], metrics=["NewItems"])
    for method in nearnext.compare(log, comparison=comparison)["methods"]:
        print(f"{method['name']:20} NewItems@20 {method['metrics']['NewItems@20']['value']:.3f}")


if __name__ == "__main__":
    main()
