"""Clients by workspace: whose token is used, how long it is believed, and what happens when it is over."""

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta

import pytest

from bot.adapters.slack.api_errors import SlackRefused
from bot.adapters.slack.clients import SlackClients
from bot.adapters.slack.web_api import WebApi
from bot.chat.protocol import DeliveryDelayed, DeliveryError, Unreachable
from store import StoreUnavailable
from tests.fakes.clock import FakeClock
from tests.fakes.slack import FakeSlack

pytestmark = pytest.mark.anyio


class Installations:
    """The bot tokens by workspace, as a store keeps them."""

    def __init__(self) -> None:
        self.tokens: dict[str, str] = {}
        self.asked: list[str] = []
        self.failing = False

    async def find(self, workspace: str) -> str | None:
        self.asked.append(workspace)
        if self.failing:
            raise StoreUnavailable("locked")
        return self.tokens.get(workspace)


@asynccontextmanager
async def clients_of(slack: FakeSlack, clock: FakeClock | None = None, **tokens: object) -> AsyncIterator[SlackClients]:
    clients = SlackClients(clock or FakeClock(), base_url=slack.api_url, **tokens)
    try:
        yield clients
    finally:
        await clients.close()


async def test_one_token_serves_without_asking_whose_it_is(slack):
    async with clients_of(slack, token=slack.bot_token) as clients:
        assert (await clients.of(slack.workspace.id)).token == slack.bot_token
        assert await clients.of(slack.workspace.id) is await clients.of(slack.workspace.id)
    assert slack.requests == []


async def test_each_workspace_has_its_own_token(slack):
    other, installations = slack.team("Globex"), Installations()
    installations.tokens[other.id] = other.bot_token
    async with clients_of(slack, token=slack.bot_token, find_token=installations.find) as clients:
        assert (await clients.of(slack.workspace.id)).token == slack.bot_token
        assert (await clients.of(other.id)).token == other.bot_token
        assert (await clients.me(other.id)).user_id == other.bot.id
        assert (await clients.me(slack.workspace.id)).bot_id == slack.workspace.bot.bot_id
    assert installations.asked == [other.id]


async def test_an_enterprise_has_one_token_for_its_workspaces(slack):
    first = slack.team("Initech", enterprise="E1", org_wide=True)
    async with clients_of(slack, token=first.bot_token, find_token=Installations().find) as clients:
        assert (await clients.of("E1")).token == first.bot_token
        me = await clients.me("E1")
        assert (me.team_id, me.enterprise_id) == ("", "E1")


async def test_where_the_app_is_not_installed_nobody_can_be_reached(slack):
    async with clients_of(slack, find_token=Installations().find) as clients:
        with pytest.raises(Unreachable):
            await clients.of("T404")


async def test_a_store_that_fails_only_delays(slack):
    installations = Installations()
    installations.failing = True
    async with clients_of(slack, find_token=installations.find) as clients:
        with pytest.raises(DeliveryDelayed):
            await clients.of("T1")


async def test_a_token_that_was_known_is_used_on_while_the_store_fails(slack):
    clock, installations = FakeClock(), Installations()
    installations.tokens["T1"] = "xoxb-1"
    async with clients_of(slack, clock, find_token=installations.find) as clients:
        first = await clients.of("T1")
        installations.failing = True
        await clock.advance(timedelta(hours=1))
        assert await clients.of("T1") is first
        installations.failing = False
        installations.tokens["T1"] = "xoxb-2"
        assert (await clients.of("T1")).token == "xoxb-2"


async def test_a_token_is_asked_for_again_after_a_while(slack):
    clock, installations = FakeClock(), Installations()
    installations.tokens["T1"] = "xoxb-1"
    async with clients_of(slack, clock, find_token=installations.find) as clients:
        first = await clients.of("T1")
        await clock.advance(timedelta(minutes=4))
        assert await clients.of("T1") is first
        await clock.advance(timedelta(minutes=1))
        assert await clients.of("T1") is first
        installations.tokens["T1"] = "xoxb-2"
        await clock.advance(timedelta(minutes=5))
        assert (await clients.of("T1")).token == "xoxb-2"
    assert len(installations.asked) == 3


async def test_a_token_that_slack_refuses_is_forgotten(slack):
    installations, team = Installations(), slack.workspace
    installations.tokens[team.id] = team.bot_token
    async with clients_of(slack, find_token=installations.find) as clients:
        api = WebApi(clients, FakeClock())
        await api.ask(team.id, lambda client: client.auth_test())
        await team.uninstall()
        with pytest.raises(Unreachable):
            await api.ask(team.id, lambda client: client.auth_test())
        team.reinstall()
        installations.tokens[team.id] = team.bot_token
        assert (await api.ask(team.id, lambda client: client.auth_test()))["ok"]


async def test_all_clients_share_one_session_and_repeat_nothing(slack):
    installations = Installations()
    installations.tokens |= {"T1": "xoxb-1", "T2": "xoxb-2"}
    async with clients_of(slack, find_token=installations.find) as clients:
        first, second = await clients.of("T1"), await clients.of("T2")
        assert first.session is second.session is clients.session
        assert first.retry_handlers == []


async def test_who_a_bot_is_is_asked_once_also_by_many_at_once(slack):
    async with clients_of(slack, token=slack.bot_token) as clients:
        await asyncio.gather(*(clients.me(slack.workspace.id) for _ in range(3)))
        await clients.me(slack.workspace.id)
    assert len(slack.asked("auth.test")) == 1


async def test_no_text_and_no_token_is_logged_at_any_level(slack, caplog):
    caplog.set_level(logging.DEBUG)
    async with clients_of(slack, token=slack.bot_token) as clients:
        api = WebApi(clients, FakeClock())
        with pytest.raises(DeliveryError) as refused:
            await api.ask(
                slack.workspace.id, lambda client: client.chat_postMessage(channel="C404", text="for your eyes only")
            )
    said = caplog.text + str(refused.value)
    assert "your eyes" not in said
    assert slack.bot_token not in said


@pytest.mark.parametrize("trouble", [{"cut": True}, {"status": 503}, {"status": 429}, {"error": "internal_error"}])
async def test_who_a_bot_is_may_be_unknown_for_a_moment(slack, trouble):
    slack.fail("auth.test", **trouble)
    async with clients_of(slack, token=slack.bot_token) as clients:
        with pytest.raises(DeliveryDelayed):
            await clients.me(slack.workspace.id)
        assert (await clients.me(slack.workspace.id)).user_id == slack.workspace.bot.id


async def test_other_refusals_keep_slacks_word(slack):
    async with clients_of(slack, token=slack.bot_token) as clients:
        with pytest.raises(SlackRefused) as refused:
            await WebApi(clients, FakeClock()).ask(slack.workspace.id, lambda client: client.api_call("no.such.method"))
    assert refused.value.code == "unknown_method"


async def test_a_dead_token_of_the_settings_takes_no_installed_workspace_down(slack):
    clock, installations, other = FakeClock(), Installations(), slack.team("Globex")
    installations.tokens[other.id] = other.bot_token
    slack.revoked.add(slack.bot_token)
    async with clients_of(slack, clock, token=slack.bot_token, find_token=installations.find) as clients:
        for _ in range(3):
            assert (await clients.me(other.id)).team_id == other.id
            with pytest.raises(Unreachable):
                await clients.of(slack.workspace.id)
        refused = [request for request in slack.asked("auth.test") if request.token == slack.bot_token]
        assert len(refused) == 1
        slack.revoked.clear()
        await clock.advance(timedelta(minutes=6))
        assert (await clients.of(slack.workspace.id)).token == slack.bot_token


async def test_a_workspace_that_slack_is_slow_about_holds_no_other_up(slack):
    other, installations = slack.team("Globex"), Installations()
    installations.tokens |= {slack.workspace.id: slack.bot_token, other.id: other.bot_token}
    async with clients_of(slack, find_token=installations.find) as clients:
        await clients.me(slack.workspace.id)
        hung = slack.hang("auth.test")
        asking = asyncio.create_task(clients.me(other.id))
        await slack.until(lambda: len(slack.asked("auth.test")) == 2)
        assert (await clients.me(slack.workspace.id)).team_id == slack.workspace.id
        hung.release()
        assert (await asking).team_id == other.id
