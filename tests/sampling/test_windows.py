"""Sliding windows and prefixes by hand."""

import numpy as np

from nearnext.data.sessions import Sessions
from nearnext.sampling import EveryPrefix, PositiveNegative, Sampler, SlidingWindow

# Indices are in order of first appearance: a 1, b 2, c 3, d 4, e 5; f 6, g 7; h 8.
LOG = Sessions.of([["a", "b", "c", "d", "e"], ["f", "g"], ["h"]])


def examples(sampler: Sampler) -> list[tuple[list[int], list[int]]]:
    return sorted(
        (prefix, positives)
        for batch in sampler.epoch(LOG, 0, 7, 4)
        for prefix, positives in zip(batch.prefixes.tolist(), batch.positives.tolist(), strict=True)
    )


def test_windows_are_full_where_the_session_allows_and_padded_where_not():
    assert examples(SlidingWindow(window=3, n_positives=2)) == [
        ([1, 2, 3], [4, 5]),
        ([2, 3, 4], [5, 0]),
        ([6, 0, 0], [7, 0]),
    ]


def test_a_window_longer_than_every_session_gives_each_once():
    assert examples(SlidingWindow(window=6, n_positives=1)) == [
        ([1, 2, 3, 4, 0, 0], [5]),
        ([6, 0, 0, 0, 0, 0], [7]),
    ]


def test_every_prefix_keeps_its_last_clicks():
    assert examples(EveryPrefix(max_length=2, n_positives=1)) == [
        ([1, 0], [2]),
        ([1, 2], [3]),
        ([2, 3], [4]),
        ([3, 4], [5]),
        ([6, 0], [7]),
    ]


def test_every_split_of_a_session_is_equally_likely():
    epochs = 3000
    lengths = np.zeros(6)
    for epoch in range(epochs):
        (batch,) = PositiveNegative().epoch(LOG, epoch, 7, 4)
        lengths[np.count_nonzero(batch.prefixes[batch.sessions == 0])] += 1
    assert lengths[[0, 5]].tolist() == [0, 0]
    assert np.all(np.abs(lengths[1:5] - epochs / 4) < 5 * np.sqrt(epochs * 1 / 4 * 3 / 4))


def test_every_order_of_sessions_is_equally_likely():
    log = Sessions.of([["a", "b"], ["c", "d"], ["e", "f"]])
    orders: dict[tuple[int, ...], int] = {}
    for epoch in range(1200):
        order = tuple(int(batch.sessions[0]) for batch in PositiveNegative().epoch(log, epoch, 7, 1))
        orders[order] = orders.get(order, 0) + 1
    assert len(orders) == 6
    assert all(abs(count - 200) < 5 * np.sqrt(1200 * 1 / 6 * 5 / 6) for count in orders.values())
