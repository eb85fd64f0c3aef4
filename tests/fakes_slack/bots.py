"""A bot of the real slack-bolt that talks to the fake, by Socket Mode or by HTTP."""

import contextlib
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import aiohttp
from aiohttp import web
from slack_bolt.adapter.aiohttp import to_aiohttp_response, to_bolt_request
from slack_bolt.adapter.socket_mode.async_handler import AsyncSocketModeHandler
from slack_bolt.app.async_app import AsyncApp
from slack_sdk.web.async_client import AsyncWebClient

from tests.fakes.slack import FakeSlack

Json = Any
OTHERS = ("app_uninstalled", "tokens_revoked", "app_context_changed", "assistant_thread_started", "channel_archive")


class Heard(list[Json]):
    """The events that a bot heard, in order; `answer` is done with each message of a person."""

    answer: Callable[[Json, Any], Awaitable[Any]] | None = None

    def of(self, kind: str, subtype: str | None = None) -> list[Json]:
        return [event for event in self if (event["type"], event.get("subtype")) == (kind, subtype)]


def app_for(slack: FakeSlack, session: aiohttp.ClientSession, **options: Any) -> tuple[AsyncApp, Heard]:
    """Make an app that hears every event."""
    heard = Heard()
    logger = logging.getLogger("tests.bolt")
    client = AsyncWebClient(token=slack.bot_token, base_url=slack.api_url, session=session)
    app = AsyncApp(client=client, signing_secret=slack.signing_secret, logger=logger, **options)

    async def hear(event: Json, say: Any) -> None:
        heard.append(event)
        if heard.answer is not None:
            await heard.answer(event, say)

    app.event({"type": "message", "subtype": "message_changed"})(hear)
    app.event({"type": "message", "subtype": "message_deleted"})(hear)
    for kind in ("message", "app_mention", "app_home_opened", "agent_session_stopped", *OTHERS):
        app.event(kind)(hear)
    return app, heard


@contextlib.asynccontextmanager
async def by_socket(slack: FakeSlack, app: AsyncApp, *, ping_interval: float = 10) -> AsyncIterator[AsyncSocketModeHandler]:
    """Run the app in Socket Mode."""
    handler = AsyncSocketModeHandler(app, slack.app_token, ping_interval=ping_interval)
    try:
        await handler.connect_async()
        await slack.until(lambda: slack.sockets)
        yield handler
    finally:
        await handler.close_async()


@contextlib.asynccontextmanager
async def by_http(slack: FakeSlack, app: AsyncApp) -> AsyncIterator[str]:
    """Run the app in HTTP mode; gives its address."""

    async def take(request: web.Request) -> web.Response:
        return await to_aiohttp_response(await app.async_dispatch(await to_bolt_request(request)))

    served = web.Application()
    served.router.add_post("/slack/events", take)
    runner = web.AppRunner(served, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    slack.events_url = f"http://127.0.0.1:{runner.addresses[0][1]}/slack/events"
    try:
        yield slack.events_url
    finally:
        slack.events_url = None
        await runner.cleanup()


Run = Callable[..., contextlib.AbstractAsyncContextManager[Any]]


@contextlib.asynccontextmanager
async def client_of(slack: FakeSlack, token: str | None = None) -> AsyncIterator[AsyncWebClient]:
    """Give a client that only calls the Web API, and tries nothing twice."""
    async with aiohttp.ClientSession() as session:
        yield AsyncWebClient(token or slack.bot_token, slack.api_url, session=session, retry_handlers=[])


@contextlib.asynccontextmanager
async def bot(slack: FakeSlack, run: Run = by_socket, **options: Any) -> AsyncIterator[tuple[AsyncApp, Heard]]:
    """Run a bot that hears everything until the block ends; add listeners to the app at any time."""
    async with aiohttp.ClientSession() as session:
        app, heard = app_for(slack, session, **options)
        async with run(slack, app):
            yield app, heard
