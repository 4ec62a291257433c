"""Sessions on a Redis server: what is kept, for how long, and what is done while the server fails."""

import asyncio
import signal
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any

import pytest
from redis import from_url

from nearnext.errors import ConfigError
from nearnext.serving.stores import StoreDown
from nearnext.serving.stores import redis as stores
from nearnext.serving.stores.redis import RedisStore
from serving_support import PATIENCE, Redis, wait_until

pytestmark = pytest.mark.slow


def on_redis(
    redis: Redis,
    work: Callable[[RedisStore], Awaitable[None]],
    *,
    ttl: float = 60.0,
    clicks: int = 3,
    timeout: float = PATIENCE,
) -> None:
    async def run() -> None:
        store = RedisStore(redis.url, ttl, clicks, timeout)
        try:
            await work(store)
        finally:
            await store.close()
            await asyncio.sleep(0.05)  # connections close in the next turns of the loop

    asyncio.run(run())


def test_redis_keeps_what_memory_keeps(redis: Redis):
    async def work(store: RedisStore) -> None:
        assert await store.append("s", ["a", 1]) == ["a", 1]
        assert await store.append("s", ["1", "ключ\0\n"]) == [1, "1", "ключ\0\n"]
        assert await store.events("s") == [1, "1", "ключ\0\n"]
        assert await store.events("other") == []
        await store.forget("s")
        assert await store.events("s") == []
        assert store.state == "up"

    on_redis(redis, work)


def test_event_types_come_back_from_redis(redis: Redis):
    async def work(store: RedisStore) -> None:
        assert await store.append("s", ["a", 1], "view") == [("a", "view"), (1, "view")]
        assert await store.append("s", ["a"]) == await store.events("s") == [("a", "view"), (1, "view"), "a"]

    on_redis(redis, work, clicks=9)


def test_redis_forgets_after_the_last_click(redis: Redis):
    async def work(store: RedisStore) -> None:
        client: Any = from_url(redis.url)
        await store.append("s", ["a"])
        (key,) = client.keys()
        assert 30_000 < client.pttl(key) <= 60_000
        client.pexpire(key, 20_000)
        assert await store.events("s") == ["a"]
        assert client.pttl(key) <= 20_000, "reading keeps no session"
        assert await store.append("s", ["b"]) == ["a", "b"]
        assert client.pttl(key) > 30_000, "a click keeps it"
        client.pexpire(key, 1)
        wait_until(lambda: not client.exists(key))
        assert await store.events("s") == []
        client.close()

    on_redis(redis, work, ttl=60.0)


def test_redis_keeps_and_reads_no_more_of_a_session_than_its_bytes(redis: Redis):
    async def work(store: RedisStore) -> None:
        long: list[int | str] = [f"{n}" + "é" * 500 for n in range(1000)]
        kept = await store.append("s", long)
        assert kept == long[-len(kept) :]
        client: Any = from_url(redis.url)
        (key,) = client.keys()
        assert client.llen(key) == len(kept) < 100
        assert await store.append("s", ["a"]) == [*kept, "a"]
        # What another program, or an earlier version, left there.
        client.rpush(key, *(f'"{n}{"x" * 2000}"' for n in range(2000)), '"a"', "7")
        assert await store.events("s") == []
        client.rpush(key, *(f'"{n}{"x" * 500}"' for n in range(5000)), '"a"', "7")
        read = await store.events("s")
        assert read[-2:] == ["a", 7]
        assert sum(len(str(item)) for item in read) <= 64 << 10
        client.close()

    on_redis(redis, work, clicks=9000)


@pytest.mark.parametrize("step", ["append", "clicks", "forget"])
def test_a_session_that_is_none_is_reset_alone(redis: Redis, step: str, caplog: pytest.LogCaptureFixture):
    odd: dict[str, Callable[[Any, bytes], object]] = {
        "text": lambda client, key: client.set(key, "x"),
        "hash": lambda client, key: client.hset(key, "a", "b"),
        "set": lambda client, key: client.sadd(key, "a"),
        "junk": lambda client, key: client.rpush(key, "{", b"\xff", "[]"),
        "null": lambda client, key: client.rpush(key, "null"),
        "float": lambda client, key: client.rpush(key, "1.5"),
        "huge": lambda client, key: client.rpush(key, "9" * 40),
    }

    async def work(store: RedisStore) -> None:
        client: Any = from_url(redis.url)
        await store.append("good", ["a"])
        for name, make in odd.items():
            make(client, f"nearnext:session:{name}".encode())
            if step == "append":
                assert await store.append(name, ["b"]) == ["b"]
            elif step == "clicks":
                assert await store.events(name) == []
            else:
                await store.forget(name)
            assert await store.append(name, ["c"]) == (["b", "c"] if step == "append" else ["c"])
            assert (store.state, await store.events("good")) == ("up", ["a"])
        client.close()

    on_redis(redis, work)
    reasons = [record.message for record in caplog.records if "reset" in record.message]
    assert len(reasons) == (0 if step == "forget" else len(odd))
    assert not any(name in reason for reason in reasons for name in ("hash", "junk"))


def test_redis_appends_at_the_same_time_lose_nothing(redis: Redis):
    async def work(store: RedisStore) -> None:
        other = RedisStore(redis.url, 60, 1000, PATIENCE)
        await asyncio.gather(*(one.append("s", [number]) for number in range(200) for one in (store, other)))
        assert sorted(await store.events("s"), key=str) == sorted([*range(200), *range(200)], key=str)
        await other.close()

    on_redis(redis, work, clicks=1000)


def test_a_dead_redis_is_reported_left_alone_and_found_again(redis: Redis):
    async def work(store: RedisStore) -> None:
        await store.append("s", ["a"])
        redis.kill()
        for _ in range(3):
            with pytest.raises(StoreDown):
                await store.append("s", ["b"])
        assert store.state == "down"
        redis.start()
        while store.state == "down":  # it is left alone for half a second
            with suppress(StoreDown):
                assert await store.append("s", ["c"]) == ["c"]
            await asyncio.sleep(0.05)
        assert store.state == "up"

    on_redis(redis, work)


def test_a_redis_without_room_is_quoted_and_still_read(redis: Redis, caplog: pytest.LogCaptureFixture):
    async def work(store: RedisStore) -> None:
        await store.append("s", ["a"])
        client: Any = from_url(redis.url)
        client.config_set("maxmemory", 1)
        for _ in range(3):
            with pytest.raises(StoreDown, match="refuses it: command not allowed when used memory"):
                await store.append("s", ["b"])
            await store.check()
            assert (store.state, await store.events("s")) == ("up", ["a"])
        await store.forget("s")
        client.config_set("maxmemory", 0)
        assert await store.append("s", ["c"]) == ["c"]
        client.close()

    on_redis(redis, work)
    assert [record.levelname for record in caplog.records] == ["WARNING"], "once"
    assert "command not allowed when used memory" in caplog.text


def test_a_silent_redis_counts_as_down_and_is_not_asked_again_at_once(redis: Redis, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(stores, "PAUSE", PATIENCE)
    asked: list[object] = []
    exchange = RedisStore._exchange  # pyright: ignore[reportPrivateUsage]

    async def counted(self: RedisStore, taken: Any) -> None:
        asked.append(taken)
        await exchange(self, taken)

    monkeypatch.setattr(RedisStore, "_exchange", counted)

    async def work(store: RedisStore) -> None:
        assert redis.process
        redis.process.send_signal(signal.SIGSTOP)
        try:
            for _ in range(2):
                with pytest.raises(StoreDown):
                    await store.events("s")
            assert len(asked) == 1, "the first reading"
        finally:
            redis.process.send_signal(signal.SIGCONT)

    on_redis(redis, work, timeout=1.0)


@pytest.mark.parametrize("url", ["redis://localhost:port", "redis://localhost/zero", "redis://[::1"])
def test_urls_that_cannot_be_read_are_refused(url: str):
    with pytest.raises(ConfigError, match="cannot be read"):
        RedisStore(url, 60, 10, 0.1)
