"""The fence in an HTTP session of aiohttp, which both SDKs send through: each request passes it, repeated ones too.

It does so on its connection, right before its first byte: before that it may have waited for one, and the process may have
been stopped for longer than its lease meanwhile (one of 60 turns that were stopped so wrote once more).
"""

from types import SimpleNamespace

import aiohttp

from bot.chat.fence import pass_fence


def fencing(trace: aiohttp.TraceConfig) -> aiohttp.TraceConfig:
    """Let a session's requests pass the fence; returns `trace`."""

    async def sending(
        session: aiohttp.ClientSession, context: SimpleNamespace, request: aiohttp.TraceRequestHeadersSentParams
    ) -> None:
        pass_fence()

    trace.on_request_headers_sent.append(sending)  # aiohttp calls it before it writes them
    return trace
