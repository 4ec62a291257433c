"""Sessions in memory: what is kept, for how long, and how much of it."""

import warnings
from collections.abc import Coroutine
from typing import Any, TypeVar

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nearnext import read_sessions
from nearnext.errors import LogWarning
from nearnext.serving.stores import Counting, MemoryStore

pytestmark = pytest.mark.slow

T = TypeVar("T")


class Clock:
    """Seconds that pass when they are told to."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


def done(step: Coroutine[Any, Any, T]) -> T:
    """The result of a step that waits for nothing, as all of those in memory."""
    try:
        step.send(None)
    except StopIteration as end:
        return end.value
    raise AssertionError("it waited for something")


def memory(ttl: float = 60.0, clicks: int = 5, limit: int = 1 << 20) -> tuple[MemoryStore, Clock]:
    clock = Clock()
    return MemoryStore(ttl, clicks, limit, clock), clock


def test_memory_keeps_the_last_clicks():
    store, _ = memory(clicks=3)
    assert done(store.append("s", ["a", 1])) == ["a", 1]
    assert done(store.append("s", ["b", 2])) == [1, "b", 2]
    assert done(store.events("s")) == [1, "b", 2]
    assert done(store.events("other")) == []


def test_memory_forgets_after_the_last_click_not_the_first():
    store, clock = memory(ttl=60)
    done(store.append("s", ["a"]))
    clock.now = 59
    done(store.append("s", ["b"]))
    clock.now = 118.9
    assert done(store.events("s")) == ["a", "b"]
    clock.now = 119
    assert done(store.events("s")) == []
    assert (len(store), store.size) == (0, 0)


@settings(max_examples=50)
@given(
    st.lists(st.tuples(st.sampled_from("ab"), st.sampled_from(["cart", "view", "purchase"])), min_size=1, max_size=8),
    st.sampled_from([None, ["view"], ["cart", "purchase"]]),
    st.sampled_from([None, False, True]),
)
def test_a_session_has_the_clicks_that_a_fit_reads(
    events: list[tuple[str, str]], used: list[str] | None, collapse_repeats: bool | None
):
    store, _ = memory(clicks=9)
    for item, event in events:
        done(store.append("s", [item], event))
    columns = {"session_id": ["s"] * len(events), "timestamp": [1e9 + at for at in range(len(events))]}
    log = pl.DataFrame(columns | {"item_id": [item for item, _ in events], "event": [event for _, event in events]})
    counting = Counting(used, collapse_repeats)
    if used is not None and not any(event in used for _, event in events):
        assert (counting.clicks(done(store.events("s"))), counting.last_type(done(store.events("s")))) == ([], None)
        return
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", LogWarning)
        sessions = read_sessions(log, events=used, collapse_repeats=collapse_repeats)
    assert counting.clicks(done(store.events("s"))) == sessions.raw(0)
    if sessions.types is not None:
        last = counting._replace(rare=sessions.event_types[1:]).last_type(done(store.events("s")))
        assert last == sessions.event_types[sessions.types[-1]]


def test_clicks_without_a_type_always_count():
    store, _ = memory(clicks=9)
    done(store.append("s", ["a", "a"]))
    done(store.append("s", ["b"], "view"))
    assert Counting(["purchase"]).clicks(done(store.events("s"))) == ["a", "a"]
    assert Counting(["purchase"]).last_type(done(store.events("s"))) is None


def test_event_types_match_without_case_and_blanks():
    store, _ = memory(clicks=9)
    for item, event in (("a", "View"), ("b", " PURCHASE "), ("b", "view")):
        done(store.append("s", [item], event))
    assert Counting.of(["Purchase"], None, ()).clicks(done(store.events("s"))) == ["b"]
    assert Counting.of(None, None, ["Purchase"]).last_type(done(store.events("s"))) == "purchase"


def test_answers_are_copies():
    store, _ = memory()
    done(store.append("s", ["a"])).append("x")
    done(store.events("s")).append("y")
    assert done(store.events("s")) == ["a"]


def test_memory_stays_within_its_limit_and_drops_the_longest_silent_session():
    store, _ = memory(limit=10_000)
    for number in range(1000):
        done(store.append(f"s{number}", ["x" * 100]))
        done(store.append("kept", ["k"]))
        assert store.size <= 10_000
    assert done(store.events("kept")) == ["k"] * 5
    assert done(store.events("s0")) == []
    assert done(store.events("s999")) == ["x" * 100]


def test_the_memory_that_is_counted_is_what_is_used():
    import tracemalloc

    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        store, _ = memory(clicks=100, limit=1 << 30)
        for number in range(1500):
            done(store.append(f"session-{number:010d}", [f"item-{number}-{place}" for place in range(number % 9)]))
        used = tracemalloc.get_traced_memory()[0] - before
    finally:
        tracemalloc.stop()
    assert 0.5 * used < store.size < 2.0 * used


@settings(deadline=None)
@given(
    st.lists(
        st.tuples(
            st.sampled_from(["append", "forget", "wait"]),
            st.sampled_from("abc"),
            st.lists(st.integers(0, 9), max_size=4),
        )
    )
)
def test_memory_is_a_list_of_clicks_per_session(steps: list[tuple[str, str, list[int]]]):
    store, clock = memory(ttl=10, clicks=5)
    expected: dict[str, tuple[float, list[int]]] = {}
    for step, session, items in steps:
        expected = {name: entry for name, entry in expected.items() if entry[0] + 10 > clock.now}
        if step == "append":
            clicks = [*expected.get(session, (0.0, []))[1], *items][-5:]
            expected[session] = (clock.now, clicks)
            assert done(store.append(session, items)) == clicks
        elif step == "forget":
            expected.pop(session, None)
            done(store.forget(session))
        else:
            clock.now += 4
        live = {name for name, entry in expected.items() if entry[0] + 10 > clock.now}
        for name in "abc":
            assert done(store.events(name)) == (expected[name][1] if name in live else [])
    for session in "abc":
        done(store.forget(session))
    assert store.size == 0


def test_memory_keeps_no_more_of_a_session_than_its_bytes():
    store, _ = memory(clicks=1000, limit=1 << 24)
    long = ["x" * 512 + f"{n}" for n in range(1000)]
    kept = done(store.append("s", long))
    assert kept == long[-len(kept) :]
    assert 60 << 10 < sum(len(str(item)) for item in kept) <= 64 << 10
    assert done(store.events("s")) == kept
