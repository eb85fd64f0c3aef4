"""Reading attachments: from Discord's hosts, up to a limit, within a time, and with a new link when the old one is over."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import timedelta

import pytest
from aiohttp import web
from yarl import URL

from bot.adapters import downloads
from bot.adapters.discord.endpoints import API_BASE_URL
from bot.adapters.discord.files import download, file_hosts
from bot.adapters.discord.surface import DiscordSurface
from bot.chat.protocol import Address, FileOffer, FileUnreadable
from tests.adapters.discord.pointing import logged_in
from tests.fakes.clock import FakeClock
from tests.fakes.discord import File, Message

pytestmark = pytest.mark.anyio

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


def sent(message: Message, number: int = 0) -> tuple[Address, str, FileOffer]:
    """Where the message is, and its file as the adapter offers it."""
    file = message.attachments[number]
    place = Address(platform="discord", workspace="", channel=str(message.channel.id), reply_to=str(message.id))
    return place, str(message.id), FileOffer(name=file.name, media_type="", size=len(file.data), url=file.url)


async def test_a_file_is_read_to_its_end_or_to_the_limit(surface, general, alice):
    message = await alice.say(general, "", attachments=[File("notes.txt", b"0123456789")])
    assert await surface.read_file(*sent(message), limit=100) == b"0123456789"
    assert await surface.read_file(*sent(message), limit=10) == b"0123456789"
    assert await surface.read_file(*sent(message), limit=4) == b"0123"


async def test_the_size_that_is_told_is_not_believed(surface, general, alice):
    endless = await alice.say(general, "", attachments=[File("notes.txt", b"", serve="endless", size=10)])
    assert len(await surface.read_file(*sent(endless), limit=100_000)) == 100_000


@pytest.mark.parametrize(
    ("serve", "why"), [("cut", "broke off"), ("bomb", "compressed"), ("redirect", "302"), ("expired", "no longer there")]
)
async def test_a_file_that_is_served_badly_is_unreadable_and_says_why(surface, general, alice, serve, why):
    message = await alice.say(general, "", attachments=[File("notes.txt", b"x" * 1000, serve=serve)])
    with pytest.raises(FileUnreadable, match=why):
        await surface.read_file(*sent(message), limit=10_000)


@pytest.mark.parametrize("serve", ["hang", "slow"])
async def test_a_file_that_takes_too_long_is_given_up(fake, general, alice, serve):
    clock = FakeClock()
    message = await alice.say(general, "", attachments=[File("notes.txt", b"x" * 10_000, serve=serve)])
    async with logged_in(fake) as client:
        surface = DiscordSurface(client, clock, api_base_url=fake.api_url)
        reading = asyncio.create_task(surface.read_file(*sent(message), limit=10_000))
        await fake.until(lambda: message.attachments[0].fetched)
        await clock.advance(timedelta(seconds=15))
        with pytest.raises(FileUnreadable, match="too long"):
            await reading


# Links that are over


async def test_an_expired_link_is_renewed_from_its_message(surface, general, alice):
    message = await alice.say(general, "", attachments=[File("notes.txt", b"one"), File("notes.txt", b"two")])
    place, message_id, second = sent(message, 1)
    for file in message.attachments:
        file.expire()
    assert await surface.read_file(place, message_id, second, limit=100) == b"two"


async def test_the_link_of_a_forwarded_file_is_renewed_too(surface, general, alice):
    original = await alice.say(general, "", attachments=[File("notes.txt", b"one")])
    forwarded = await alice.say(general, "", forward=original)
    _, _, file = sent(original)
    place = Address(platform="discord", workspace="", channel=str(general.id), reply_to=str(forwarded.id))
    original.attachments[0].expire()
    assert await surface.read_file(place, str(forwarded.id), file, limit=100) == b"one"


async def test_the_question_that_a_thread_begins_at_stands_in_the_channel(surface, general, alice):
    message = await alice.say(general, "", attachments=[File("notes.txt", b"one")])
    await general.thread_from(message, "notes")
    place, message_id, file = sent(message)
    in_thread = Address(platform="discord", workspace="", channel=place.channel, thread=message_id, reply_to=message_id)
    message.attachments[0].expire()
    assert await surface.read_file(in_thread, message_id, file, limit=100) == b"one"


async def test_a_file_of_a_deleted_message_is_not_there_any_more(surface, general, alice):
    message = await alice.say(general, "", attachments=[File("notes.txt", b"one")])
    told = sent(message)
    message.attachments[0].expire()
    await alice.delete(message)
    with pytest.raises(FileUnreadable, match="no longer there"):
        await surface.read_file(*told, limit=100)


@pytest.mark.parametrize("status", [403, 503, None])
async def test_when_no_new_link_is_to_be_had_the_file_is_unreadable(surface, fake, general, alice, status):
    message = await alice.say(general, "", attachments=[File("notes.txt", b"one")])
    told = sent(message)
    message.attachments[0].expire()
    fake.fail("GET", "/channels/*/messages/*", status=status, times=9)
    with pytest.raises(FileUnreadable, match="expired"):
        await surface.read_file(*told, limit=100)


# Where links may lead


def test_files_come_from_discords_own_hosts_and_from_a_stand_in():
    assert file_hosts(API_BASE_URL) == {URL("https://cdn.discordapp.com"), URL("https://media.discordapp.net")}
    assert URL("http://127.0.0.1:8080") in file_hosts("http://127.0.0.1:8080/api/v10")


@pytest.mark.parametrize(
    "link",
    [
        "http://cdn.discordapp.com/attachments/1/2/a.txt",
        "https://cdn.discordapp.com:8443/attachments/1/2/a.txt",
        "https://cdn.discordapp.com.example.com/attachments/1/2/a.txt",
        "https://someone:secret@cdn.discordapp.com/attachments/1/2/a.txt",
        "https://example.com/https://cdn.discordapp.com/a.txt",
        "https://127.0.0.1/a.txt",
        "http://169.254.169.254/latest/meta-data/",
        "file:///etc/passwd",
        "//cdn.discordapp.com/a.txt",
        "attachments/1/2/a.txt",
        "https://[cdn.discordapp.com/a.txt",
        "https://cdn.discordapp.com:port/a.txt",
        "",
    ],
)
async def test_a_link_that_leads_elsewhere_is_not_followed(link):
    with pytest.raises(FileUnreadable, match="its link"):
        await download(link, hosts=file_hosts(API_BASE_URL), limit=100)


@asynccontextmanager
async def host(handler: Handler) -> AsyncIterator[URL]:
    """Serve a file in a way of its own."""
    app = web.Application()
    app.router.add_get("/file", handler)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        yield URL.build(scheme="http", host="127.0.0.1", port=runner.addresses[0][1], path="/file")
    finally:
        await runner.cleanup()


async def test_the_host_learns_nothing_about_us():
    asked: list[web.Request] = []

    async def greedy(request: web.Request) -> web.Response:
        asked.append(request)
        response = web.Response(body=b"hello")
        response.set_cookie("who", "you")
        return response

    async with host(greedy) as url:
        for _ in range(2):
            assert await download(str(url), hosts=frozenset({url.origin()}), limit=100) == b"hello"
    for request in asked:
        assert {"Authorization", "Cookie", "Referer"}.isdisjoint(request.headers)
        assert request.headers["Accept-Encoding"] == "identity"


async def test_a_redirect_is_not_followed_even_on_the_same_host():
    async def elsewhere(request: web.Request) -> web.Response:
        assert "again" not in request.query
        raise web.HTTPFound("/file?again=1")

    async with host(elsewhere) as url:
        with pytest.raises(FileUnreadable, match="302"):
            await download(str(url), hosts=frozenset({url.origin()}), limit=100)


async def test_nothing_is_read_that_nobody_wants(monkeypatch):
    monkeypatch.setattr(downloads, "CHUNK", 1000)
    done = asyncio.Event()

    async def endless(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        try:
            await response.prepare(request)
            while True:
                await response.write(bytes(1000))
        finally:
            done.set()  # the reader hung up

    async with host(endless) as url:
        assert await download(str(url), hosts=frozenset({url.origin()}), limit=2500) == bytes(2500)
        await done.wait()


async def test_a_host_that_is_away_makes_the_file_unreadable():
    async def silent(request: web.Request) -> web.Response:
        return web.Response()

    async with host(silent) as url:
        pass  # and gone
    with pytest.raises(FileUnreadable, match="connection"):
        await download(str(url), hosts=frozenset({url.origin()}), limit=100)
