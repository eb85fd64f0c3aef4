"""A request is asked last whether its turn is still ours: when it has nothing more to wait for."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from bot.adapters.fencing import fencing
from bot.chat.fence import fenced
from store import LeaseLost

pytestmark = pytest.mark.anyio

Send = Callable[[str], Awaitable[int]]


class Platform:
    """Answers when it is told to, and knows what it heard."""

    def __init__(self) -> None:
        self.heard: list[str] = []
        self.arrived, self.answers = asyncio.Event(), asyncio.Event()

    async def handle(self, request: web.Request) -> web.Response:
        self.heard.append(request.path)
        self.arrived.set()
        await self.answers.wait()
        return web.Response()


class Lease:
    """Ours, until it is over."""

    over = False

    def guard(self) -> None:
        if self.over:
            raise LeaseLost("somebody else's by now")


@asynccontextmanager
async def sending(platform: Platform, *, before: Callable[[], None] = lambda: None) -> AsyncIterator[Send]:
    """Give out what posts something; `before` is called when its headers are about to be sent, behind the fence."""

    async def notice(session: object, context: object, about: object) -> None:
        before()

    app = web.Application()
    app.router.add_post("/{name}", platform.handle)
    trace = fencing(aiohttp.TraceConfig())
    trace.on_request_headers_sent.append(notice)
    async with (
        TestServer(app) as server,
        aiohttp.ClientSession(trace_configs=[trace], connector=aiohttp.TCPConnector(limit=1)) as session,
    ):

        async def send(name: str) -> int:
            async with session.post(server.make_url(name), json={}) as response:
                return response.status

        yield send


async def test_a_request_that_waited_for_its_connection_is_not_sent_when_the_lease_is_over() -> None:
    platform, lease = Platform(), Lease()
    async with sending(platform) as send:
        first = asyncio.create_task(send("/first"))
        await platform.arrived.wait()
        with fenced(lease.guard):
            second = asyncio.create_task(send("/second"))
        for _ in range(10):
            await asyncio.sleep(0)
        lease.over = True
        platform.answers.set()
        assert await first == 200
        with pytest.raises(LeaseLost):
            await second
        assert platform.heard == ["/first"]
        assert await send("/third") == 200, "the connection is free again"


async def test_a_request_is_not_sent_when_the_lease_ends_between_its_headers_and_its_body() -> None:
    platform, lease = Platform(), Lease()
    platform.answers.set()

    def end() -> None:
        lease.over = True

    async with sending(platform, before=end) as send:
        with fenced(lease.guard), pytest.raises((LeaseLost, aiohttp.ClientConnectionError)):
            await send("/first")
        assert platform.heard == []
        assert await send("/second") == 200
