"""Sessions whose clicks all have weight 0: the linear decay leaves none of a long session's last clicks any."""

from itertools import product

import pytest

from nearnext.data.sessions import Sessions
from nearnext.recommenders.knn_kernel import SIMILARITIES
from nearnext.recommenders.named import make_recommender

LOG = Sessions.of([["a", "b"], ["b", "c"], ["a", "c"], ["a", "b", "c"]])


@pytest.mark.parametrize(
    ("similarity", "weights"),
    list(product(SIMILARITIES, ({"weighting": "linear"}, {"weighting": "linear", "idf_weighting_session": True}))),
)
def test_they_get_a_list_all_the_same(similarity: str, weights: dict[str, object]):
    method = make_recommender("vsknn", {"similarity": similarity, **weights}).fit(LOG)
    # A repeated item weighs as its last click does, and all clicks after the tenth weigh 0.
    for clicks in (["a"] * 11, ["a"] * 30, [*"abc"] * 10, ["?"] * 29 + ["a"]):
        answer = method.recommend([clicks], k=3)[0]
        assert sorted(answer.items) == ["a", "b", "c"]
