"""Discord's refusals, counted where they come in: discord.py tells of some of them only, and Discord counts them all.

Who has 10,000 of them in 10 minutes is kept out by Cloudflare, whichever they are.
"""

from types import SimpleNamespace

import aiohttp
import structlog

COUNTED = (401, 403, 429)

log = structlog.get_logger(__name__)


def refusals_counted() -> aiohttp.TraceConfig:
    """Make what a client's HTTP session has to be told for its refusals to be in the log and the metrics."""

    async def ended(
        session: aiohttp.ClientSession, context: SimpleNamespace, request: aiohttp.TraceRequestEndParams
    ) -> None:
        status = request.response.status
        if status in COUNTED:
            scope = request.response.headers.get("X-RateLimit-Scope", "")
            log.debug("discord.refused", status=str(status), method=request.method, scope=scope)

    trace = aiohttp.TraceConfig()
    trace.on_request_end.append(ended)
    return trace
