"""The k-th smallest of many values, against sorting."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nearnext.topk import kth_smallest


@pytest.mark.parametrize("dtype", [np.int64, np.float32])
@given(st.lists(st.integers(-5, 5) | st.integers(-(2**62), 2**62), min_size=1), st.data())
def test_the_kth_smallest_stands_where_sorting_puts_it(dtype: type, numbers: list[int], data: st.DataObject):
    values = np.array(numbers, dtype=dtype)
    k = data.draw(st.integers(0, len(values) - 1))
    expected = np.sort(values)
    found = kth_smallest(values, k)
    assert found == expected[k] == values[k]
    assert np.array_equal(np.sort(values), expected)
