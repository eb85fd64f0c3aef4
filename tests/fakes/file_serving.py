"""How a fake platform's file host serves a file badly; `File.serve` names the way, and a host adds its own."""

import asyncio
import contextlib
import gzip
import itertools
from typing import Any

from aiohttp import web


class FileServing:
    """What file hosts have in common. An attachment has its `data` and its `file` as it was sent."""

    def __init__(self) -> None:
        self._closing = asyncio.Event()

    def close(self) -> None:
        """Let go of everybody who is still being served."""
        self._closing.set()

    async def serve_as_asked(self, request: web.Request, attachment: Any) -> web.StreamResponse:
        """Serve an attachment in the way that its file names."""
        response: web.StreamResponse = await getattr(self, f"_serve_{attachment.file.serve}")(request, attachment)
        return response

    async def _serve_redirect(self, _: web.Request, attachment: Any) -> web.StreamResponse:
        return web.Response(status=302, headers={"Location": attachment.file.elsewhere})

    async def _serve_bomb(self, _: web.Request, __: Any) -> web.StreamResponse:
        body = gzip.compress(bytes(64 * 1024 * 1024))
        return web.Response(body=body, headers={"Content-Encoding": "gzip"}, content_type="text/plain")

    async def _serve_hang(self, _: web.Request, __: Any) -> web.StreamResponse:
        await self._closing.wait()
        return web.Response(status=504)

    async def _serve_cut(self, request: web.Request, attachment: Any) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Length": str(len(attachment.data))})
        await response.prepare(request)
        await response.write(attachment.data[: len(attachment.data) // 2])
        if request.transport is not None:
            request.transport.close()
        return response

    async def _serve_slow(self, request: web.Request, attachment: Any) -> web.StreamResponse:
        return await self._drip(request, [bytes([byte]) for byte in attachment.data], pause=0.05)

    async def _serve_endless(self, request: web.Request, _: Any) -> web.StreamResponse:
        return await self._drip(request, itertools.repeat(bytes(65536)), pause=0)

    async def _drip(self, request: web.Request, pieces: Any, *, pause: float) -> web.StreamResponse:
        response = web.StreamResponse()
        with contextlib.suppress(OSError):  # the reader has every right to leave
            await response.prepare(request)
            for piece in pieces:
                if self._closing.is_set():
                    break
                await response.write(piece)
                await asyncio.sleep(pause)
        return response
