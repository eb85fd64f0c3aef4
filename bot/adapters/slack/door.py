"""The way in that both transports share: nothing passes before it is opened or once it is closed, what is in is awaited."""

import asyncio
from collections.abc import Mapping, Sequence

import structlog
from slack_bolt.app.async_app import AsyncApp
from slack_bolt.request.async_request import AsyncBoltRequest
from slack_bolt.response import BoltResponse

log = structlog.get_logger(__name__)


class Door:
    """Lets requests through to the app."""

    def __init__(self) -> None:
        self._app: AsyncApp | None = None
        self._inside = 0
        self._empty = asyncio.Event()
        self._empty.set()

    def open(self, app: AsyncApp) -> None:
        """Let requests in from now on."""
        self._app = app

    @property
    def is_open(self) -> bool:
        """Requests are let in."""
        return self._app is not None

    async def close(self) -> None:
        """Let nobody in any more, and return when everybody is out: what was taken is stored."""
        self._app = None
        await self._empty.wait()

    async def dispatch(self, request: AsyncBoltRequest) -> BoltResponse:
        """Answer a request. Whom the door is closed to is told to come again, as everybody whose request failed."""
        if self._app is None:
            return BoltResponse(status=503, body="")
        if attempt := attempt_of(request.headers):
            reason = request.headers.get("x-slack-retry-reason", [""])[0]
            log.info("slack.redelivered", attempt=attempt, reason=reason[:100])
        self._inside += 1
        self._empty.clear()
        try:
            response = await self._app.async_dispatch(request)
            log.debug("slack.answered", outcome="acknowledged" if response.status == 200 else "left")
            return response
        finally:
            self._inside -= 1
            if self._inside == 0:
                self._empty.set()


def attempt_of(headers: Mapping[str, Sequence[str]]) -> int:
    """Tell how often Slack has delivered something before. In Socket Mode first deliveries have the header too: "0"."""
    written = headers.get("x-slack-retry-num", ["0"])[0]
    return int(written) if written.isascii() and written.isdigit() and len(written) < 10 else 0
