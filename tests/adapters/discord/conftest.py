"""A question on a fake Discord, and a surface that answers it."""

from collections.abc import AsyncIterator, Iterator

import discord
import pytest

from bot.adapters.discord.surface import DiscordSurface
from bot.chat.protocol import (
    Address,
)
from bot.clock import SystemClock
from tests.adapters.discord.pointing import fake_discord, logged_in
from tests.adapters.discord.replicas import MEMORY
from tests.engines.postgres import PostgresServer
from tests.fakes.discord import Channel, FakeDiscord, Guild, Message, User


@pytest.fixture
async def fake() -> AsyncIterator[FakeDiscord]:
    async with fake_discord() as fake:
        yield fake


@pytest.fixture(params=["sqlite", "postgres"])
def database(request: pytest.FixtureRequest) -> Iterator[str]:
    """Where replicas share a store, on each engine."""
    if request.param == "sqlite":
        yield MEMORY
        return
    with PostgresServer.made(options={"fsync": "off"}) as server:
        yield server.database()


@pytest.fixture
def guild(fake: FakeDiscord) -> Guild:
    return fake.guild("Home")


@pytest.fixture
def general(guild: Guild) -> Channel:
    return guild.channel("general")


@pytest.fixture
def alice(fake: FakeDiscord, guild: Guild) -> User:
    alice = fake.user("alice")
    guild.join(alice)
    return alice


@pytest.fixture
async def question(alice: User, general: Channel) -> Message:
    return await alice.say(general, "**What** is <@1234567890> a monad?")


@pytest.fixture
async def client(fake: FakeDiscord) -> AsyncIterator[discord.Client]:
    async with logged_in(fake) as client:
        yield client


@pytest.fixture
def surface(client: discord.Client, fake: FakeDiscord) -> DiscordSurface:
    return DiscordSurface(client, SystemClock(), api_base_url=fake.api_url)


@pytest.fixture
def address(guild: Guild, general: Channel, question: Message) -> Address:
    """The answer goes below the question."""
    return Address(platform="discord", workspace=str(guild.id), channel=str(general.id), reply_to=str(question.id))


@pytest.fixture
def in_thread(address: Address) -> Address:
    """The answer goes into a thread that begins at the question."""
    return Address(
        platform="discord",
        workspace=address.workspace,
        channel=address.channel,
        thread=address.reply_to,
        reply_to=address.reply_to,
    )
