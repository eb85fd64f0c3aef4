"""The real slack-bolt on a fake Slack, with all that people reach by commands, buttons and views, and a real chat behind it.

Everything that is heard goes its real way, by Socket Mode or by HTTP; only catching up on what was missed is left out.
"""

import asyncio
import inspect
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from bot.adapters.slack.app import build_app, hear
from bot.adapters.slack.clients import SlackClients
from bot.adapters.slack.events import Gate
from bot.adapters.slack.file_facts import FileFacts
from bot.adapters.slack.inbound import PLATFORM
from bot.adapters.slack.interactions import Afterwards
from bot.adapters.slack.people import People
from bot.adapters.slack.registration import Registered, register
from bot.adapters.slack.scopes import SCOPES
from bot.adapters.slack.surface import SlackSurface
from bot.adapters.slack.watermarks import Watermarks
from bot.adapters.slack.web_api import WebApi
from bot.chat.policy import Placement, Rules
from bot.chat.rules import RuleBook
from bot.chat.turns import Turns
from bot.llm.scripted import ScriptedModel
from store import Conversation, ConversationKey, Store, open_store
from tests.adapters.slack.inside import chat_behind
from tests.adapters.slack.showing import answers, text_of
from tests.chat.chatting import SETTINGS, cancelled
from tests.fakes.clock import FakeClock
from tests.fakes.slack import Channel, FakeSlack, Message, User
from tests.fakes_slack.bots import Run, by_socket


@dataclass
class InteractiveBot:
    """The bot, what it remembers, and the Slack it is on."""

    slack: FakeSlack
    olga: User
    store: Store
    model: ScriptedModel
    clock: FakeClock
    turns: Turns
    rules: RuleBook
    registered: Registered
    afterwards: Afterwards

    async def until(self, holds: Callable[[], object]) -> None:
        """Wait for something, which may have to be awaited itself, while the bot's time passes."""
        for _ in range(3000):
            held = holds()
            if await held if inspect.isawaitable(held) else held:
                return
            await self.clock.advance(timedelta(milliseconds=50))
            await asyncio.sleep(0.002)
        raise AssertionError(f"never came true: {inspect.getsource(holds)}")

    async def quiet(self) -> None:
        """Wait until everything was heard, and every turn is settled."""

        async def settled() -> bool:
            status = await self.store.status()
            return self.slack.quiet and status.queued == status.running == self.turns.running == 0

        await self.until(settled)

    async def answered(self, channel: Channel, count: int = 1) -> Message:
        """Wait for so many answers in a channel, and return the last of them, finished."""
        await self.until(lambda: len(answers(channel)) >= count)
        await self.quiet()
        return answers(channel)[-1]

    def key(self, channel: Channel, *, thread: Message | None = None, user: User | None = None) -> ConversationKey:
        return ConversationKey(
            platform=PLATFORM,
            workspace=channel.team.id,
            channel=channel.id,
            thread=thread.ts if thread else "",
            user=user.id if user else "",
        )

    async def conversation(self, channel: Channel, **parts: Message | User | None) -> Conversation | None:
        return await self.store.find(self.key(channel, **parts))  # type: ignore[arg-type]

    async def history(self, channel: Channel, **parts: Message | User | None) -> list[str]:
        conversation = await self.conversation(channel, **parts)
        return [message.text for message in await self.store.recent(conversation.id, 100)] if conversation else []


def texts(channel: Channel) -> list[str]:
    """What everybody reads of the bot there."""
    return [text_of(message) for message in answers(channel)]


def whispers(user: User) -> list[str]:
    """What only this person sees."""
    return [shown.shown for shown in user.ephemerals]


@asynccontextmanager
async def interactive(
    *steps: object, slack: FakeSlack | None = None, run: Run = by_socket, ttl: timedelta | None = None
) -> AsyncIterator[InteractiveBot]:
    """Open a bot whose model plays `steps`, and which the user `olga` may run."""
    clock = FakeClock(start=datetime.now(UTC))
    async with AsyncExitStack() as stack:
        slack = slack or await stack.enter_async_context(FakeSlack(retry_after=(timedelta(),)))
        for team in slack.teams:
            team.scopes = set(SCOPES)  # with what the manifest asks for, everything works
        store = await open_store("sqlite:///:memory:", clock=clock.now)
        stack.push_async_callback(store.aclose)
        clients = SlackClients(clock, base_url=slack.api_url, token=slack.bot_token)
        stack.push_async_callback(clients.close)
        api, people, afterwards = WebApi(clients, clock), People(clients, clock), Afterwards(clock)
        stack.push_async_callback(people.close)
        model = ScriptedModel(steps, clock=clock)  # type: ignore[arg-type]
        surface = SlackSurface(clients, clock, api_base_url=slack.api_url)
        turns = Turns(store, model, {PLATFORM: surface}, SETTINGS, clock)
        rules = RuleBook(store, Rules(placement=Placement.THREAD))
        olga = slack.workspace.user("Olga")
        operators = [f"{PLATFORM}:{slack.workspace.id}/{olga.id}"]
        inside = chat_behind(store, turns, rules, clock, operators=operators, ttl=ttl)
        app = build_app(clients)
        registered = register(
            app,
            intake=inside.intake,
            commands=inside.commands,
            presses=inside.presses,
            store=store,
            rules=rules,
            api=api,
            lookup=people.names,
            afterwards=afterwards,
            clock=clock,
        )
        marks = Watermarks(store, clock)
        gate = Gate(
            inside.intake,
            marks,
            people,
            FileFacts(api, clock),
            surface,
            afterwards,
            clock,
            rules=lambda workspace, channel: rules.of(PLATFORM, workspace, channel),
            typed=registered.typed.take,
        )
        hear(app, gate, missed=lambda: None)
        await marks.restore()
        working = asyncio.create_task(turns.run())
        stack.push_async_callback(cancelled, working, clock)
        stack.push_async_callback(afterwards.close)
        await stack.enter_async_context(run(slack, app))
        yield InteractiveBot(slack, olga, store, model, clock, turns, rules, registered, afterwards)
