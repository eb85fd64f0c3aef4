"""Slack's requests by HTTP: signed, at one path of the web side, for events, interactions and commands alike.

A request whose signature is not Slack's, or is older than five minutes, is 401 whatever it holds. Bolt would look at it only
after it has read the body, and answers 500 to what it can't read (run: slack-bolt 1.30).
"""

import re
from collections.abc import Callable
from datetime import timedelta

import structlog
from aiohttp import web
from slack_bolt.adapter.aiohttp import to_aiohttp_response
from slack_bolt.request.async_request import AsyncBoltRequest
from slack_sdk.signature import Clock as SignatureClock
from slack_sdk.signature import SignatureVerifier

from bot.adapters.protocol import Mount
from bot.adapters.slack.door import Door
from bot.clock import Clock

PATH = "/slack/events"
TELLING = timedelta(minutes=1)
_TIMESTAMP = re.compile(r"[0-9]{1,12}", re.ASCII)

log = structlog.get_logger(__name__)


class _Seconds(SignatureClock):
    def __init__(self, clock: Clock) -> None:
        self._clock = clock

    def now(self) -> float:
        return self._clock.now().timestamp()


class _Strangers:
    """Tells operators of requests that Slack did not sign with our secret; once a minute, as anybody may send them."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._told: timedelta | None = None
        self._count = 0

    def turned_away(self) -> None:
        self._count += 1
        now = self._clock.monotonic()
        if self._told is None or now - self._told >= TELLING:
            log.warning("slack.bad_signature", requests=self._count, remedy="if Slack sent them, see SLACK_SIGNING_SECRET")
            self._told, self._count = now, 0


def requests_at(path: str, door: Door, signing_secret: str, clock: Clock) -> Mount:
    """Return what adds the route to the web side."""
    verifier, strangers = SignatureVerifier(signing_secret, _Seconds(clock)), _Strangers(clock)

    async def take(request: web.Request) -> web.Response:
        raw = await request.read()
        if not is_signed(raw, request.headers.get, verifier):
            strangers.turned_away()
            return web.Response(status=401, text="this is not signed by Slack\n")
        try:
            bolt_request = AsyncBoltRequest(body=raw.decode(), query=request.query_string, headers=dict(request.headers))
        except (ValueError, AttributeError, TypeError):  # no JSON, or not Slack's
            return web.Response(status=400, text="this is no request of Slack's\n")
        return await to_aiohttp_response(await door.dispatch(bolt_request))

    def mount(app: web.Application) -> None:
        app.router.add_post(path, take)

    return mount


def is_signed(raw: bytes, header: Callable[[str], str | None], verifier: SignatureVerifier) -> bool:
    """Tell whether Slack signed a body within the last five minutes."""
    timestamp, signature = header("X-Slack-Request-Timestamp") or "", header("X-Slack-Signature") or ""
    # Neither int() nor compare_digest() bear what a stranger may send.
    if _TIMESTAMP.fullmatch(timestamp) is None or not signature.isascii():
        return False
    try:
        return verifier.is_valid(raw, timestamp, signature)
    except UnicodeDecodeError:
        return False
