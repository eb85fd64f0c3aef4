"""A fake Discord, and clients of the real discord.py that talk to it."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta

import discord

from tests.fakes.discord import FakeDiscord, pointed_at

QUICK = timedelta(milliseconds=50)
"""A window of the rate limits in which no test waits long for its turn."""


@asynccontextmanager
async def fake_discord() -> AsyncIterator[FakeDiscord]:
    """Start a fake with quick rate limits, and let every client made meanwhile talk to it."""
    async with FakeDiscord(window=QUICK) as fake:
        with pointed_at(fake):
            yield fake


@asynccontextmanager
async def logged_in(fake: FakeDiscord) -> AsyncIterator[discord.Client]:
    """Log a client in that has no gateway, so nothing is cached, and that leaves all mentions open."""
    async with discord.Client(intents=discord.Intents.none(), max_ratelimit_timeout=30) as client:
        await client.login(fake.token)
        yield client
