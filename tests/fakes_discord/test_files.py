"""Attachments both ways, from a host that may misbehave."""

import asyncio
import io

import aiohttp
import discord as library
import pytest

from tests.fakes.discord import Attachment, FakeDiscord, File
from tests.fakes_discord.clients import logged_in, running
from tests.fakes_discord.test_sending import code_of

pytestmark = pytest.mark.anyio


async def test_a_file_that_somebody_attached_can_be_read() -> None:
    async with FakeDiscord() as discord:
        general, alice = discord.guild("Home").channel("general"), discord.user("alice")
        async with running(discord) as client:
            await alice.say(general, "look", attachments=[File("a.txt", b"words"), File("b.png", b"png", size=99)])
            await discord.until(lambda: client.heard)
            text, picture = client.heard[0].attachments
            assert await text.read() == b"words"
            assert (text.content_type, picture.content_type, picture.size) == ("text/plain", "image/png", 99)
            assert general.messages[0].attachments[0].fetched == 1


async def test_the_bot_can_attach_files_and_take_them_away() -> None:
    async with FakeDiscord() as discord, logged_in(discord) as client:
        general = discord.guild("Home").channel("general")
        channel = client.get_partial_messageable(general.id)
        files = [library.File(io.BytesIO(data), name) for name, data in (("a.md", b"# A"), ("b.md", b"# B"))]
        sent = await channel.send("here", files=files)
        assert [(file.name, file.data) for file in general.messages[0].attachments] == [("a.md", b"# A"), ("b.md", b"# B")]
        await sent.edit(attachments=[sent.attachments[1]])
        assert [file.name for file in general.messages[0].attachments] == ["b.md"]
        too_large = library.File(io.BytesIO(bytes(10 * 1024 * 1024 + 1)), "c.bin")
        assert await code_of(channel.send(file=too_large)) == (413, 40005)


async def fetch(attachment: Attachment, **options: object) -> tuple[int, bytes]:
    async with aiohttp.ClientSession() as session, session.get(attachment.url, **options) as response:
        return response.status, await response.read()


async def test_the_host_misbehaves_as_told() -> None:
    async with FakeDiscord() as discord:
        general, alice = discord.guild("Home").channel("general"), discord.user("alice")
        ways = ("expired", "redirect", "bomb", "cut", "slow", "endless", "hang")
        files = [File(f"{way}.txt", b"words", serve=way) for way in ways]
        said = await alice.say(general, attachments=files)
        expired, redirect, bomb, cut, slow, endless, hang = said.attachments
        assert (await fetch(expired))[0] == 404
        assert (await fetch(redirect, allow_redirects=False))[0] == 302
        assert len((await fetch(bomb))[1]) == 64 * 1024 * 1024
        with pytest.raises(aiohttp.ClientPayloadError):
            await fetch(cut)
        assert await fetch(slow) == (200, b"words")
        for attachment in (endless, hang):
            with pytest.raises(asyncio.TimeoutError):
                await fetch(attachment, timeout=aiohttp.ClientTimeout(total=0.1))


async def test_an_expired_url_is_replaced_by_the_message_fetched_anew() -> None:
    async with FakeDiscord() as discord, logged_in(discord) as client:
        general, alice = discord.guild("Home").channel("general"), discord.user("alice")
        said = await alice.say(general, attachments=[File("a.txt", b"words")])
        channel = client.get_partial_messageable(general.id)
        old = (await channel.fetch_message(said.id)).attachments[0]
        said.attachments[0].expire()
        with pytest.raises(library.NotFound):
            await old.read()
        assert await (await channel.fetch_message(said.id)).attachments[0].read() == b"words"
