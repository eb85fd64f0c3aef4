"""A bot's ear on the fake Slack: the real Bolt and SDK, the real gate, gaps and Intake, a store, and time that a test moves.

No turns run: what is taken in is seen in the store, and what its authors are told on a surface that keeps state.
"""

import asyncio
import inspect
import random
from collections.abc import AsyncIterator, Callable, Collection
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from aiohttp import web

from bot.adapters.slack.app import build_app, hear
from bot.adapters.slack.clients import SlackClients
from bot.adapters.slack.door import Door
from bot.adapters.slack.events import Gate
from bot.adapters.slack.file_facts import FileFacts
from bot.adapters.slack.gaps import Gaps
from bot.adapters.slack.http import PATH, requests_at
from bot.adapters.slack.interactions import Afterwards
from bot.adapters.slack.people import People
from bot.adapters.slack.put_off import PutOff
from bot.adapters.slack.socket import SocketMode
from bot.adapters.slack.standing import Standings
from bot.adapters.slack.user_groups import UserGroups, named_by
from bot.adapters.slack.watermarks import Watermarks
from bot.adapters.slack.web_api import WebApi
from bot.chat.authority import Authority
from bot.chat.away import Away
from bot.chat.intake import Intake, Outcome
from bot.chat.policy import Placement, Rules
from bot.chat.protocol import IncomingMessage
from bot.chat.rules import Defaults, RuleBook
from bot.chat.unanswered import Unanswered
from store import NewMessage, Store, StoreUnavailable, open_store
from tests.fakes.clock import FakeClock
from tests.fakes.recent_surface import RecentSurface, said_since
from tests.fakes.slack import FakeSlack

SOCKET, HTTP = "socket", "http"
IN_THREADS = Rules(placement=Placement.THREAD)
EVERYBODY = ("guests", "external")


@dataclass
class Ear:
    """What the bot has heard."""

    store: Store
    clock: FakeClock
    marks: Watermarks
    door: Door
    surface: RecentSurface
    people: People
    socket: SocketMode | None = None
    running: asyncio.Task[None] | None = None
    taken: list[NewMessage] = field(default_factory=list)
    """What was taken in, in that order, each once."""
    offered: list[NewMessage] = field(default_factory=list)
    """What was brought to the store, known or not."""
    failures: list[Exception] = field(default_factory=list)
    """How the store fails at the next messages."""
    away: bool = False
    """The store takes nothing in, and says so when it is asked."""
    edits: list[str] = field(default_factory=list)
    """The texts of edits that were brought to Intake."""

    @property
    def texts(self) -> list[str]:
        return [message.text for message in self.taken]

    async def until(self, holds: Callable[[], object], *, step: timedelta = timedelta(milliseconds=100)) -> None:
        """Wait for something, which may have to be awaited itself, while time passes."""
        for _ in range(1500):
            held = holds()
            if await held if inspect.isawaitable(held) else held:
                return
            if self.running is not None and self.running.done():
                self.running.result()
            await self.clock.advance(step)
            await asyncio.sleep(0.005)
        raise AssertionError(f"never came true: {holds}")

    async def heard(self, slack: FakeSlack) -> None:
        """Wait until Slack has nothing left to deliver."""
        await self.until(lambda: slack.deliveries and slack.quiet)

    async def caught_up(self) -> None:
        """Wait until nothing is missed any more."""
        await self.until(lambda: self.socket is None or self.socket.up)
        await self.until(lambda: not self.marks.held, step=timedelta(seconds=1))

    async def kept(self) -> dict[tuple[str, str], int]:
        """Return the marks that a restart would begin with, by channel and thread."""
        await self.marks.write()
        return {(mark.channel, mark.thread): mark.position for mark in await self.store.watermarks("slack")}

    async def history(self, message: NewMessage) -> list[str]:
        """Return what the conversation of a message holds, in order."""
        conversation = await self.store.find(message.key)
        return [kept.text for kept in await self.store.recent(conversation.id, 100)] if conversation else []


@asynccontextmanager
async def listening(
    slack: FakeSlack,
    store: Store,
    *,
    by: str = SOCKET,
    rules: Rules | None = None,
    admit: Collection[str] = EVERYBODY,
    app_token: str = "",
    token: str = "",
    ping_seconds: float = 10,
    characters: int = 500,
    clock: FakeClock | None = None,
    surface: RecentSurface | None = None,
    replicated: bool = False,
    rank: int = 0,
) -> AsyncIterator[Ear]:
    """Run the ear until the body ends, as one process would: connected, restored, and drained at the end.

    Where it is `replicated`, others listen on the same store: they have one clock, and show what they say on one surface.
    """
    clock = clock or FakeClock(start=datetime.now(UTC))
    clients = SlackClients(clock, base_url=slack.api_url, token=token or slack.bot_token)
    api = WebApi(clients, clock)
    groups = UserGroups(api, clock)
    people, door = People(clients, clock), Door()
    marks = Watermarks(store, clock, replicated=replicated, missed=lambda: gaps.began())
    surface = surface or RecentSurface(clock)
    ear = Ear(store, clock, marks, door, surface, people)
    afterwards = Afterwards(clock)

    async def accept(message: NewMessage) -> int | None:
        ear.offered.append(message)
        if ear.away:
            raise StoreUnavailable("the store is away")
        if ear.failures:
            raise ear.failures.pop()
        conversation = await store.accept(message)
        if conversation is not None:
            ear.taken.append(message)
        return conversation

    class Noting(Intake):
        async def edited(self, message: IncomingMessage) -> Outcome:
            ear.edits.append(message.text)
            return await super().edited(message)

    book = RuleBook(store, Defaults(rules=rules or IN_THREADS, placements={}, admit=frozenset(admit)))
    authority = Authority(store, book, clock, operators=())
    intake = Noting(
        store,
        book,
        authority,
        clock,
        characters=characters,
        accept=accept,
        revised=lambda conversation: None,
        retracted=lambda conversations: None,
    )

    async def check() -> None:
        if ear.away:
            raise StoreUnavailable("the store is away")

    async def bring() -> None:
        await put_off.bring()

    away = Away(surface, clock, check=check, since=said_since, rank=lambda: rank, back=bring)
    gate = Gate(
        intake,
        marks,
        people,
        Standings(people, groups, clock, named=named_by(book)),
        FileFacts(api, clock),
        surface,
        afterwards,
        clock,
        api=api,
        rules=lambda workspace, channel: book.of("slack", workspace, channel),
        may_speak=authority.may_speak,
        once=lambda name: store.once(name, at=clock.now()),
        unkept=away.unkept,
    )
    unanswered = Unanswered(surface, clock, once=lambda name: store.once(name, at=clock.now()))
    sharing = store if replicated else None
    gaps = Gaps(gate, marks, api, clock, random.Random(1), unanswered=unanswered, sharing=sharing)
    put_off = PutOff(gate.take, clock, failed=away.failed, missed=gaps.began)
    app = build_app(clients)
    hear(app, put_off.take, missed=gaps.began)
    await marks.restore()
    door.open(app)
    async with AsyncExitStack() as stack:
        stack.push_async_callback(clients.close)
        stack.push_async_callback(people.close)
        stack.push_async_callback(groups.close)
        stack.push_async_callback(marks.write)
        stack.push_async_callback(afterwards.close)
        stack.push_async_callback(away.close)
        stack.push_async_callback(gaps.close)
        if by == SOCKET:
            ear.socket = SocketMode(
                app_token or slack.app_token,
                clients.client,
                door,
                clock,
                random.Random(1),
                missed=gaps.began,
                ping_seconds=ping_seconds,
            )
            running = ear.running = asyncio.create_task(ear.socket.run())
            stack.push_async_callback(_end, running)
        else:
            await stack.enter_async_context(_served(slack, door, clock))
            gaps.began()
        stack.push_async_callback(door.close)
        yield ear


@asynccontextmanager
async def _served(slack: FakeSlack, door: Door, clock: FakeClock) -> AsyncIterator[None]:
    served = web.Application()
    requests_at(PATH, door, slack.signing_secret, clock)(served)
    runner = web.AppRunner(served, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    slack.events_url = f"http://127.0.0.1:{runner.addresses[0][1]}{PATH}"
    try:
        yield
    finally:
        slack.events_url = None
        await runner.cleanup()


async def _end(task: asyncio.Task[None]) -> None:
    task.cancel()
    await asyncio.wait([task])


@asynccontextmanager
async def a_store() -> AsyncIterator[Store]:
    store = await open_store("sqlite:///:memory:")
    try:
        yield store
    finally:
        await store.aclose()
