"""The fence in an HTTP session of aiohttp, which both SDKs send through: each request passes it, repeated ones too.

It does so right before its first byte, and before each piece of a body. Until then it may have waited for a connection, or
for its turn in the event loop, and the process may have been stopped for longer than its lease meanwhile: where it was asked
before that, one in forty turns that were stopped so wrote once more.
"""

from types import SimpleNamespace

import aiohttp

from bot.chat.fence import pass_fence

_About = aiohttp.TraceRequestHeadersSentParams | aiohttp.TraceRequestChunkSentParams


def fencing(trace: aiohttp.TraceConfig) -> aiohttp.TraceConfig:
    """Let a session's requests pass the fence; returns `trace`."""

    async def sending(session: aiohttp.ClientSession, context: SimpleNamespace, about: _About) -> None:
        pass_fence()

    # aiohttp calls both before it sends what they are named after. Headers wait for the body, which a task of its own sends.
    trace.on_request_headers_sent.append(sending)
    trace.on_request_chunk_sent.append(sending)
    return trace
