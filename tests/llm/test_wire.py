"""What every dialect shares: deadlines, bounds, hanging up, and what is refused before a call."""

import asyncio
import gzip
import random
from collections.abc import AsyncIterator
from datetime import timedelta

import httpx
import pytest

from bot.llm.connections import IDLE
from bot.llm.deadlines import Alarm, Watch
from bot.llm.openai import OpenAIModel
from bot.llm.protocol import (
    Finish,
    FinishReason,
    LLMRateLimited,
    LLMRejected,
    LLMTimeout,
    LLMUnavailable,
    StreamBroken,
    Text,
)
from bot.llm.router import ModelRouter
from bot.llm.wire import MAX_BYTES
from tests.fakes.clock import FakeClock
from tests.fakes.model_server import (
    CUT,
    STALL,
    ModelServer,
    chunk,
    data,
    drop,
    hang,
    openai_stream,
    refuse,
    say,
    send,
)
from tests.llm.asking import HELLO, Asked, ask, finish_of, text_of, until
from tests.llm.openai_model import HEAD, STOP, failure, model_at
from tests.uncollected import uncollected

pytestmark = pytest.mark.anyio


@pytest.fixture
async def server() -> AsyncIterator[ModelServer]:
    async with ModelServer() as server:
        yield server


async def test_redirects_are_not_followed(server: ModelServer) -> None:
    error = await failure(server, refuse(307, {}, {"location": f"{server.openai_url}/elsewhere"}))
    assert type(error) is LLMRejected
    assert len(server.requests) == 1


async def test_a_wait_that_the_server_asks_for_is_told(server: ModelServer) -> None:
    error = await failure(server, refuse(429, {"error": {"code": "rate_limit_exceeded"}}, {"retry-after": "2.5"}))
    assert isinstance(error, LLMRateLimited)
    assert error.retry_after == timedelta(seconds=2.5)


async def test_a_server_that_is_not_there_is_unavailable(server: ModelServer) -> None:
    model = OpenAIModel(base_url="http://127.0.0.1:9/v1", model="m", clock=FakeClock())
    with pytest.raises(LLMUnavailable, match="LLM_BASE_URL"):
        await ask(model)
    await model.aclose()


async def test_a_connection_that_is_dropped_is_unavailable(server: ModelServer) -> None:
    assert type(await failure(server, drop)) is LLMUnavailable


async def test_an_endless_answer_is_cut_off(server: ModelServer) -> None:
    megabyte = b"x" * 1024 * 1024
    error = await failure(server, send(HEAD, *[megabyte] * (MAX_BYTES // len(megabyte) + 1)))
    assert type(error) is StreamBroken


async def test_a_compressed_answer_is_not_unpacked(server: ModelServer) -> None:
    bomb = gzip.compress(b"x" * 10_000_000)
    error = await failure(server, send(bomb, headers={"content-encoding": "gzip"}))
    assert type(error) is StreamBroken
    assert type(await failure(server, send(bomb, status=500, headers={"content-encoding": "gzip"}))) is LLMUnavailable


async def test_the_body_of_a_refusal_is_bounded_and_may_break(server: ModelServer) -> None:
    assert type(await failure(server, send(b"x" * 1_000_000, STALL, status=401))) is LLMRejected
    assert type(await failure(server, send(b"x", CUT, status=401))) is LLMRejected


# Time


async def test_no_connection_ends_at_its_deadline(server: ModelServer) -> None:
    clock = FakeClock()  # the server never answers the handshake
    model = OpenAIModel(base_url=server.url.replace("http:", "https:"), model="m", clock=clock)
    asked = Asked(model)
    await until(lambda: server.connections, "the connection")
    await clock.advance(timedelta(seconds=4.9))
    assert not asked.task.done()
    await clock.advance(timedelta(seconds=0.2))
    with pytest.raises(LLMTimeout, match="no connection for 5 s") as slow:
        await asked.task
    assert not slow.value.sent
    await model.aclose()


async def test_no_first_event_ends_at_its_deadline(server: ModelServer) -> None:
    for behaviour in (hang, send(STALL)):
        clock = FakeClock()
        server.plan(behaviour)
        async with model_at(server, clock) as model:
            asked = Asked(model)
            await until(lambda: server.requests, "the request")
            await asyncio.sleep(0.02)
            await clock.advance(timedelta(seconds=29))
            assert not asked.task.done()
            await clock.advance(timedelta(seconds=1.1))
            with pytest.raises(LLMTimeout, match="no answer for 30 s") as slow:
                await asked.task
            assert slow.value.sent
        await until(lambda: server.left, "the hang-up")
        server.requests.clear()
        server.left.clear()


async def test_a_stall_ends_at_its_deadline_and_what_was_said_is_out(server: ModelServer) -> None:
    clock = FakeClock()
    server.plan(say("Hel", "lo", then="stall"))
    async with model_at(server, clock) as model:
        asked = Asked(model)
        await until(lambda: asked.text == "Hello")
        await clock.advance(timedelta(seconds=19))
        assert not asked.task.done()
        await clock.advance(timedelta(seconds=1.1))
        with pytest.raises(LLMTimeout, match="silence for 20 s"):
            await asked.task
    await until(lambda: server.left, "the hang-up")


async def test_half_an_event_is_no_sign_of_life(server: ModelServer) -> None:
    clock = FakeClock()
    gates = [asyncio.Event() for _ in range(3)]
    drip = [part for gate in gates for part in (gate, b"x")]
    server.plan(send(data(chunk("Hi")), b"data: ", *drip, STALL))
    async with model_at(server, clock) as model:
        asked = Asked(model)
        await until(lambda: asked.text == "Hi")
        for gate in gates:
            await clock.advance(timedelta(seconds=6))
            gate.set()
            await asyncio.sleep(0.02)
            assert not asked.task.done()
        await clock.advance(timedelta(seconds=2.1))
        with pytest.raises(LLMTimeout, match="silence"):
            await asked.task


@pytest.mark.parametrize("sign", [": keep-alive\n\n", data(chunk(reasoning="hm"))])
async def test_signs_of_life_keep_it_going_until_the_total_deadline(server: ModelServer, sign: str) -> None:
    clock = FakeClock()
    gates = [asyncio.Event() for _ in range(12)]
    server.plan(send(*[part for gate in gates for part in (gate, sign)], STALL))
    async with model_at(server, clock) as model:
        asked = Asked(model)
        await until(lambda: server.requests)
        for seen, gate in enumerate(gates, start=1):
            gate.set()
            await until(lambda: len(asked.deltas) == seen, "the sign of life")  # noqa: B023
            assert not asked.task.done()
            await clock.advance(timedelta(seconds=10))
        with pytest.raises(LLMTimeout, match="120 s"):
            await asked.task
    assert asked.text == ""
    await until(lambda: server.left, "the hang-up")


async def test_a_reader_that_takes_its_time_is_no_stall(server: ModelServer) -> None:
    clock = FakeClock()
    server.plan(say(*"abcdefgh"))
    async with model_at(server, clock) as model, model.stream(HELLO) as deltas:
        seen = []
        async for delta in deltas:
            seen.append(delta)
            await clock.advance(timedelta(seconds=7))
    assert text_of(seen) == "abcdefgh"


async def test_a_stream_left_open_after_its_end_is_not_waited_for_long(server: ModelServer) -> None:
    clock = FakeClock()
    server.plan(send(data(chunk("Hi")), STOP, STALL))
    async with model_at(server, clock) as model:
        asked = Asked(model)
        await until(lambda: len(asked.deltas) == 2)
        await clock.advance(timedelta(seconds=2.1))
        await clock.advance(timedelta(seconds=1))
        await asked.task
    assert (text_of(asked.deltas), finish_of(asked.deltas).reason) == ("Hi", FinishReason.STOP)


async def test_the_finish_does_not_wait_for_the_connection_to_close(server: ModelServer) -> None:
    clock = FakeClock()
    server.plan(send(*openai_stream("Hi"), STALL))
    async with model_at(server, clock) as model:
        asked = Asked(model)
        await until(lambda: asked.text == "Hi")
        await until(lambda: finish_of(asked.deltas))
        await clock.advance(timedelta(seconds=1))
        await asked.task


# Leaving


async def test_leaving_the_stream_hangs_up(server: ModelServer) -> None:
    server.plan(say("Hel", then="stall"))
    async with model_at(server) as model, model.stream(HELLO) as deltas:
        async for delta in deltas:
            if isinstance(delta, Text):
                break
        assert not server.left
    await until(lambda: server.left, "the hang-up")


async def test_cancelling_the_reader_hangs_up(server: ModelServer) -> None:
    for behaviour in (say("Hel", then="stall"), hang):
        server.plan(behaviour)
        async with model_at(server) as model:
            asked = Asked(model)
            await until(lambda: server.requests)
            await asyncio.sleep(0.02)
            asked.task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await asked.task
            await until(lambda: server.left, "the hang-up")
        server.requests.clear()
        server.left.clear()


async def test_closing_twice_is_fine_and_a_closed_model_says_so(server: ModelServer) -> None:
    async with model_at(server) as model:
        await model.aclose()
        await model.aclose()
        with pytest.raises(LLMUnavailable, match="closed"):
            await ask(model)


async def test_calls_that_end_well_share_a_connection(server: ModelServer) -> None:
    server.plan(say("Hi"), refuse(500, {}), say("Hi"), send(data(chunk("Hi")), STOP))
    async with model_at(server) as model:
        await ask(model)
        with pytest.raises(LLMUnavailable):
            await ask(model)
        for _ in range(3):
            await ask(model)
    assert (len(server.requests), server.connections) == (5, 1)


async def test_connections_are_used_again_however_many_answers_come_at_once(server: ModelServer) -> None:
    """A new one costs a handshake, with TLS too: no call of the second round needs that. (httpx's own pool opens a hundred
    more, and takes five seconds of processor time.)"""
    server.always(say("Hi", pauses=[1.0]))  # all of them are under way before the first one ends
    async with model_at(server) as model:
        for _ in range(2):
            await asyncio.gather(*(ask(model) for _ in range(200)))
    assert (len(server.requests), server.connections) == (400, 200)


async def test_a_connection_is_used_again_by_a_caller_who_reads_no_further_than_the_finish(server: ModelServer) -> None:
    async with model_at(server) as model:
        for _ in range(3):
            async with model.stream(HELLO) as deltas:
                async for delta in deltas:
                    if isinstance(delta, Finish):
                        break
    assert (len(server.requests), server.connections) == (3, 1)


async def test_a_connection_that_nobody_used_for_a_while_is_closed(server: ModelServer) -> None:
    clock = FakeClock()
    server.always(say("Hi", pauses=[0.1]))
    async with model_at(server, clock) as model:
        await asyncio.gather(*(ask(model) for _ in range(5)))
        await clock.advance(IDLE - timedelta(seconds=1))
        await ask(model)
        await clock.advance(timedelta(seconds=1))
        await ask(model)
        assert server.connections == 5
        await until(lambda: server.open_connections == 1, "the four others being closed")


async def test_a_call_that_is_over_is_out_of_memory_at_once(server: ModelServer) -> None:
    async with model_at(server) as model:
        await ask(model)
        with uncollected() as left:
            await ask(model)
            await until(lambda: not left(httpx.Response, httpx.Request, Watch, Alarm), "all of it being gone")


async def test_calls_that_failed_are_out_of_memory_once_another_was_answered(server: ModelServer) -> None:
    server.plan(refuse(500, {}), drop, say("Hi"))
    async with model_at(server) as model:
        clock = FakeClock()
        with uncollected() as left:
            asked = Asked(ModelRouter([model], clock, random.Random(7)))
            while not asked.task.done():
                await clock.advance(timedelta(seconds=1))
                await asyncio.sleep(0.005)
            assert text_of(asked.deltas) == "Hi"
            del asked
            await until(lambda: not left(httpx.Response, httpx.Request, Watch, Alarm), "all of it being gone")


async def test_no_task_stays_behind(server: ModelServer) -> None:
    before = asyncio.all_tasks()
    async with model_at(server) as model:
        for _ in range(3):
            await ask(model)
    await until(lambda: asyncio.all_tasks() <= before, "quiet")


# Configuration


@pytest.mark.parametrize(
    "url",
    ["", "localhost:8080/v1", "ftp://host/v1", "https://user:sk-secret@host/v1", "https://host/v1?key=sk-secret", "http://"],
)
def test_a_bad_address_is_refused_at_once_and_not_quoted(url: str) -> None:
    with pytest.raises(ValueError, match="base URL") as caught:
        OpenAIModel(base_url=url, model="m", clock=FakeClock())
    assert "sk-secret" not in str(caught.value)


@pytest.mark.parametrize("key", ["sk-secret\n", "sk-secrét", " sk-secret\r\nx-other: 1", "sk-secret\0"])
def test_a_key_that_no_header_can_carry_is_refused_at_once_and_not_quoted(key: str) -> None:
    with pytest.raises(ValueError, match="key") as caught:
        OpenAIModel(base_url="http://127.0.0.1/v1", model="m", clock=FakeClock(), api_key=key)
    assert "secr" not in str(caught.value)
