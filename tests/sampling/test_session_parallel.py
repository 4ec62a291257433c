"""Session-parallel mini-batches."""

from hypothesis import given, settings
from hypothesis import strategies as st

from nearnext.data.sessions import Sessions
from nearnext.sampling.windows import n_steps, session_parallel

clicks = st.lists(st.lists(st.integers(0, 5), min_size=1, max_size=6), min_size=1, max_size=12)


def test_a_session_takes_the_slot_of_the_one_that_ended():
    sessions = Sessions.of([["a", "b"], ["c", "d", "e"], ["f", "g"], ["h"], ["i", "j"]])
    steps = [
        (
            step.slots.tolist(),
            step.begun.tolist(),
            sessions.vocabulary.decode(step.inputs),
            sessions.vocabulary.decode(step.targets),
        )
        for step in session_parallel(sessions, batch_size=2)
    ]
    assert steps == [
        ([0, 1], [0, 1], ["a", "c"], ["b", "d"]),
        ([0, 1], [0], ["f", "d"], ["g", "e"]),
        ([0], [0], ["i"], ["j"]),
    ]


@settings(deadline=None)
@given(clicks=clicks, batch_size=st.integers(1, 5))
def test_every_slot_reads_whole_sessions_in_their_order(clicks: list[list[int]], batch_size: int):
    sessions = Sessions.of(clicks)
    read: dict[int, list[list[int]]] = {slot: [] for slot in range(batch_size)}
    for step in session_parallel(sessions, batch_size):
        for position, (slot, given_item, target) in enumerate(zip(step.slots, step.inputs, step.targets, strict=True)):
            if position in step.begun:
                read[int(slot)].append([int(given_item)])
            assert read[int(slot)][-1][-1] == given_item
            read[int(slot)][-1].append(int(target))
    expected = [sessions.items[a:b].tolist() for a, b in zip(sessions.offsets, sessions.offsets[1:], strict=False)]
    assert sorted(session for slot in read.values() for session in slot) == sorted(s for s in expected if len(s) > 1)


@settings(deadline=None)
@given(clicks=clicks, batch_size=st.integers(1, 5))
def test_an_epoch_reads_every_pair_once(clicks: list[list[int]], batch_size: int):
    sessions = Sessions.of(clicks)
    n_pairs = sessions.n_events - sessions.n_sessions
    assert sum(len(step.slots) for step in session_parallel(sessions, batch_size)) == n_pairs


def test_steps_end_when_too_few_slots_are_left():
    sessions = Sessions.of([["a", "b", "c", "a"], ["b", "c"]])
    assert [len(step.slots) for step in session_parallel(sessions, batch_size=2, least=2)] == [2]


@settings(deadline=None)
@given(clicks=clicks, batch_size=st.integers(1, 5), least=st.integers(0, 3))
def test_steps_are_counted_without_taking_them(clicks: list[list[int]], batch_size: int, least: int):
    sessions = Sessions.of(clicks)
    assert n_steps(sessions, batch_size, least) == sum(1 for _ in session_parallel(sessions, batch_size, least))
