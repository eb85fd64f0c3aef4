"""Reading what people attach: with the token for Slack alone, up to a limit, and never a page to sign in."""

import asyncio
from datetime import timedelta

import pytest
from aiohttp import web
from yarl import URL

from bot.adapters.slack.clients import SLACK
from bot.adapters.slack.files import file_hosts
from bot.adapters.slack.surface import SlackSurface
from bot.chat.protocol import FileOffer, FileUnreadable
from tests.adapters.slack.showing import below, offer, surface_on
from tests.fakes.clock import FakeClock
from tests.fakes.slack import File, Message

pytestmark = pytest.mark.anyio


async def read(surface: SlackSurface, message: Message, *, limit: int = 10_000) -> bytes:
    return await surface.read_file(below(message), message.ts, offer(message), limit=limit)


async def test_a_file_is_read_with_the_token_to_its_end_or_to_the_limit(surface, slack, ada):
    message = await ada.say(ada.dm, "", files=[File("notes.txt", b"0123456789")])
    assert await read(surface, message) == b"0123456789"
    assert await read(surface, message, limit=4) == b"0123"
    assert {token for _, token in slack.downloads} == {slack.bot_token}


async def test_the_size_that_is_told_is_not_believed(surface, ada):
    message = await ada.say(ada.dm, "", files=[File("notes.txt", b"", serve="endless", size=10)])
    assert len(await read(surface, message, limit=100_000)) == 100_000


@pytest.mark.parametrize(
    ("serve", "why"),
    [
        ("login", "files:read"),
        ("redirect", "files:read"),  # to the page to sign in
        ("cut", "broke off"),
        ("bomb", "compressed"),
        ("gone", "no longer there"),
    ],
)
async def test_a_file_that_is_served_badly_is_unreadable_and_says_why(surface, ada, serve, why):
    message = await ada.say(ada.dm, "", files=[File("notes.txt", b"x" * 1000, serve=serve)])
    with pytest.raises(FileUnreadable, match=why):
        await read(surface, message)


async def test_a_page_that_people_attach_is_a_file_and_the_page_to_sign_in_is_none(surface, ada):
    page = b"<!DOCTYPE html><html><head><title>My page</title></head></html>"
    assert await read(surface, await ada.say(ada.dm, "", files=[File("page.html", page)])) == page
    with pytest.raises(FileUnreadable, match="files:read"):
        await read(surface, await ada.say(ada.dm, "", files=[File("page.html", page, serve="login")]))


async def test_without_the_scope_the_remedy_is_told(surface, slack, ada):
    slack.workspace.scopes.remove("files:read")
    with pytest.raises(FileUnreadable, match="files:read"):
        await read(surface, await ada.say(ada.dm, "", files=[File("notes.txt", b"notes")]))


@pytest.mark.parametrize("serve", ["hang", "slow"])
async def test_a_file_that_takes_too_long_is_given_up(slack, ada, serve):
    clock = FakeClock()
    message = await ada.say(ada.dm, "", files=[File("notes.txt", b"x" * 10_000, serve=serve)])
    async with surface_on(slack, clock) as surface:
        reading = asyncio.create_task(read(surface, message))
        await slack.until(lambda: message.files[0].fetched)
        await clock.advance(timedelta(seconds=15))
        with pytest.raises(FileUnreadable, match="too long"):
            await reading


async def test_an_app_that_is_not_installed_reads_nothing(slack, ada):
    message = await ada.say(ada.dm, "", files=[File("notes.txt", b"notes")])
    async with surface_on(slack, installed=False) as surface:
        with pytest.raises(FileUnreadable):
            await read(surface, message)


# Where the token may go


async def test_the_token_goes_nowhere_else(surface, ada):
    asked: list[web.Request] = []

    async def greedy(request: web.Request) -> web.Response:
        asked.append(request)
        return web.Response(body=b"give me your token")

    app = web.Application()
    app.router.add_get("/{path:.*}", greedy)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        elsewhere = f"http://127.0.0.1:{runner.addresses[0][1]}/files-pri/T1-F1/notes.txt"
        external = await ada.say(ada.dm, "", files=[File("notes.txt", b"", url=elsewhere)])
        with pytest.raises(FileUnreadable, match="does not lead to Slack"):
            await read(surface, external)
        moved = await ada.say(ada.dm, "", files=[File("notes.txt", b"x", serve="redirect", elsewhere=elsewhere)])
        with pytest.raises(FileUnreadable):
            await read(surface, moved)
    finally:
        await runner.cleanup()
    assert asked == []


@pytest.mark.parametrize(
    "link",
    [
        "http://files.slack.com/files-pri/T1-F1/a.txt",
        "https://files.slack.com:8443/a.txt",
        "https://files.slack.com.example.com/a.txt",
        "https://someone:secret@files.slack.com/a.txt",
        "https://acme.slack.com/a.txt",
        "https://example.com/https://files.slack.com/a.txt",
        "file:///etc/passwd",
        "//files.slack.com/a.txt",
        "https://[files.slack.com/a.txt",
        "",
    ],
)
async def test_a_link_that_leads_elsewhere_is_not_followed(surface, slack, ada, link):
    place = below(await ada.say(ada.dm, "hello"))
    file = FileOffer(name="a.txt", media_type="text/plain", size=1, url=link)
    with pytest.raises(FileUnreadable, match="its link"):
        await surface.read_file(place, "1", file, limit=100)


def test_files_come_from_slacks_file_host_and_the_web_apis():
    assert file_hosts(SLACK) == {URL("https://files.slack.com"), URL("https://slack.com")}
    assert file_hosts("http://127.0.0.1:81/api/") == {URL("https://files.slack.com"), URL("http://127.0.0.1:81")}
