"""The fence in an HTTP session of aiohttp, which both SDKs send through: each request passes it, repeated ones too."""

from types import SimpleNamespace

import aiohttp

from bot.chat.fence import pass_fence


def fencing(trace: aiohttp.TraceConfig) -> aiohttp.TraceConfig:
    """Let a session's requests pass the fence; returns `trace`."""

    async def start(
        session: aiohttp.ClientSession, context: SimpleNamespace, request: aiohttp.TraceRequestStartParams
    ) -> None:
        pass_fence()

    trace.on_request_start.append(start)
    return trace
