"""What the doctor says of Slack: each finding names what was looked at, and what to click."""

from datetime import timedelta
from typing import Any

import aiohttp
import pytest

from bot.adapters.slack.examination import examine_slack
from bot.adapters.slack.scopes import SCOPES
from bot.findings import Finding, Verdict
from tests.fakes.clock import FakeClock
from tests.fakes.slack import FakeSlack

pytestmark = pytest.mark.anyio

GOOD, NOTE, BAD = Verdict.GOOD, Verdict.NOTE, Verdict.BAD


def slack_of(clock: FakeClock) -> FakeSlack:
    slack = FakeSlack(clock=clock)
    slack.workspace.scopes = set(SCOPES)
    return slack


async def examined(slack: FakeSlack, clock: FakeClock, **parts: Any) -> list[Finding]:
    tokens: dict[str, Any] = {"bot_token": slack.bot_token, "app_token": slack.app_token}
    return await examine_slack(**(tokens | parts), clock=clock, base_url=slack.api_url)


def told(findings: list[Finding], verdict: Verdict) -> list[str]:
    return [finding.text for finding in findings if finding.verdict is verdict]


async def test_all_is_well_by_socket() -> None:
    clock = FakeClock()
    async with slack_of(clock) as slack:
        findings = await examined(slack, clock)
        assert told(findings, BAD) == []
        assert [text.partition(",")[0] for text in told(findings, GOOD)] == [
            "Acme: the bot token is good",
            "its scopes are those of the manifest",
            "Socket Mode works",
        ]
        await slack.until(lambda: not slack.sockets)  # it stays with nobody


async def test_what_nobody_can_read_is_said_and_not_called_good() -> None:
    clock = FakeClock()
    async with slack_of(clock) as slack:
        (note,) = told(await examined(slack, clock), NOTE)
        assert "event subscriptions can't be read" in note
        assert "docs/slack-manifest.yaml" in note


async def test_a_missing_scope_is_named_with_what_to_click() -> None:
    clock = FakeClock()
    async with slack_of(clock) as slack:
        slack.workspace.scopes -= {"im:history", "users:read"}
        (bad,) = told(await examined(slack, clock), BAD)
        assert bad.startswith("it lacks the scopes im:history, users:read: ")
        assert "OAuth & Permissions" in bad
        assert "Reinstall" in bad


async def test_a_scope_too_many_is_a_note() -> None:
    clock = FakeClock()
    async with slack_of(clock) as slack:
        slack.workspace.scopes |= {"reactions:write"}
        assert any("it has the scope reactions:write more" in text for text in told(await examined(slack, clock), NOTE))


async def test_a_dead_bot_token_is_told_from_a_slack_that_can_not_be_asked() -> None:
    clock = FakeClock()
    async with slack_of(clock) as slack:
        slack.revoked.add(slack.bot_token)
        (bad,) = told(await examined(slack, clock), BAD)
        assert bad.startswith("SLACK_BOT_TOKEN is not accepted (token_revoked): copy it anew")
        slack.revoked.clear()
        slack.fail("auth.test", status=500)
        (bad,) = told(await examined(slack, clock), BAD)
        assert "can't be asked right now" in bad


async def test_a_bot_token_in_place_of_the_app_token_is_not_accepted() -> None:
    clock = FakeClock()
    async with slack_of(clock) as slack:
        (bad,) = told(await examined(slack, clock, app_token=slack.bot_token), BAD)
        assert bad.startswith("SLACK_APP_TOKEN is not accepted (not_allowed_token_type)")
        assert "connections:write" in bad


async def test_a_second_parley_on_the_same_app_is_noticed() -> None:
    clock = FakeClock()
    async with slack_of(clock) as slack:
        url = slack.socket_mode.ticket()
        async with aiohttp.ClientSession() as session, session.ws_connect(url):
            await slack.until(lambda: slack.sockets)
            notes = told(await examined(slack, clock), NOTE)
        assert any("1 more socket is open" in text for text in notes)


@pytest.mark.parametrize(
    ("wrong", "direction"), [(timedelta(minutes=2), "ahead of"), (timedelta(minutes=-2), "behind")], ids=["ahead", "behind"]
)
async def test_a_clock_that_is_wrong_is_noticed(wrong: timedelta, direction: str) -> None:
    theirs, ours = FakeClock(), FakeClock()
    ours.set_wall_clock(wrong)
    async with slack_of(theirs) as slack:
        assert any(f"120 s {direction} Slack's" in text for text in told(await examined(slack, ours), NOTE))


async def test_by_http_a_clock_five_minutes_off_refuses_everything() -> None:
    theirs, ours = FakeClock(), FakeClock()
    ours.set_wall_clock(timedelta(minutes=6))
    async with slack_of(theirs) as slack:
        findings = await examined(slack, ours, app_token=None)
        assert any("refused until then" in text for text in told(findings, BAD))
        assert any("/slack/events" in text for text in told(findings, NOTE))
        assert slack.asked("apps.connections.open") == []


async def test_installed_by_oauth_there_is_no_token_to_look_at() -> None:
    clock = FakeClock()
    async with slack_of(clock) as slack:
        findings = await examined(slack, clock, bot_token=None, installs=True)
        assert any("OAuth" in text for text in told(findings, NOTE))
        assert slack.asked("auth.test") == []


async def test_a_slack_that_is_not_there_is_a_finding() -> None:
    clock = FakeClock()
    findings = await examine_slack(bot_token="xoxb-1", app_token="xapp-1", clock=clock, base_url="http://127.0.0.1:9/api/")
    assert ["can't be asked right now" in text for text in told(findings, BAD)] == [True, True]
