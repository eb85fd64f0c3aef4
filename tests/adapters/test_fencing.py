"""A request is asked last whether its turn is still ours: when it has its connection and nothing more to wait for."""

import asyncio

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from bot.adapters.fencing import fencing
from bot.chat.fence import fenced
from store import LeaseLost

pytestmark = pytest.mark.anyio


async def test_a_request_that_waited_for_its_connection_is_not_sent_when_the_lease_is_over() -> None:
    arrived, answer, heard = asyncio.Event(), asyncio.Event(), []
    lost = False

    def still_ours() -> None:
        if lost:
            raise LeaseLost("somebody else's by now")

    async def handle(request: web.Request) -> web.Response:
        heard.append(request.path)
        arrived.set()
        await answer.wait()
        return web.Response()

    app = web.Application()
    app.router.add_post("/{name}", handle)
    trace = fencing(aiohttp.TraceConfig())
    async with (
        TestServer(app) as server,
        aiohttp.ClientSession(trace_configs=[trace], connector=aiohttp.TCPConnector(limit=1)) as session,
    ):

        async def post(name: str) -> int:
            async with session.post(server.make_url(name), json={}) as response:
                return response.status

        first = asyncio.create_task(post("/first"))
        await arrived.wait()
        with fenced(still_ours):
            second = asyncio.create_task(post("/second"))
        for _ in range(10):
            await asyncio.sleep(0)
        lost = True
        answer.set()
        assert await first == 200
        with pytest.raises(LeaseLost):
            await second
        assert heard == ["/first"]
        assert await post("/third") == 200, "the connection is free again"
