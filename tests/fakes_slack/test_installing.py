"""The real OAuth flow installs the app in several workspaces, and uninstalling is told and makes the token worthless."""

import html
import logging
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from slack_bolt.app.async_app import AsyncApp
from slack_bolt.oauth.async_oauth_settings import AsyncOAuthSettings
from slack_sdk.oauth.installation_store import FileInstallationStore
from slack_sdk.oauth.state_store import FileOAuthStateStore
from slack_sdk.web.async_client import AsyncWebClient

from tests.fakes.slack import FakeSlack
from tests.fakes_slack.bots import bot, client_of
from tests.fakes_slack.test_messages import refused

pytestmark = [
    pytest.mark.anyio,
    # slack_sdk 3.47 still builds aiohttp's BasicAuth for oauth.v2.access
    pytest.mark.filterwarnings("ignore:BasicAuth is deprecated:DeprecationWarning"),
]


@asynccontextmanager
async def installable(slack: FakeSlack, place: Path) -> AsyncIterator[tuple[AsyncApp, str, FileInstallationStore]]:
    """Serve an app with install pages; gives it, its address and its store."""
    store = FileInstallationStore(base_dir=str(place / "installations"), client_id=slack.client_id)
    settings = AsyncOAuthSettings(
        client_id=slack.client_id,
        client_secret=slack.client_secret,
        scopes=["chat:write"],
        installation_store=store,
        state_store=FileOAuthStateStore(expiration_seconds=60, base_dir=str(place / "states")),
        authorization_url=slack.authorize_url,
    )
    async with aiohttp.ClientSession() as session:
        client = AsyncWebClient(base_url=slack.api_url, session=session)
        app = AsyncApp(
            client=client,
            signing_secret=slack.signing_secret,
            oauth_settings=settings,
            logger=logging.getLogger("tests.bolt"),
        )
        runner = web.AppRunner(app.web_app(), access_log=None)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        address = f"http://127.0.0.1:{runner.addresses[0][1]}"
        settings.redirect_uri = f"{address}/slack/oauth_redirect"
        app.oauth_flow.settings.authorize_url_generator.redirect_uri = settings.redirect_uri
        slack.events_url = f"{address}/slack/events"
        try:
            yield app, address, store
        finally:
            await runner.cleanup()


async def install(address: str) -> int:
    """Do what a browser does, which keeps the cookie though this is not HTTPS."""
    async with aiohttp.ClientSession() as browser:
        async with browser.get(f"{address}/slack/install") as page:
            cookie = page.headers["Set-Cookie"].split(";")[0]
            link = html.unescape(re.findall(r'href="(http[^"]+)"', await page.text())[0])
        async with browser.get(link, allow_redirects=False) as asked:
            back = asked.headers["Location"]
        async with browser.get(back, headers={"Cookie": cookie}) as done:
            return done.status


async def test_two_workspaces_install_the_app_and_each_is_answered_with_its_own_token(tmp_path: Path) -> None:
    async with FakeSlack() as slack, installable(slack, tmp_path) as (app, address, store):

        @app.event("message")
        async def answer(say: Any) -> None:
            await say("Hi!")

        people = [slack.workspace.user("Ada"), slack.team("Other").user("Bob")]
        for person in people:
            slack.installing = person
            assert await install(address) == 200
            installation = await store.async_find_bot(enterprise_id=None, team_id=person.team.id)
            assert installation.bot_token == person.team.bot_token
            await person.say(person.dm, "hello")
            await slack.until(lambda person=person: person.dm.texts == ["hello", "Hi!"])
        tokens = [request.token for request in slack.asked("chat.postMessage")]
        assert tokens == [person.team.bot_token for person in people]


async def test_a_code_works_once_and_with_the_right_secret() -> None:
    async with FakeSlack() as slack, client_of(slack) as client:
        code = slack.grant(slack.workspace.user("Ada"))
        right = {"client_id": slack.client_id, "client_secret": slack.client_secret}
        assert await refused(client.oauth_v2_access(**right | {"client_secret": "x"}, code=code)) == "bad_client_secret"
        assert await refused(client.oauth_v2_access(**right, code="x")) == "invalid_code"
        assert (await client.oauth_v2_access(**right, code=code))["access_token"] == slack.bot_token
        assert await refused(client.oauth_v2_access(**right, code=code)) == "code_already_used"


async def test_uninstalling_is_told_and_the_token_is_dead() -> None:
    async with FakeSlack() as slack, bot(slack) as (app, heard):
        ada = slack.workspace.user("Ada")
        await ada.say(ada.dm, "hello")
        await slack.until(lambda: heard)
        await slack.workspace.uninstall()
        assert await refused(app.client.auth_test()) == "token_revoked"
        await slack.until(lambda: len(slack.deliveries) == 3 and slack.quiet)
        assert {delivery.name for delivery in slack.deliveries[1:]} == {"tokens_revoked", "app_uninstalled"}
        await ada.say(ada.dm, "nobody hears this")
        assert len(slack.deliveries) == 3
