"""Workspaces install the app by themselves and take it away again, and what belongs to one goes with it alone."""

import asyncio
from datetime import timedelta
from pathlib import Path
from urllib.parse import parse_qs, urlencode, urlsplit

import pytest

from bot.adapters.slack.oauth import INSTALL_PATH, STATE_LIFE, OneTimeStates
from bot.adapters.slack.scopes import SCOPES
from bot.chat import words
from bot.chat.protocol import DeliveryDelayed, Unreachable
from store import ChannelSetting, ConversationKey, Installation, NewMessage, Store, StoreUnavailable, Watermark, open_store
from tests.adapters.slack.installing import Installable, Page, installable
from tests.fakes.clock import FakeClock
from tests.fakes.slack import FakeSlack, Team

pytestmark = pytest.mark.anyio


async def furnish(here: Installable, workspace: str) -> int:
    """Let there be something of a workspace in the store; returns the conversation."""
    key = ConversationKey(platform="slack", workspace=workspace, channel="C1")
    message = NewMessage(
        key=key,
        event_id="",
        message_id="1700.1",
        position=1,
        author_id="U1",
        author_name="Ada",
        text="hello",
        address="there",
        at=here.clock.now(),
    )
    conversation_id = await here.store.accept(message)
    assert conversation_id is not None
    choice = ChannelSetting(platform="slack", workspace=workspace, channel="C1", name="trigger", value="listen")
    await here.store.put_setting(choice, at=here.clock.now())
    mark = Watermark(workspace=workspace, channel="C1", thread="", position=1)
    await here.store.mark("slack", [mark], at=here.clock.now())
    await here.rules.load("slack")
    return conversation_id


async def furnished(store: Store) -> set[str]:
    """Tell of which workspaces there is anything in the store."""
    workspaces = {mark.workspace for mark in await store.watermarks("slack")}
    workspaces |= {setting.workspace for setting in await store.settings("slack")}
    for workspace in ("T1", "T2", *workspaces):
        if await store.conversations_of("slack", workspace, "U1", limit=1):
            workspaces.add(workspace)
    return workspaces | {kept.workspace for kept in await store.installations("slack")}


def query_of(url: str) -> dict[str, str]:
    return {name: values[0] for name, values in parse_qs(urlsplit(url).query).items()}


# Installing


async def test_who_installs_the_app_is_answered_with_their_own_token_at_once() -> None:
    async with FakeSlack() as slack, installable(slack) as here:
        other = slack.team("Other & <Co>")
        ada, bob = slack.workspace.user("Ada"), other.user("Bob")
        for person in (ada, bob):
            with pytest.raises(Unreachable):
                await here.clients.of(person.team.id)
            page = await here.install(person)
            assert page.status == 200
            assert (await here.clients.of(person.team.id)).token == person.team.bot_token
        assert "Parley is in Other &amp; &lt;Co&gt; now" in page.text
        assert f"app={slack.app_id}&amp;team={other.id}" in page.text
        for person in (ada, bob):
            await person.say(person.team.channel("general", person), "hello")
        await here.told()
        assert sorted(here.heard) == sorted([(slack.workspace.id, "hello"), (other.id, "hello")])


async def test_slack_is_asked_for_the_scopes_of_the_manifest_and_for_nothing_of_the_user() -> None:
    async with FakeSlack() as slack, installable(slack) as here:
        browser = here.browser()
        assert await browser.begin("?team=T0ABC") == 302
        assert browser.asked.startswith(f"{slack.authorize_url}?")
        asked = query_of(browser.asked)
        assert set(asked.pop("scope").split(",")) == SCOPES
        assert asked.pop("state") in browser.cookie
        assert asked == {"client_id": slack.client_id, "team": "T0ABC"}


@pytest.mark.parametrize("team", ["T1%0d%0aSet-Cookie:%20a=b", "T1%26scope=admin", "t1", "", "T" * 99])
async def test_no_other_words_get_into_the_way_to_slack(team: str) -> None:
    async with FakeSlack() as slack, installable(slack) as here:
        browser = here.browser()
        assert await browser.begin(f"?team={team}") == 302
        assert set(query_of(browser.asked)) == {"client_id", "scope", "state"}


async def test_a_redirect_url_in_the_environment_is_none_of_ours(monkeypatch) -> None:
    monkeypatch.setenv("SLACK_REDIRECT_URI", "https://evil.example.com")
    async with FakeSlack() as slack, installable(slack) as here:
        assert (await here.install(slack.workspace.user("Ada"))).status == 200
        (asked,) = slack.asked("oauth.v2.access")
        assert "redirect_uri" not in asked.body


async def test_an_installation_of_a_whole_enterprise_serves_its_workspaces() -> None:
    async with FakeSlack() as slack, installable(slack) as here:
        first, second = (slack.team(name, enterprise="E1", org_wide=True) for name in ("One", "Two"))
        page = await here.install(first.user("Ada"))
        assert (page.status, "Parley is in Enterprise now" in page.text) == (200, True)
        bob = second.user("Bob")
        await bob.say(second.channel("general", bob), "hello")
        await here.told()
        assert here.heard == [("E1", "hello")]
        assert (await here.clients.of("E1")).token == first.bot_token


async def test_a_workspace_that_installs_the_app_again_is_served_with_its_new_token() -> None:
    async with FakeSlack() as slack, installable(slack) as here:
        ada, team = slack.workspace.user("Ada"), slack.workspace
        await here.install(ada)
        old = (await here.clients.of(team.id)).token
        team.reinstall()
        await here.install(ada)
        assert (await here.clients.of(team.id)).token == team.bot_token != old


async def test_installations_are_there_after_a_restart(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/parley.db"
    async with FakeSlack() as slack:
        async with installable(slack, url) as here:
            await here.install(slack.workspace.user("Ada"))
        written = b"".join(path.read_bytes() for path in tmp_path.iterdir())
        assert slack.workspace.id.encode() in written
        assert slack.bot_token.encode() not in written
        assert b"xoxb-" not in written
        async with installable(slack, url) as here:
            assert (await here.clients.of(slack.workspace.id)).token == slack.bot_token


# Ways that lead nowhere


async def nothing_is_installed(here: Installable, page: Page, status: int) -> None:
    assert page.status == status
    assert words.INSTALL_FAILED in page.text
    assert f'href="{INSTALL_PATH}"' in page.text
    assert await here.store.installations("slack") == ()
    assert here.slack.asked("oauth.v2.access") == []


async def test_another_browser_can_not_use_the_way_back() -> None:
    async with FakeSlack() as slack, installable(slack) as here:
        slack.workspace.user("Ada")
        mine, theirs = here.browser(), here.browser()
        await mine.begin()
        await mine.allow()
        await theirs.begin()
        theirs.back = mine.back
        await nothing_is_installed(here, await theirs.come_back(), 400)
        theirs.cookie = ""
        await nothing_is_installed(here, await theirs.come_back(), 400)


@pytest.mark.parametrize("state", ["x", "", "AAAA", "ä", "A" * 76, "=" * 80])
async def test_a_state_that_we_did_not_issue_is_refused(state: str) -> None:
    async with FakeSlack() as slack, installable(slack) as here:
        browser = here.browser()
        browser.cookie = f"slack-app-oauth-state={state}"
        code = slack.grant(slack.workspace.user("Ada"))
        browser.back = f"{slack.redirect_url}?{urlencode({'code': code, 'state': state})}"
        page = await browser.come_back()
        assert page.status in (400, 401)
        await nothing_is_installed(here, page, page.status)


async def test_a_way_back_that_took_too_long_is_refused() -> None:
    async with FakeSlack() as slack, installable(slack) as here:
        slack.workspace.user("Ada")
        browser = here.browser()
        await browser.begin()
        await browser.allow()
        await here.clock.advance(STATE_LIFE + timedelta(seconds=1))
        await nothing_is_installed(here, await browser.come_back(), 401)


async def test_a_way_back_works_once_also_when_it_is_taken_twice_at_once() -> None:
    async with FakeSlack() as slack, installable(slack) as here:
        slack.workspace.user("Ada")
        browser = here.browser()
        await browser.begin()
        await browser.allow()
        pages = await asyncio.gather(*(browser.come_back() for _ in range(5)))
        assert sorted(page.status for page in pages) == [200, 401, 401, 401, 401]
        assert len(slack.asked("oauth.v2.access")) == 1
        assert (await browser.come_back()).status == 401


async def test_who_does_not_want_it_after_all_is_told_so() -> None:
    async with FakeSlack() as slack, installable(slack) as here:
        browser = here.browser()
        browser.back = f"{slack.redirect_url}?error=access_denied"
        page = await browser.come_back()
        assert (page.status, words.INSTALL_CANCELLED in page.text) == (200, True)
        browser.back = f"{slack.redirect_url}?error=%3Cscript%3Ealert(1)%3C/script%3E"
        page = await browser.come_back()
        assert (page.status, words.INSTALL_FAILED in page.text, "script" in page.text) == (200, True, False)


@pytest.mark.parametrize("code", ["invented", None])
async def test_a_code_that_is_not_slacks_installs_nothing(code: str | None) -> None:
    async with FakeSlack() as slack, installable(slack) as here:
        browser = here.browser()
        await browser.begin()
        named = {"state": query_of(browser.asked)["state"]} | ({"code": code} if code else {})
        browser.back = f"{slack.redirect_url}?{urlencode(named)}"
        page = await browser.come_back()
        assert (page.status, words.INSTALL_FAILED in page.text) == (401, True)
        assert await here.store.installations("slack") == ()


@pytest.mark.parametrize("method", ["oauth.v2.access", "auth.test"])
async def test_when_slack_does_not_answer_people_are_asked_to_begin_again(method: str) -> None:
    async with FakeSlack() as slack, installable(slack) as here:
        slack.fail(method, cut=True)
        page = await here.install(slack.workspace.user("Ada"))
        assert page == Page(503, f"{words.INSTALL_LATER}\n")
        assert (await here.install(next(iter(slack.workspace.users.values())))).status == 200


async def test_when_the_store_fails_people_are_asked_to_begin_again(monkeypatch) -> None:
    async with FakeSlack() as slack, installable(slack) as here:

        async def full(installation: Installation) -> None:
            raise StoreUnavailable("the disk is full")

        with monkeypatch.context() as patched:
            patched.setattr(here.store, "put_installation", full)
            assert (await here.install(slack.workspace.user("Ada"))).status == 503
        assert (await here.install(next(iter(slack.workspace.users.values())))).status == 200


async def test_before_it_is_open_and_once_it_is_closed_nothing_can_be_installed() -> None:
    async with FakeSlack() as slack, installable(slack) as here:
        slack.workspace.user("Ada")
        browser = here.browser()
        await browser.begin()
        await browser.allow()
        here.pages.close()
        assert await here.browser().begin() == 503
        assert (await browser.come_back()).status == 503
        async with here.session.head(f"{here.address}{INSTALL_PATH}") as answer:
            assert answer.status == 405, "a look is no visit"


async def test_states_of_the_same_moment_differ_and_are_good_for_every_process_with_the_same_secret() -> None:
    clock = FakeClock()
    store = await open_store("sqlite:///:memory:", clock=clock.now)
    try:
        one, two, other = (OneTimeStates(store, secret, clock) for secret in ("secret", "secret", "another"))
        states = [await one.async_issue() for _ in range(20)]
        assert len(set(states)) == 20
        assert not await other.async_consume(states[0])
        assert await two.async_consume(states[0])
        assert not await one.async_consume(states[0])
        for changed in (states[1] + "A", states[1][:-1], states[1].swapcase()):
            assert not await one.async_consume(changed)
        await clock.advance(STATE_LIFE - timedelta(seconds=1))
        assert await one.async_consume(states[1])
        await clock.advance(timedelta(seconds=1))
        assert not await one.async_consume(states[2])
    finally:
        await store.aclose()


# Taking it away


async def test_uninstalling_erases_all_of_the_workspace_and_nothing_else() -> None:
    async with FakeSlack() as slack, installable(slack) as here:
        gone, other = slack.workspace, slack.team("Other")
        for team in (gone, other):
            await here.install(team.user("Ada"))
            await furnish(here, team.id)
        await gone.uninstall()
        await here.told()
        assert {delivery.name for delivery in slack.deliveries} == {"tokens_revoked", "app_uninstalled"}
        assert len(slack.acks) == 2
        assert await furnished(here.store) == {other.id}
        with pytest.raises(Unreachable):
            await here.clients.of(gone.id)
        assert (await here.clients.of(other.id)).token == other.bot_token
        assert here.rules.chosen("slack", gone.id, "C1") == {}
        assert here.rules.chosen("slack", other.id, "C1") == {"trigger": "listen"}


async def test_either_event_alone_or_any_number_of_copies_erases_it() -> None:
    for unsubscribed, copies in ({"tokens_revoked"}, 1), ({"app_uninstalled"}, 1), (set(), 4):
        async with FakeSlack() as slack, installable(slack) as here:
            slack.unsubscribed, slack.copies = unsubscribed, copies
            await here.install(slack.workspace.user("Ada"))
            await furnish(here, slack.workspace.id)
            await slack.workspace.uninstall()
            await here.told()
            assert await furnished(here.store) == set()
            assert all(attempt.acked for attempt in slack.attempts)


async def test_uninstalling_from_a_whole_enterprise_erases_what_is_kept_under_its_name() -> None:
    async with FakeSlack() as slack, installable(slack) as here:
        team = slack.team("One", enterprise="E1", org_wide=True)
        single = slack.team("Two", enterprise="E1")
        for installer in (team.user("Ada"), single.user("Bob")):
            await here.install(installer)
        for workspace in ("E1", single.id):
            await furnish(here, workspace)
        await team.uninstall()
        await here.told()
        assert await furnished(here.store) == {single.id}


async def test_a_workspace_of_a_single_token_is_erased_too() -> None:
    async with FakeSlack() as slack, installable(slack, token=slack.bot_token) as here:
        await furnish(here, slack.workspace.id)
        await slack.workspace.uninstall()
        await here.told()
        assert await furnished(here.store) == set()


async def test_whoever_installed_it_again_meanwhile_loses_nothing() -> None:
    async with FakeSlack() as slack, installable(slack) as here:
        ada = slack.workspace.user("Ada")
        await here.install(ada)
        await slack.hold_events()
        await slack.workspace.uninstall()
        await here.install(ada)
        await furnish(here, slack.workspace.id)
        await slack.release_events()
        await here.told()
        assert len(slack.acks) == 2
        assert await furnished(here.store) == {slack.workspace.id}
        assert (await here.clients.of(slack.workspace.id)).token == slack.workspace.bot_token


async def test_as_long_as_slack_does_not_say_whether_it_is_installed_nothing_is_erased_and_slack_tells_it_again() -> None:
    async with FakeSlack(retry_after=[timedelta()] * 3) as slack, installable(slack) as here:
        slack.unsubscribed = {"tokens_revoked"}
        await here.install(slack.workspace.user("Ada"))
        conversation_id = await furnish(here, slack.workspace.id)
        slack.fail("auth.test", status=500, times=2)
        hanging = slack.hang("auth.test")
        await slack.workspace.uninstall()
        await slack.until(lambda: len(slack.asked("auth.test")) == 4)
        assert len(await here.store.recent(conversation_id, 9)) == 1
        hanging.release()
        await here.told()
        assert [attempt.acked for attempt in slack.attempts] == [False, False, True]
        assert await furnished(here.store) == set()


async def test_a_store_that_fails_is_told_again(monkeypatch) -> None:
    async with FakeSlack(retry_after=[timedelta()] * 3) as slack, installable(slack) as here:
        slack.unsubscribed = {"tokens_revoked"}
        await here.install(slack.workspace.user("Ada"))
        await furnish(here, slack.workspace.id)
        purge, failures = here.store.purge_workspace, [StoreUnavailable("locked")]

        async def failing(platform: str, workspace: str) -> int:
            if failures:
                raise failures.pop()
            return await purge(platform, workspace)

        monkeypatch.setattr(here.store, "purge_workspace", failing)
        await slack.workspace.uninstall()
        await here.told()
        assert [attempt.acked for attempt in slack.attempts] == [False, True]
        assert await furnished(here.store) == set()


async def test_a_users_token_that_is_revoked_takes_only_that_users_installation() -> None:
    async with FakeSlack() as slack, installable(slack) as here:
        ada, bob = slack.workspace.user("Ada"), slack.workspace.user("Bob")
        for person in (ada, bob):
            await here.install(person)
        await furnish(here, slack.workspace.id)
        revoke(slack.workspace, oauth=[ada.id, "U-unknown"])
        await here.told()
        assert {kept.user for kept in await here.store.installations("slack")} == {"", bob.id}
        assert await furnished(here.store) == {slack.workspace.id}


async def test_a_bot_token_that_is_revoked_erases_the_workspace() -> None:
    async with FakeSlack() as slack, installable(slack) as here:
        await here.install(slack.workspace.user("Ada"))
        await furnish(here, slack.workspace.id)
        slack.revoked.add(slack.bot_token)
        revoke(slack.workspace, bot=[slack.workspace.bot.id])
        await here.told()
        assert await furnished(here.store) == set()


def revoke(team: Team, **tokens: list[str]) -> None:
    team.slack.dispatch.event(team, {"type": "tokens_revoked", "tokens": tokens})


async def test_a_store_that_does_not_tell_the_token_is_no_uninstalled_workspace(monkeypatch) -> None:
    async with FakeSlack() as slack, installable(slack) as here:
        await here.install(slack.workspace.user("Ada"))

        async def locked(platform: str, workspace: str = "") -> tuple[Installation, ...]:
            raise StoreUnavailable("locked")

        monkeypatch.setattr(here.store, "installations", locked)
        here.clients.forget(slack.workspace.id)
        with pytest.raises(DeliveryDelayed):
            await here.clients.of(slack.workspace.id)


async def test_no_script_reads_the_cookie_that_binds_the_way_back_to_a_browser() -> None:
    async with FakeSlack() as slack, installable(slack) as here:
        async with here.session.get(f"{here.address}{INSTALL_PATH}", allow_redirects=False) as page:
            cookie = page.headers["Set-Cookie"]
        assert all(word in cookie for word in ("Secure", "HttpOnly", "Path=/"))
