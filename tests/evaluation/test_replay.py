"""A replay: what a service recommends is compared, list by list, with what was evaluated."""

import asyncio
import json
import threading
from collections import Counter
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from aiohttp import web

from nearnext.artifact import save_artifact
from nearnext.data.sessions import Sessions
from nearnext.errors import ConfigError, DataError
from nearnext.evaluation.client import Click, Load, Target, send_clicks
from nearnext.evaluation.protocol import evaluate
from nearnext.evaluation.replay import Latency, replay
from nearnext.recommenders.base import Recommender
from nearnext.recommenders.named import make_recommender
from serving_support import LOG, PATIENCE, started
from training_support import seeded

pytestmark = pytest.mark.slow

Command = Callable[..., Any]

TEST = Sessions.of(
    [[f"i{(s * 5 + j * 3) % 25}" for j in range(1 + s % 6)] for s in range(30)],
    starts=[2e6 + s * 1.5 for s in range(30)],
)
"""Overlapping sessions after the end of training; some of one click, some with items that training lacks."""

SHOWN = {"k": 5, "exclude_seen": False, "consent": True}


class Stub:
    """A service that keeps to the rules, except for what a test makes it do."""

    def __init__(self, recommender: Recommender) -> None:
        self.recommender = recommender
        self.sessions: dict[str, list[Any]] = {}
        self.bodies: list[dict[str, Any]] = []
        self.under_way: Counter[str] = Counter()
        self.most_under_way = 0
        self.most_of_one_session = 0
        self.status: Callable[[int], int] = lambda _number: 200
        self.delay: Callable[[int], float] = lambda _number: 0.0
        self.together = 1
        self._arrived = asyncio.Event()
        self.stored = True
        self.key: str | None = None
        self.url = ""

    async def model(self, request: web.Request) -> web.Response:
        known = self.key is None or request.headers.get("x-api-key") == self.key
        return web.json_response({}, status=200 if known else 401)

    async def events(self, request: web.Request) -> web.Response:
        body = json.loads(await request.read())
        name, number = request.match_info["session"], len(self.bodies)
        self.bodies.append(body)
        self.under_way[name] += 1
        self.most_under_way = max(self.most_under_way, self.under_way.total())
        self.most_of_one_session = max(self.most_of_one_session, self.under_way[name])
        if number + 1 >= self.together:
            self._arrived.set()
        await self._arrived.wait()  # the first requests are under way at once, however slow the client
        await asyncio.sleep(self.delay(number))
        self.under_way[name] -= 1
        clicks = self.sessions.setdefault(name, [])
        clicks += body["items"]
        if self.status(number) != 200:
            return web.json_response({}, status=self.status(number))
        found = self.recommender.recommend([clicks], body["k"], exclude_seen=body["exclude_seen"], time=body["time"])[0]
        listed = {"items": found.items, "scores": found.scores, "own": found.own, "model": "stub-1"}
        reason = None if self.stored else "the session store does not answer"
        return web.json_response({"stored": self.stored, "reason": reason, "recommendations": listed})


@contextmanager
def serving(stub: Stub) -> Generator[Target]:
    """The stub on a free port, in a thread of its own."""
    loop, ready, over = asyncio.new_event_loop(), threading.Event(), asyncio.Event()

    async def run() -> None:
        app = web.Application()
        app.router.add_get("/v1/model", stub.model)
        app.router.add_post("/v1/sessions/{session}/events", stub.events)
        runner = web.AppRunner(app, shutdown_timeout=0.1)  # nobody waits for the answers that are late
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        stub.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
        ready.set()
        await over.wait()
        await runner.cleanup()

    thread = threading.Thread(target=lambda: loop.run_until_complete(run()))
    thread.start()
    try:
        assert ready.wait(PATIENCE)
        yield Target(stub.url, ("no-key-of-it-0000", stub.key) if stub.key else ())
    finally:
        loop.call_soon_threadsafe(over.set)
        thread.join(PATIENCE)
        loop.close()


@pytest.fixture(scope="module")
def sknn() -> Recommender:
    model = make_recommender("sknn").fit(LOG)
    model.recommend([["i1"]])  # what is compiled is not compiled while a client waits
    return model


@pytest.mark.parametrize("exclude_seen", [False, True])
def test_an_honest_service_is_equal_in_every_list_and_figure(sknn: Recommender, exclude_seen: bool):
    stub = Stub(sknn)
    with serving(stub) as target:
        result = replay(sknn, TEST, target, Load(), ks=(5, 20), exclude_seen=exclude_seen)
    assert result.equal
    assert (result.differing, result.errors) == (0, Counter())
    assert result.served.values() == pytest.approx(result.offline.values(), rel=1e-5)
    assert result.clicks == len(stub.bodies) == sum(s % 6 + 1 for s in range(30) if s % 6)
    assert result.offline.n_cases == sum(s % 6 for s in range(30))
    assert result.models == {"stub-1": result.offline.n_cases}
    if not exclude_seen:
        assert result.offline.values() == pytest.approx(evaluate(sknn, TEST, (5, 20)).values(), rel=1e-5)


def test_clicks_come_in_the_order_of_their_times_with_raw_ids_under_names_never_used_before(sknn: Recommender):
    stub = Stub(sknn)
    with serving(stub) as target:
        replay(sknn, TEST, target, Load(concurrency=1))
        first = set(stub.sessions)
        replay(sknn, TEST, target, Load(concurrency=1))
    times = [body["time"] for body in stub.bodies[: len(stub.bodies) // 2]]
    assert times == sorted(times)
    assert times[0] == 2_000_001.5
    played = sorted(stub.sessions[name] for name in first)
    assert played == sorted(TEST.raw(s) for s in range(30) if s % 6)
    assert len(stub.sessions) == 2 * len(first)
    assert {body["consent"] for body in stub.bodies} == {True}


def test_a_service_with_another_model_is_found_out(sknn: Recommender):
    with serving(Stub(make_recommender("pop").fit(LOG))) as target:
        result = replay(sknn, TEST, target, Load())
    assert not result.equal
    assert result.differing > 0
    assert not result.errors
    assert result.served.values() != result.offline.values()


def test_lists_that_differ_in_order_alone_are_found_out_whatever_the_figures(sknn: Recommender):
    class Swapped(Stub):
        async def events(self, request: web.Request) -> web.Response:
            answer = await super().events(request)
            assert isinstance(answer.body, bytes)
            body = json.loads(answer.body)
            items = body["recommendations"]["items"]
            items[-2:] = items[:-3:-1]
            return web.json_response(body)

    one_case = Sessions.of([["i0", "never seen"]], starts=[2e6])
    with serving(Swapped(sknn)) as target:
        result = replay(sknn, one_case, target, Load(), ks=(20,))
    figures = {name: (result.served.values()[name], value) for name, value in result.offline.values().items()}
    assert figures["HitRate@20"] == (0.0, 0.0)
    assert result.differing == 1
    assert not result.equal


def test_failed_requests_are_counted_by_kind_and_are_no_latencies(sknn: Recommender):
    stub = Stub(sknn)
    stub.status = lambda number: 503 if number % 5 == 0 else 200
    with serving(stub) as target:
        result = replay(sknn, TEST, target, Load())
        failed = -(-result.clicks // 5)
        answers = send_clicks([Click("s", "i1", 2e6)] * 5, target, Load(), SHOWN)
    assert result.errors == {"status 503": failed}
    assert not result.equal
    assert int(np.isnan(answers.latencies).sum()) == answers.errors.total() == 1
    assert [body is None for body in answers.bodies].count(True) == 1


def test_an_answer_that_takes_too_long_is_an_error(sknn: Recommender):
    stub = Stub(sknn)
    stub.delay = lambda number: PATIENCE if number == 0 else 0.0
    clicks = [Click("a", "i1", 2e6), Click("b", "i1", 2e6)]
    with serving(stub) as target:
        answers = send_clicks(clicks, Target(target.url, timeout=3), Load(), SHOWN)
    assert answers.errors["timeout"] >= 1
    assert [body is None for body in answers.bodies].count(True) == answers.errors.total()


def test_clicks_that_were_not_stored_are_errors(sknn: Recommender):
    stub = Stub(sknn)
    stub.stored = False
    with serving(stub) as target:
        result = replay(sknn, TEST, target, Load())
    assert result.errors == {"not stored: the session store does not answer": result.offline.n_cases}


def test_clicks_of_one_session_wait_for_one_another_and_others_do_not(sknn: Recommender):
    stub = Stub(sknn)
    stub.together = 4
    clicks = [Click(f"s{n % 4}", f"i{n}", 2e6 + n) for n in range(24)]
    with serving(stub) as target:
        send_clicks(clicks, target, Load(concurrency=12), SHOWN)
    assert stub.most_of_one_session == 1
    assert stub.most_under_way == 4
    assert stub.sessions["s1"] == [f"i{n}" for n in range(1, 24, 4)]


def test_no_more_requests_are_under_way_than_asked_for(sknn: Recommender):
    stub = Stub(sknn)
    stub.together = 3
    with serving(stub) as target:
        send_clicks([Click(f"s{n}", "i1", 2e6) for n in range(12)], target, Load(concurrency=3), SHOWN)
    assert stub.most_under_way == 3


def test_latency_counts_from_when_a_click_was_due_not_from_when_it_could_be_sent(sknn: Recommender):
    stub = Stub(sknn)
    stub.delay = lambda number: 0.5 if number == 0 else 0.0
    clicks = [Click(f"s{n}", "i1", 2e6) for n in range(3)]
    with serving(stub) as target:
        answers = send_clicks(clicks, target, Load(rate=1000, concurrency=1), SHOWN)
        closed = send_clicks(clicks, target, Load(concurrency=1), SHOWN)
    assert answers.latencies[1] > 0.49
    assert answers.waits[1] > 0.49
    assert closed.waits.tolist() == [0.0, 0.0, 0.0]


def test_percentiles_are_of_answered_requests_in_milliseconds():
    latency = Latency.of(np.array([0.001, np.nan, 0.003, 0.002]))
    assert (latency.p50, latency.max) == (2.0, 3.0)
    assert latency.p90 == pytest.approx(2.8)
    assert np.isnan(Latency.of(np.array([np.nan])).p50)


def test_a_key_is_sent_and_a_wrong_one_is_one_clear_line(sknn: Recommender):
    stub = Stub(sknn)
    stub.key = "0123456789abcdef"
    with serving(stub) as target:
        assert replay(sknn, TEST, target, Load()).equal
        with pytest.raises(ConfigError, match="refuses the API key"):
            replay(sknn, TEST, Target(target.url, ("another",)), Load())
    assert "0123456789abcdef" not in repr(target)


def test_what_is_no_service_is_one_clear_line(sknn: Recommender):
    with serving(Stub(sknn)) as target:
        with pytest.raises(ConfigError, match="status 404; is it a nearnext service"):
            replay(sknn, TEST, Target(target.url + "/elsewhere"), Load())
        with pytest.raises(DataError, match="no session of 2 or more clicks"):
            replay(sknn, Sessions.of([["i1"]]), target, Load())
    with pytest.raises(ConfigError, match="no service answers at"):
        replay(sknn, TEST, target, Load())
    for url in ("localhost:8000", "ftp://there", "http://"):
        with pytest.raises(ConfigError, match="expected the URL of a service"):
            Target(url)
    with pytest.raises(ConfigError, match="concurrency"):
        Load(concurrency=0)
    with pytest.raises(ConfigError, match="rate"):
        Load(rate=-1)


def test_an_answer_of_another_kind_is_one_clear_line(sknn: Recommender):
    class Other(Stub):
        async def events(self, request: web.Request) -> web.Response:
            return web.json_response({"hello": request.path})

    with serving(Other(sknn)) as target, pytest.raises(DataError, match="an answer holds no recommendations"):
        replay(sknn, TEST, target, Load())


@pytest.mark.parametrize("method", ["vstan", "sml-maxpool-ncas"])
def test_the_real_service_recommends_what_was_evaluated(method: str, nearnext: Command, tmp_path: Path):
    options: dict[str, Any] = {"dim": 8, "epochs": 1, "device": "cpu"} if method.startswith("sml") else {}
    folder = save_artifact(make_recommender(method, seeded(method, options)).fit(LOG), tmp_path / "model", {})
    log = tmp_path / "log.csv"
    rows = [
        f"s{session},{item},{TEST.times[TEST.offsets[session] + at] / 1e6:.6f}"
        for session in range(30)
        for at, item in enumerate(TEST.raw(session))
    ]
    log.write_text("session_id,item_id,timestamp\n" + "\n".join(rows) + "\n", "utf-8")
    with started(folder, folder=tmp_path) as running:
        done = nearnext("replay", folder, log, "--url", running.url, "--k", "3,5", "--json", tmp_path / "r.json")
        assert done.code == 0, done.out + done.err
        assert "equal: all 75 served lists are those that were evaluated" in done.out
        result = json.loads((tmp_path / "r.json").read_text("utf-8"))
        assert (result["equal"], result["lists"], result["clicks"]) == (True, 75, 100)
        assert result["served"] == pytest.approx(result["offline"], rel=1e-5)
        other = save_artifact(make_recommender("pop").fit(LOG), tmp_path / "other", {})
        done = nearnext("replay", other, log, "--url", running.url, "--rate", 2000)
        assert done.code == 1
        assert "NOT equal: " in done.out
    done = nearnext("replay", folder, log, "--url", running.url)
    assert (done.code, done.err.count("\n")) == (2, 1)
