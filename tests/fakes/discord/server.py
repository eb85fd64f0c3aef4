"""The fake Discord itself: one loopback address with REST, gateway and file host, and the world behind them."""

import asyncio
import base64
from collections.abc import Callable, Iterable
from datetime import datetime, timedelta
from types import TracebackType
from typing import Any, Self

from aiohttp import web

from tests.fakes.discord import doings, rest_interactions, rest_messages, rest_places, rest_search
from tests.fakes.discord.faults import Fault, Faults
from tests.fakes.discord.files import FileHost
from tests.fakes.discord.gateway import Gateway
from tests.fakes.discord.guilds import Guild
from tests.fakes.discord.interactions import Interaction
from tests.fakes.discord.limits import Limits
from tests.fakes.discord.mentions import Ping
from tests.fakes.discord.messages import Message
from tests.fakes.discord.people import Role, User
from tests.fakes.discord.permissions import BOT, MEMBER, bits
from tests.fakes.discord.places import KINDS, Channel, Dm
from tests.fakes.discord.rest import PREFIX, Request, Rest
from tests.fakes.discord.snowflakes import Snowflakes

Json = Any

MESSAGE_CONTENT_LIMITED = 1 << 19
"""The application's flag for the intent when fewer than a hundred guilds have the bot."""


class FakeDiscord:
    """See the package for how to use it."""

    def __init__(
        self,
        *,
        window: timedelta = timedelta(seconds=5),
        writes: int = 5,
        message_content: bool = True,
        search: bool = True,
        nonce_memory: timedelta = timedelta(minutes=5),
        shards: int = 1,
        identify_quota: int = 1000,
        identify_every: timedelta = timedelta(),
        interaction_limit: timedelta = timedelta(seconds=3),
        interaction_life: timedelta = timedelta(minutes=15),
        heartbeat: timedelta = timedelta(seconds=41),
        bot_name: str = "parley",
        port: int = 0,
    ) -> None:
        self.message_content = message_content
        self.search = search
        self.nonce_memory = nonce_memory
        self.shards = shards
        self.identify_quota = identify_quota
        self.interaction_limit = interaction_limit
        self.interaction_life = interaction_life
        self.indexing = 0
        """How many more searches are told that the index is not ready."""
        self.indexing_retry_after = 0.05

        self.users: dict[int, User] = {}
        self.guilds: dict[int, Guild] = {}
        self.once_known: set[int] = set()
        self.channels: dict[int, Channel] = {}
        """Every channel, thread and DM."""
        self.dms: dict[int, Dm] = {}
        self.commands: list[Json] = []
        self.guild_commands: dict[int, list[Json]] = {}
        self.command_puts = 0
        self.interactions: list[Interaction] = []
        self.nonces: list[Message] = []

        self.pings: list[Ping] = []
        """Everyone whom a message of the bot notified. Edits notify nobody; DMs count only by mention or reply."""
        self.requests: list[Request] = []
        self.refused: list[Request] = []
        """The requests that went over a rate limit; scripted 429s are not among them."""

        self._snowflakes = Snowflakes()
        self._port = port
        self._runner: web.AppRunner | None = None
        self.gateway = Gateway(self, heartbeat_seconds=heartbeat.total_seconds())
        self.gateway.identify_every = identify_every.total_seconds()
        self.limits = Limits(writes=writes, window=window)
        self.faults = Faults()
        self.files = FileHost()
        self.bot = self.user(bot_name, bot=True)
        self.token = f"{base64.b64encode(str(self.bot.id).encode()).decode()}.fake.token"

    async def __aenter__(self) -> Self:
        self.gateway.start()
        app = web.Application(client_max_size=64 * 1024 * 1024)
        app.router.add_get("/gateway", self.gateway.serve)
        app.router.add_get("/gateway/", self.gateway.serve)
        app.router.add_get("/attachments/{channel_id}/{attachment_id}/{name}", self.files.serve)
        rest = Rest(self)
        for room in (rest_messages, rest_places, rest_search, rest_interactions):
            for (method, template), handler in room.ROUTES.items():
                app.router.add_route(method, PREFIX + template, rest.serve(template, handler))
        app.router.add_route("*", PREFIX + "/{rest:.*}", rest.serve("", rest_interactions.unknown_route))
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", self._port).start()
        self._port = self._runner.addresses[0][1]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.faults.release_all()
        self.files.close()
        await self.gateway.close()
        if self._runner is not None:
            await self._runner.cleanup()

    # Where it is, and who the bot is

    @property
    def port(self) -> int:
        return self._port

    @property
    def cdn_url(self) -> str:
        return f"http://127.0.0.1:{self._port}"

    @property
    def api_url(self) -> str:
        return self.cdn_url + PREFIX

    @property
    def gateway_url(self) -> str:
        return f"ws://127.0.0.1:{self._port}/gateway"

    @property
    def application_id(self) -> int:
        return self.bot.id

    @property
    def application_flags(self) -> int:
        return MESSAGE_CONTENT_LIMITED if self.message_content else 0

    # The world

    def snowflake(self, at: datetime | None = None) -> int:
        return self._snowflakes.new(at)

    def user(self, name: str, *, bot: bool = False, display_name: str | None = None) -> User:
        user = User(self, self.snowflake(), name, display_name, bot)
        self.users[user.id] = user
        return user

    def guild(
        self, name: str, *, owner: User | None = None, id: int | None = None, bot_permissions: Iterable[str] = BOT
    ) -> Guild:
        """Invite the bot to a new guild; with `id` it is of the shard `(id >> 22) % shards`."""
        number = id or self.snowflake()
        guild = Guild(self, number, name, owner or self.user(f"owner of {name}"))
        guild.roles[number] = Role(guild, number, "@everyone", bits(MEMBER), position=0)
        own = guild.role(self.bot.name, managed_by_bot=True, permissions=bot_permissions)
        guild.join(guild.owner)
        guild.join(self.bot, [own])
        self.guilds[number] = guild
        self.once_known.add(number)
        self.gateway.dispatch("GUILD_CREATE", guild.json(), guild=guild, needs=1)
        return guild

    def dm(self, user: User) -> Dm:
        """Give the one channel that the bot and this user share."""
        if user.id not in self.dms:
            number = self.snowflake()
            self.dms[user.id] = Dm(self, number, user.name, KINDS["dm"], user=user)
            self.channels[number] = self.dms[user.id]
        return self.dms[user.id]

    async def unfurl(self, message: Message, url: str = "https://example.com") -> None:
        """Add a link's preview: a MESSAGE_UPDATE that is no edit."""
        doings.unfurl(message, url)

    async def bulk_delete(self, channel: Channel, messages: Iterable[Message]) -> None:
        channel.remove(*messages)

    async def until(self, holds: Callable[[], Any], *, within: timedelta = timedelta(seconds=10)) -> None:
        """Wait until something holds, and fail if it takes too long."""
        deadline = asyncio.get_running_loop().time() + within.total_seconds()
        while not holds():
            if asyncio.get_running_loop().time() > deadline:
                raise AssertionError(f"this did not come to hold within {within}")
            await asyncio.sleep(0.005)

    # What goes wrong

    def fail(
        self,
        method: str,
        pattern: str,
        *,
        status: int | None = 502,
        times: int = 1,
        after: bool = False,
        via: bool = True,
        body: Json = None,
        delay: timedelta | None = None,
    ) -> Fault:
        """Let calls fail: `*` stands for one part of the path, `**` for any; status None cuts the connection,
        0 only delays. With `after` the call takes effect and only the answer is lost."""
        return self.faults.add(Fault(method, pattern, status, times, after, via, body, delay, None))

    def hang(self, method: str, pattern: str, *, times: int = 1, after: bool = False) -> Fault:
        """Let calls wait until `release()`; after that they go on."""
        return self.faults.add(Fault(method, pattern, 0, times, after, True, None, None, asyncio.Event()))

    async def drop(self, code: int | None = 4000) -> None:
        """Close the gateway's connections with a code, or cut them; sessions stay and can be resumed."""
        await self.gateway.drop(code)

    async def invalidate(self, *, resumable: bool = False) -> None:
        """Send opcode 9."""
        await self.gateway.invalidate(resumable=resumable)

    async def reconnect(self) -> None:
        """Send opcode 7."""
        await self.gateway.reconnect()

    def refuse_gateway(self, times: int = 1) -> None:
        """Refuse the next connections to the gateway."""
        self.gateway.refusals_left = times

    async def pause_events(self) -> None:
        """Hold back events until `resume_events`; heartbeats go on."""
        self.gateway.pause()

    async def resume_events(self) -> None:
        self.gateway.unpause()

    @property
    def copies(self) -> int:
        """How often every event is delivered."""
        return self.gateway.copies

    @copies.setter
    def copies(self, number: int) -> None:
        self.gateway.copies = number

    async def deliver_again(self, message: Message, times: int = 1) -> None:
        """Deliver what told of a message once more, now."""
        for _ in range(times):
            message.channel.tell_of(message, "MESSAGE_CREATE", nonce=True)

    @property
    def send_twice(self) -> bool:
        return self.copies > 1

    @send_twice.setter
    def send_twice(self, twice: bool) -> None:
        self.copies = 2 if twice else 1

    # What was seen

    @property
    def identifies(self) -> list[Json]:
        return self.gateway.identifies

    @property
    def resumes(self) -> list[Json]:
        return self.gateway.resumes

    def asked(self, method: str, pattern: str) -> list[Request]:
        """List the calls of a kind, with the patterns of `fail`."""
        kind = Fault(method, pattern, 0, 1, False, True, None, None, None)
        return [request for request in list(self.requests) if kind.matches(request.method, request.path)]
