"""Workspaces install the app by themselves: who may, how often, and what leads nowhere."""

import asyncio
from datetime import timedelta
from pathlib import Path
from urllib.parse import parse_qs, urlencode, urlsplit

import pytest

from bot.adapters.slack.oauth import INSTALL_PATH, STATE_LIFE, OneTimeStates
from bot.adapters.slack.scopes import SCOPES
from bot.chat import words
from bot.chat.protocol import Unreachable
from store import Installation, StoreUnavailable, open_store
from tests.adapters.slack.installing import Installable, Page, installable
from tests.fakes.clock import FakeClock
from tests.fakes.slack import FakeSlack

pytestmark = pytest.mark.anyio


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


async def test_no_script_reads_the_cookie_that_binds_the_way_back_to_a_browser() -> None:
    async with FakeSlack() as slack, installable(slack) as here:
        async with here.session.get(f"{here.address}{INSTALL_PATH}", allow_redirects=False) as page:
            cookie = page.headers["Set-Cookie"]
        assert all(word in cookie for word in ("Secure", "HttpOnly", "Path=/"))
