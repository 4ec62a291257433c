"""Ids are found by their hashes, and by themselves where hashes are equal."""

import os
import pickle
import subprocess
import sys
from collections.abc import Callable

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nearnext.data import vocabulary
from nearnext.data.vocabulary import IdLookup

IDS = st.one_of(
    st.lists(st.integers(-(2**63), 2**63 - 1), unique=True),
    st.lists(st.text(st.characters(codec="utf-8")), unique=True),
)
BEYOND = [2**64, -(2**70), -1, -2, "", "\ud800", "x", None]
"""Ids of either type that a column may not have, one that is no UTF-8 and two numbers of one hash among them."""


def _hash_of(bits: int) -> Callable[[object], int]:
    return lambda one: hash(one) % 2**bits


@pytest.mark.parametrize("bits", [64, 2, 0])
@given(ids=IDS)
def test_ids_are_found_where_they_are_whatever_their_hashes(bits: int, ids: list[int] | list[str]) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(vocabulary, "HASHED", 3)
        if bits < 64:
            patch.setattr(vocabulary, "hash", _hash_of(bits), raising=False)
        lookup = IdLookup(pl.Series(ids, dtype=pl.String if ids and isinstance(ids[0], str) else pl.Int64))
        known = {one: at for at, one in enumerate(ids, start=1)}
        asked = [*reversed(ids), *BEYOND]
        assert lookup.find(asked).tolist() == [known.get(one, 0) for one in asked]  # pyright: ignore


FIND = "import pickle, sys; print(pickle.load(sys.stdin.buffer).find(['b', 'c', 'z']).tolist())"


def test_a_lookup_works_in_another_process_which_hashes_otherwise() -> None:
    content, found = pickle.dumps(IdLookup(pl.Series(["a", "b", "c"]))), set[bytes]()
    for seed in ("1", "2"):
        environment = {**os.environ, "PYTHONHASHSEED": seed}
        found.add(subprocess.check_output([sys.executable, "-c", FIND], input=content, env=environment))
    assert found == {b"[2, 3, 0]\n"}
