"""Slack, put together, with a whole chat behind it: what is said comes in, and the answer is posted."""

import asyncio
import random
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import aiohttp
import pytest
from prometheus_client import CollectorRegistry

from bot.adapters.protocol import PlatformRefused
from bot.adapters.slack.adapter import Credentials, SlackAdapter
from bot.adapters.slack.http import PATH
from bot.adapters.slack.inbound import PLATFORM
from bot.adapters.slack.oauth import REDIRECT_PATH
from bot.app_serve import build_adapters
from bot.chat.rules import Defaults, RuleBook
from bot.chat.turns import Turns
from bot.config import load_settings
from bot.llm.scripted import ScriptedModel
from bot.web.server import WebSide
from store import Store
from tests.adapters.slack.inside import chat_behind
from tests.adapters.slack.installing import Browser
from tests.adapters.slack.listening import HTTP, SOCKET, a_store
from tests.chat.chatting import SETTINGS, cancelled
from tests.fakes.clock import FakeClock
from tests.fakes.slack import FakeSlack

pytestmark = pytest.mark.anyio
BOTH = pytest.mark.parametrize("by", [SOCKET, HTTP])


@dataclass
class Running:
    adapter: SlackAdapter
    model: ScriptedModel
    clock: FakeClock
    task: asyncio.Task[None]
    store: Store
    address: str
    """Of the web side."""

    async def until(self, holds: Callable[[], object]) -> None:
        for _ in range(2000):
            if holds():
                return
            if self.task.done():
                self.task.result()
            await self.clock.advance(timedelta(milliseconds=100))
            await asyncio.sleep(0.005)
        raise AssertionError(f"never came true: {holds}")


@asynccontextmanager
async def running(
    slack: FakeSlack, store: Store, *steps: str, by: str = SOCKET, credentials: Credentials | None = None
) -> AsyncIterator[Running]:
    """Run the adapter against the fake, pointed at it by its settings alone; in HTTP mode on a real web side."""
    clock = FakeClock(start=datetime.now(UTC))
    if credentials is None and by == SOCKET:
        credentials = Credentials(bot_token=slack.bot_token, app_token=slack.app_token)
    adapter = SlackAdapter(
        credentials or Credentials(bot_token=slack.bot_token, signing_secret=slack.signing_secret),
        clock=clock,
        rng=random.Random(1),
        api_base_url=slack.api_url,
    )
    rules = RuleBook(store, Defaults())
    model = ScriptedModel(steps, clock=clock)
    turns = Turns(store, model, {PLATFORM: adapter.surface}, SETTINGS, clock)
    inside = chat_behind(store, turns, rules, clock, platforms=lambda: [adapter.describe()])
    web = WebSide("127.0.0.1", 0, None, CollectorRegistry(), {}, mounts=adapter.mounts)
    await web.start()
    if by == HTTP:
        slack.events_url = f"http://127.0.0.1:{web.port}{PATH}"
    working = asyncio.create_task(turns.run())
    serving = asyncio.create_task(adapter.run(inside))
    try:
        yield Running(adapter, model, clock, serving, store, f"http://127.0.0.1:{web.port}")
    finally:
        await cancelled(working, clock)
        await cancelled(serving, clock)
        await web.aclose()
        slack.events_url = None


@BOTH
async def test_a_mention_is_answered_once_in_its_thread_however_often_it_comes(by: str) -> None:
    async with FakeSlack() as slack, a_store() as store, running(slack, store, "Hello to you.", by=by) as bot:
        ada = slack.workspace.user("Ada")
        general = slack.workspace.channel("general", ada)
        await bot.until(lambda: bot.adapter.ready)
        slack.copies = 10
        said = await ada.say(general, f"{slack.workspace.bot.mention} hello")
        await bot.until(lambda: len(general.thread(said)) == 2 and "Hello to you." in general.thread(said)[1].shown)
        await bot.until(lambda: slack.quiet)
        assert len(general.messages) == 2
        assert len(bot.model.prompts) == 1
        assert slack.pings == []


async def test_a_direct_message_is_answered_and_typed_commands_are_carried_out() -> None:
    async with FakeSlack() as slack, a_store() as store, running(slack, store, "Hi.", "Hi again.") as bot:
        ada = slack.workspace.user("Ada")
        await bot.until(lambda: bot.adapter.ready)
        await ada.say(ada.dm, "hello")
        await bot.until(lambda: any("Hi." in message.shown for message in ada.dm.messages))
        await ada.say(ada.dm, "!new")
        await bot.until(lambda: slack.quiet and (ada.ephemerals or len(ada.dm.messages) > 3))
        await ada.say(ada.dm, "hello once more")
        await bot.until(lambda: any("Hi again." in message.shown for message in ada.dm.messages))
        assert [message.text for message in bot.model.prompts[-1]][-1:] == ["hello once more"]
        assert len(bot.model.prompts) == 2


@BOTH
async def test_a_bot_token_that_slack_refuses_ends_it_and_is_named(by: str) -> None:
    async with FakeSlack() as slack, a_store() as store:
        slack.revoked.add(slack.bot_token)
        async with running(slack, store, by=by) as bot:
            with pytest.raises(PlatformRefused, match="SLACK_BOT_TOKEN") as caught:
                await bot.task
            assert slack.bot_token not in str(caught.value)
            assert not bot.adapter.ready
            assert bot.adapter.describe() == "slack (not connected)"


@pytest.mark.parametrize("error", ["invalid_auth", "account_inactive", "not_allowed_token_type", "token_expired"])
async def test_every_way_to_refuse_the_bot_token_is_final(error: str) -> None:
    async with FakeSlack() as slack, a_store() as store:
        slack.fail("auth.test", error=error)
        async with running(slack, store) as bot:
            with pytest.raises(PlatformRefused, match=error):
                await bot.task


async def test_an_app_token_that_slack_refuses_ends_it_and_is_named() -> None:
    async with FakeSlack() as slack, a_store() as store:
        wrong = Credentials(bot_token=slack.bot_token, app_token="xapp-wrong")
        async with running(slack, store, credentials=wrong) as bot:
            with pytest.raises(PlatformRefused, match="SLACK_APP_TOKEN"):
                await bot.task


async def test_while_slack_is_away_it_waits() -> None:
    async with FakeSlack() as slack, a_store() as store:
        slack.fail("auth.test", status=503, times=3)
        slack.refuse_sockets(times=2)
        async with running(slack, store) as bot:
            await bot.until(lambda: bot.adapter.ready)
            assert bot.adapter.describe() == "slack (Socket Mode)"


@BOTH
async def test_after_stop_intake_nothing_is_taken_and_the_surface_still_works(by: str) -> None:
    async with FakeSlack(retry_after=[]) as slack, a_store() as store:
        slack.ack_limit = timedelta(milliseconds=200)
        async with running(slack, store, "Hello.", by=by) as bot:
            ada = slack.workspace.user("Ada")
            await bot.until(lambda: bot.adapter.ready)
            await ada.say(ada.dm, "hello")
            await bot.until(lambda: bot.model.prompts)
            stopping = asyncio.create_task(bot.adapter.stop_intake())
            await bot.until(stopping.done)
            await stopping
            await bot.until(lambda: any("Hello." in message.shown for message in ada.dm.messages))
            late = await ada.say(ada.dm, "too late")
            await bot.until(lambda: slack.quiet)
            assert len(bot.model.prompts) == 1
            (delivery,) = [delivery for delivery in slack.deliveries if delivery.event.get("ts") == late.ts]
            assert not delivery.acked
            assert not bot.adapter.ready


async def test_workspaces_that_install_the_app_are_served_with_their_own_tokens_and_share_nothing() -> None:
    async with FakeSlack(retry_after=[]) as slack, a_store() as store, aiohttp.ClientSession() as session:
        given = Credentials(
            signing_secret=slack.signing_secret, client_id=slack.client_id, client_secret=slack.client_secret
        )
        north, south = slack.workspace, slack.team("South")
        async with running(slack, store, "One.", "Two.", by=HTTP, credentials=given) as bot:
            await bot.until(lambda: bot.adapter.ready)
            slack.redirect_url = f"{bot.address}{REDIRECT_PATH}"
            people = [north.user("Ada"), south.user("Bob")]
            for person in people:
                slack.installing = person
                installing = asyncio.create_task(Browser(bot.address, session).install())
                await bot.until(installing.done)
                assert (await installing).status == 200
            for person, answer in zip(people, ["One.", "Two."], strict=True):
                await person.say(person.dm, f"I am {person.name}")
                await bot.until(lambda person=person, answer=answer: answer in person.dm.messages[-1].shown)
            assert [prompt[-1].text for prompt in bot.model.prompts] == ["I am Ada", "I am Bob"]
            posts = [request for request in slack.requests if request.method.startswith("chat.")]
            assert {request.token for request in posts} == {north.bot_token, south.bot_token}


async def test_a_bot_token_that_died_leaves_the_workspaces_that_installed_the_app_alone() -> None:
    async with FakeSlack(retry_after=[]) as slack, a_store() as store, aiohttp.ClientSession() as session:
        given = Credentials(
            bot_token=slack.bot_token,
            signing_secret=slack.signing_secret,
            client_id=slack.client_id,
            client_secret=slack.client_secret,
        )
        slack.revoked.add(slack.bot_token)
        south = slack.team("South")
        async with running(slack, store, "Still here.", by=HTTP, credentials=given) as bot:
            await bot.until(lambda: bot.adapter.ready)
            slack.redirect_url = f"{bot.address}{REDIRECT_PATH}"
            bob = slack.installing = south.user("Bob")
            installing = asyncio.create_task(Browser(bot.address, session).install())
            await bot.until(installing.done)
            await bob.say(bob.dm, "are you there?")
            await bot.until(lambda: "Still here." in bob.dm.messages[-1].shown)


async def test_a_workspace_that_did_not_install_the_app_is_not_served() -> None:
    async with FakeSlack(retry_after=[]) as slack, a_store() as store:
        given = Credentials(
            signing_secret=slack.signing_secret, client_id=slack.client_id, client_secret=slack.client_secret
        )
        async with running(slack, store, "Welcome.", by=HTTP, credentials=given) as bot:
            await bot.until(lambda: bot.adapter.ready)
            assert bot.adapter.describe() == "slack (HTTP)"
            assert len(bot.adapter.mounts) == 2
            ada = slack.workspace.user("Ada")
            await ada.say(ada.dm, "are you installed?")
            await bot.until(lambda: slack.quiet)
            assert bot.model.prompts == []
            assert slack.deliveries[-1].acked


async def test_the_environment_s_own_names_for_slack_do_not_change_the_app(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("SLACK_CLIENT_ID", "SLACK_CLIENT_SECRET", "SLACK_BOT_TOKEN", "SLACK_SIGNING_SECRET"):
        monkeypatch.setenv(name, "xoxb-from-the-environment")
    async with FakeSlack() as slack, a_store() as store, running(slack, store, "Hello.") as bot:
        ada = slack.workspace.user("Ada")
        await bot.until(lambda: bot.adapter.ready)
        await ada.say(ada.dm, "hello")
        await bot.until(lambda: any("Hello." in message.shown for message in ada.dm.messages))
        assert {request.token for request in slack.requests} == {slack.bot_token, slack.app_token}


@pytest.mark.parametrize(
    ("env", "mounts"),
    [
        ({"SLACK_BOT_TOKEN": "xoxb-1", "SLACK_APP_TOKEN": "xapp-1"}, 0),
        ({"SLACK_BOT_TOKEN": "xoxb-1", "SLACK_SIGNING_SECRET": "abc"}, 1),
        ({"SLACK_BOT_TOKEN": "xoxb-1", "SLACK_APP_TOKEN": "xapp-1", "SLACK_SIGNING_SECRET": "abc"}, 0),
        ({"SLACK_CLIENT_ID": "1.2", "SLACK_CLIENT_SECRET": "def", "SLACK_APP_TOKEN": "xapp-1"}, 1),
        ({"SLACK_CLIENT_ID": "1.2", "SLACK_CLIENT_SECRET": "def", "SLACK_SIGNING_SECRET": "abc"}, 2),
    ],
)
async def test_settings_make_the_adapter_with_what_it_adds_to_the_web_side(env: dict[str, str], mounts: int) -> None:
    (adapter,) = build_adapters(load_settings(env, None), FakeClock(), random.Random(1))
    assert adapter.platform == "slack"
    assert len(adapter.mounts) == mounts
    assert not adapter.ready
