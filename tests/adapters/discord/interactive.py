"""The real discord.py on a fake Discord, with all that people reach by interactions, and a real chat behind it.

What people say is handed to the chat directly: hearing it from the gateway is another room's test.
"""

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta

import discord

from bot.adapters.discord.places import PLATFORM
from bot.adapters.discord.registration import install, register
from bot.adapters.discord.surface import DiscordSurface
from bot.app import Parley, Reports, build
from bot.app_governing import rules_of
from bot.chat.authority import Authority
from bot.chat.callers import MEMBER
from bot.chat.commands import Commands
from bot.chat.controls import ControlPresses
from bot.chat.intake import Intake
from bot.chat.models import Models
from bot.chat.protocol import Address, IncomingMessage, Place
from bot.chat.rules import RuleBook
from bot.chat.turns import Turns
from bot.config import load_settings
from bot.findings import Finding, Verdict
from bot.llm.scripted import ScriptedModel
from store import ConversationKey, Setting, Store, open_store
from tests.chat.chatting import cancelled
from tests.fakes.clock import FakeClock
from tests.fakes.discord import Channel, FakeDiscord, Guild, Message, Thread, User, pointed_at


class InteractiveClient(discord.Client):
    """A client whose one job is to take interactions."""

    def __init__(self, bot: "InteractiveBot") -> None:
        intents = discord.Intents(guilds=True, guild_messages=True, dm_messages=True)
        super().__init__(intents=intents, max_messages=None, guild_ready_timeout=0.05)
        self._bot = bot

    async def setup_hook(self) -> None:
        await register(install(self, self._bot.inside, self._bot.clock), self._bot.store, self._bot.clock)

    async def before_identify_hook(self, shard_id: int | None, *, initial: bool = False) -> None:
        """Don't wait: the library's 5 s are for a limit of Discord's that the fake has not."""


@dataclass
class InteractiveBot:
    """The bot, what it remembers, and the Discord it is on."""

    discord: FakeDiscord
    guild: Guild
    olga: User
    store: Store
    model: ScriptedModel
    surface: DiscordSurface
    clock: FakeClock
    turns: Turns
    intake: Intake
    rules: RuleBook
    authority: Authority
    commands: Commands
    presses: ControlPresses
    inside: Parley
    client: InteractiveClient | None = None
    connection: asyncio.Task[None] | None = None

    async def start(self) -> None:
        self.client = InteractiveClient(self)
        self.surface.use(self.client)
        self.connection = asyncio.create_task(self.client.start(self.discord.token))
        await self.discord.until(lambda: self.client.is_ready() or self.connection.done())
        if self.connection.done():
            await self.connection

    async def stop(self) -> None:
        if self.client is not None:
            await self.client.close()
            await self.connection
            self.client = None

    async def restart(self) -> None:
        """Begin again as a new process does, with nothing but the store."""
        await self.stop()
        await self.start()

    async def choose(self, name: str, value: str, *, at: Channel | Guild, subject: str = "") -> None:
        """Set something for a channel or a server, as an operator does."""
        guild, channel = (at, "") if isinstance(at, Guild) else (at.guild, str(at.id))
        setting = Setting(
            platform=PLATFORM, workspace=str(guild.id), channel=channel, subject=subject, name=name, value=value
        )
        await self.rules.set(setting, author_id=str(self.olga.id), action="test", at=self.clock.now())

    async def hear(self, message: Message, text: str = "") -> int:
        """Take in what somebody said, as the gateway's side does; return its turn's conversation."""
        outcome = await self.intake.take(
            IncomingMessage(
                place=place_of(message.channel),
                address=address_of(message.channel, reply_to=message),
                event_id="",
                message_id=str(message.id),
                position=message.id,
                author_id=str(message.author.id),
                author_name=message.author.name,
                text=text or message.content,
                sent_at=message.sent_at,
                standing=MEMBER,
                addressed=True,
            )
        )
        assert outcome.conversation_id is not None
        return outcome.conversation_id

    async def quiet(self) -> None:
        """Wait until every turn is settled."""
        for _ in range(5000):
            status = await self.store.status()
            if status.queued == status.running == self.turns.running == 0:
                return
            await self.clock.advance(timedelta(milliseconds=100))
            await asyncio.sleep(0.001)
        raise AssertionError("the turns never settled")

    def answers(self, channel: Channel) -> list[str]:
        """What everybody sees of the bot there."""
        return [message.text for message in self.shown(channel)]

    def shown(self, channel: Channel) -> list[Message]:
        return [message for message in channel.messages if message.author is self.discord.bot]

    async def history(self, conversation_id: int) -> list[str]:
        return [message.text for message in await self.store.recent(conversation_id, 1000)]


def place_of(channel: Channel) -> Place:
    if channel.guild is None:
        return Place.DIRECT
    return Place.THREAD if isinstance(channel, Thread) else Place.CHANNEL


def address_of(channel: Channel, *, reply_to: Message | None = None) -> Address:
    thread = isinstance(channel, Thread)
    return Address(
        platform=PLATFORM,
        workspace=str(channel.guild.id) if channel.guild is not None else "",
        channel=str(channel.parent.id if thread else channel.id),
        thread=str(channel.id) if thread else "",
        reply_to=str(reply_to.id) if reply_to is not None else "",
    )


@asynccontextmanager
async def interactive(
    *steps: object, started: bool = True, database: str = "sqlite:///:memory:"
) -> AsyncIterator[InteractiveBot]:
    """Open a bot whose model plays `steps`, and which the user `olga` may run."""
    clock = FakeClock()
    async with AsyncExitStack() as stack:
        fake = await stack.enter_async_context(FakeDiscord(window=timedelta(milliseconds=200)))
        stack.enter_context(pointed_at(fake))
        store = await open_store(database, clock=clock.now)
        stack.push_async_callback(store.aclose)
        model = ScriptedModel(steps, clock=clock)  # type: ignore[arg-type]
        surface = DiscordSurface(None, clock, api_base_url=fake.api_url)
        olga = fake.user("olga")
        parley = await built(store, surface, model, clock, CONVERSATION_TTL="off", OPERATORS=f"{PLATFORM}:{olga.id}")
        bot = InteractiveBot(
            discord=fake,
            guild=fake.guild("Home"),
            olga=olga,
            store=store,
            model=model,
            surface=surface,
            clock=clock,
            turns=parley.turns,
            intake=parley.intake,
            rules=parley.rules,
            authority=parley.authority,
            commands=parley.commands,
            presses=parley.presses,
            inside=parley,
        )
        working = asyncio.create_task(parley.turns.run())
        stack.push_async_callback(cancelled, working, clock)
        if started:
            await bot.start()
        stack.push_async_callback(bot.stop)
        yield bot


async def built(store: Store, surface: DiscordSurface, model: ScriptedModel, clock: FakeClock, **settings: str) -> Parley:
    """Put a whole chat together behind Discord, as the composition root does."""

    async def examine() -> list[Finding]:
        return [Finding(verdict=Verdict.GOOD, what="store", text="it answers")]

    read, models = load_settings({"LLM_PROVIDER": "echo", **settings}, None), Models(model)
    rules = await rules_of(read, store, models.names)
    reports = Reports(platforms=lambda: [PLATFORM], models=lambda: models.names, examine=examine)
    return build(read, {PLATFORM: surface}, store, rules, models, clock, random.Random(1), reports)


def key_of(channel: Channel, user: User) -> ConversationKey:
    """Name somebody's own conversation in a channel."""
    guild = str(channel.guild.id) if channel.guild is not None else ""
    return ConversationKey(platform=PLATFORM, workspace=guild, channel=str(channel.id), user=str(user.id))
