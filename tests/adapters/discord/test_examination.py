"""The doctor's look at Discord: what is wrong with token, intent, address and permissions, and what to click."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from bot.adapters.discord.examination import examine_discord
from bot.adapters.discord.permissions import NEEDED, invite_url
from bot.findings import Finding, Verdict
from tests.fakes.discord import FakeDiscord, pointed_at

pytestmark = pytest.mark.anyio


@pytest.fixture
async def fake() -> Iterator[FakeDiscord]:
    async with FakeDiscord() as discord:
        with pointed_at(discord):
            yield discord


async def look(fake: FakeDiscord, *, token: str = "", message_content: bool = True) -> list[tuple[Verdict, str]]:
    found: list[Finding] = await examine_discord(token or fake.token, message_content=message_content)
    return [(finding.verdict, finding.text) for finding in found]


async def test_a_bot_that_may_do_everything_is_well(fake: FakeDiscord) -> None:
    guild = fake.guild("Home")
    guild.channel("general")
    guild.channel("voices", kind="voice")
    (application, server) = await look(fake)
    assert application[0] is Verdict.GOOD
    assert "message content intent is on" in application[1]
    assert server == (Verdict.GOOD, "Home: all is granted in 1 of 1 channels")


async def test_what_is_lacking_is_told_by_channel_and_by_the_names_that_people_see(fake: FakeDiscord) -> None:
    guild = fake.guild("Home")
    guild.channel("general")
    guild.channel("rules").deny("SEND_MESSAGES", "ATTACH_FILES")
    guild.channel("news").deny("SEND_MESSAGES", "ATTACH_FILES")
    guild.channel("secret").deny("VIEW_CHANNEL")
    _, (verdict, text) = await look(fake)
    assert verdict is Verdict.NOTE
    assert text.startswith("Home: all is granted in 1 of 4 channels, 1 are hidden; ")
    assert "in #rules, #news it lacks Send Messages, Attach Files" in text
    assert "Edit Channel > Permissions" in text


async def test_a_missing_intent_is_bad_and_says_what_to_click(fake: FakeDiscord) -> None:
    fake.message_content = False
    (verdict, text), *_ = await look(fake)
    assert verdict is Verdict.BAD
    assert "Privileged Gateway Intents" in text
    assert "DISCORD_MESSAGE_CONTENT=off" in text
    (verdict, text), *_ = await look(fake, message_content=False)
    assert verdict is Verdict.NOTE
    assert "commands only" in text


async def test_a_bot_in_no_server_is_told_the_link_that_invites_it(fake: FakeDiscord) -> None:
    *_, (verdict, text) = await look(fake)
    assert verdict is Verdict.NOTE
    assert invite_url(fake.application_id) in text


async def test_a_wrong_token_is_bad_and_not_repeated(fake: FakeDiscord) -> None:
    ((verdict, text),) = await look(fake, token="not.the.token")
    assert verdict is Verdict.BAD
    assert "reset it" in text
    assert "not.the.token" not in text


async def test_a_discord_that_is_away_is_bad_and_no_crash(fake: FakeDiscord) -> None:
    fake.fail("GET", "**", status=503, times=100)
    ((verdict, text),) = await look(fake)
    assert verdict is Verdict.BAD
    assert "discordstatus.com" in text


def test_the_readme_invites_with_what_is_needed_and_no_more() -> None:
    readme = Path(__file__).parents[3].joinpath("README.md").read_text()
    link = invite_url(1)
    permissions = link.rpartition("permissions=")[2]
    assert f"scope=bot+applications.commands&permissions={permissions}`" in readme
    assert "scope=bot+applications.commands" in link
    flat = " ".join(readme.split())
    for label in NEEDED.values():
        assert label in flat
