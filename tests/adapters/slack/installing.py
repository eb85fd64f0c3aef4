"""An app that workspaces install by themselves, on the fake Slack: the real flow of Bolt, our pages, a store, a browser."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from http.cookies import SimpleCookie

import aiohttp
from aiohttp import web
from slack_bolt.app.async_app import AsyncApp
from slack_bolt.context.async_context import AsyncBoltContext

from bot.adapters.slack.app import build_app
from bot.adapters.slack.clients import SlackClients
from bot.adapters.slack.door import Door
from bot.adapters.slack.http import PATH, requests_at
from bot.adapters.slack.installations import ParleyInstallationStore
from bot.adapters.slack.interactions import workspace_of
from bot.adapters.slack.oauth import INSTALL_PATH, REDIRECT_PATH, InstallPages
from bot.adapters.slack.uninstalls import Uninstalls
from bot.adapters.slack.watermarks import Watermarks
from bot.chat.rules import Defaults, RuleBook
from bot.web.server import BODY_BYTES
from store import Store, open_store
from tests.fakes.clock import FakeClock
from tests.fakes.slack import FakeSlack, User


@dataclass(frozen=True)
class Page:
    """What a browser shows."""

    status: int
    text: str


@dataclass
class Browser:
    """Somebody's browser: it keeps a cookie, though this is not HTTPS."""

    address: str
    session: aiohttp.ClientSession
    cookie: str = ""
    asked: str = ""
    """Where Slack asks people, once they were sent there."""
    back: str = ""
    """Where Slack sends them back to."""

    async def begin(self, query: str = "") -> int:
        """Go to the install page, which sends on to Slack; returns its status."""
        async with self.session.get(f"{self.address}{INSTALL_PATH}{query}", allow_redirects=False) as page:
            self.cookie = "; ".join(
                f"{morsel.key}={morsel.value}"
                for header in page.headers.getall("Set-Cookie", [])
                for morsel in SimpleCookie(header).values()
            )
            self.asked = page.headers.get("Location", "")
            return page.status

    async def allow(self) -> None:
        """Agree on Slack's page."""
        async with self.session.get(self.asked, allow_redirects=False) as answer:
            self.back = answer.headers["Location"]

    async def come_back(self) -> Page:
        """Follow Slack's way back."""
        async with self.session.get(self.back, headers={"Cookie": self.cookie}) as page:
            return Page(page.status, await page.text())

    async def install(self) -> Page:
        """Do all of it."""
        assert await self.begin() == 302
        await self.allow()
        return await self.come_back()


@dataclass
class Installable:
    """The app, as it stands on the web."""

    slack: FakeSlack
    store: Store
    clock: FakeClock
    clients: SlackClients
    installations: ParleyInstallationStore
    pages: InstallPages
    marks: Watermarks
    rules: RuleBook
    address: str
    session: aiohttp.ClientSession
    heard: list[tuple[str, str]] = field(default_factory=list)
    """What was said in channels, with the workspaces by which it reached us."""

    def browser(self) -> Browser:
        return Browser(self.address, self.session)

    async def install(self, user: User) -> Page:
        """Let somebody install the app in their workspace."""
        self.slack.installing = user
        return await self.browser().install()

    async def told(self) -> None:
        """Wait until Slack has nothing left to deliver."""
        await self.slack.until(lambda: self.slack.deliveries and self.slack.quiet)


@asynccontextmanager
async def installable(
    slack: FakeSlack, url: str = "sqlite:///:memory:", *, token: str | None = None
) -> AsyncIterator[Installable]:
    """Serve an app until the body ends. With `token` it is one workspace's, by a setting."""
    clock = FakeClock(start=datetime.now(UTC))
    async with AsyncExitStack() as stack:
        store = await open_store(url, clock=clock.now)
        stack.push_async_callback(store.aclose)
        session = await stack.enter_async_context(aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar()))
        installations = ParleyInstallationStore(
            store, slack.client_secret, changed=lambda workspace: clients.forget(workspace)
        )
        find = None if token else installations.token_of
        clients = SlackClients(clock, base_url=slack.api_url, token=token, find_token=find)
        stack.push_async_callback(clients.close)
        pages = InstallPages(
            client_id=slack.client_id, client_secret=slack.client_secret, base_url=slack.api_url, clock=clock
        )
        marks, rules, door = Watermarks(store, clock), RuleBook(store, Defaults()), Door()
        app = build_app(clients)
        Uninstalls(store, clients, marks=marks, rules=rules).listen(app)
        served = web.Application(client_max_size=BODY_BYTES)
        pages.mount(served)
        requests_at(PATH, door, slack.signing_secret, clock)(served)
        runner = web.AppRunner(served, access_log=None)
        await runner.setup()
        stack.push_async_callback(runner.cleanup)
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        address = f"http://127.0.0.1:{runner.addresses[0][1]}"
        slack.events_url, slack.redirect_url = f"{address}{PATH}", f"{address}{REDIRECT_PATH}"
        here = Installable(slack, store, clock, clients, installations, pages, marks, rules, address, session)
        _listen(app, here)
        pages.open(store, installations, clients)
        door.open(app)
        yield here


def _listen(app: AsyncApp, here: Installable) -> None:
    @app.event("message")
    async def hear(event: dict[str, str], context: AsyncBoltContext) -> None:
        here.heard.append((workspace_of(context), event.get("text", "")))
        await asyncio.sleep(0)

    @app.event("app_mention")
    async def ignore() -> None:
        """Every mention is a message, too."""
