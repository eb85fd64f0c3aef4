"""Connections to a model's server: one for each call, used again afterwards, at a cost that does not grow with their number.

httpx's own pool walks through all connections at each beginning and end of a call, and gives the same idle one to everybody
who waits: 200 calls at once on 200 idle connections took five seconds of processor time, and some their whole deadline.
"""

from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import timedelta
from typing import cast

import httpx

from bot.clock import Clock

IDLE = timedelta(seconds=4)
"""How long a connection is kept that nobody uses: shorter than servers wait (uvicorn 5 s, proxies longer), so that a call
seldom meets one that is just being closed."""


class Connections(httpx.AsyncBaseTransport):
    """The way of an `httpx.AsyncClient` to its server.

    Each call has an httpx transport with one connection to itself, from its request until its answer is closed. The one that
    was used last is used next; those beyond `IDLE` are closed when a call ends.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._tls = httpx.create_ssl_context(trust_env=False)
        self._idle: deque[tuple[timedelta, httpx.AsyncHTTPTransport]] = deque()
        self._closed = False

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        own = self._idle.pop()[1] if self._idle else self._transport()
        try:
            response = await own.handle_async_request(request)
        except BaseException:
            await own.aclose()
            raise
        body = cast(httpx.AsyncByteStream, response.stream)
        response.stream = _Body(body, lambda: self._give_back(own))
        return response

    def _transport(self) -> httpx.AsyncHTTPTransport:
        limits = httpx.Limits(keepalive_expiry=IDLE.total_seconds())
        return httpx.AsyncHTTPTransport(verify=self._tls, trust_env=False, limits=limits)

    async def _give_back(self, own: httpx.AsyncHTTPTransport) -> None:
        self._idle.append((self._clock.monotonic(), own))
        await self._close_idle(timedelta() if self._closed else IDLE)

    async def aclose(self) -> None:
        self._closed = True
        await self._close_idle(timedelta())

    async def _close_idle(self, since: timedelta) -> None:
        limit = self._clock.monotonic() - since
        while self._idle and self._idle[0][0] <= limit:
            await self._idle.popleft()[1].aclose()


class _Body(httpx.AsyncByteStream):
    """The body of an answer, whose end gives its connection back."""

    def __init__(self, body: httpx.AsyncByteStream, give_back: Callable[[], Awaitable[None]]) -> None:
        self._body = body
        self._give_back = give_back

    def __aiter__(self) -> AsyncIterator[bytes]:
        return aiter(self._body)

    async def aclose(self) -> None:
        try:
            await self._body.aclose()
        finally:
            await self._give_back()
